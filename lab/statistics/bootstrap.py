"""The bootstrap over groups: for figures that are no mean, of samples that hang together within a repetition or round.

Groups are drawn again with replacement, each as a whole: samples of one group share what moved it (A. C. Davison and
D. V. Hinkley, "Bootstrap methods and their application", 1997, section 3.8, where drawing within the groups as well
makes the spread too large). The percentiles of few groups are too narrow, since n values vary by (n - 1) / n of their
variance and the normal distribution stands in for Student's t: they are taken further out by as much (T. C. Hesterberg,
"What teachers should know about the bootstrap", 2015, the expanded percentile interval).

Of fewer than `GROUPS_MIN` groups there is no interval here: their percentiles end at the smallest and largest group,
which is too near. The mean of few repetitions has its interval by Student's t (`lab.statistics.replicated`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np

from lab.statistics.intervals import CONFIDENCE, Interval, few
from lab.statistics.quantiles import quantile, rank
from lab.statistics.student import t_quantile

RESAMPLES = 2_000
GROUPS_MIN = 8


def of_groups(
    groups: Sequence[Sequence[float]], seed: int, share: float | None = None, confidence: float = CONFIDENCE
) -> Interval:
    """Return the interval of a quantile of all samples together, or of their mean where `share` is None.

    `groups` has the samples of each repetition; their numbers may differ. Infinite samples are right for a quantile,
    and an end that is infinite is None.
    """
    if len(groups) < GROUPS_MIN:
        return Interval(reason=few(len(groups), GROUPS_MIN).replace("samples", "groups"))
    if not all(len(each) for each in groups):
        return Interval(reason="a group without samples")
    drawn = np.random.default_rng(seed).multinomial(len(groups), [1 / len(groups)] * len(groups), RESAMPLES)
    found = _means(groups, drawn) if share is None else _quantiles(groups, drawn, share)
    beyond = _expanded(len(groups), confidence)
    low, high = (end if math.isfinite(end) else None for end in (quantile(found, beyond), quantile(found, 1 - beyond)))
    return Interval(low, high, "an end is infinite" if None in (low, high) else "")


def _means(groups: Sequence[Sequence[float]], drawn: np.ndarray) -> np.ndarray:
    sums, sizes = np.array([math.fsum(each) for each in groups]), np.array([len(each) for each in groups])
    found: np.ndarray = (drawn @ sums) / (drawn @ sizes)
    return found


def _quantiles(groups: Sequence[Sequence[float]], drawn: np.ndarray, share: float) -> np.ndarray:
    """The quantile of each draw: the first of all samples, in order, that enough drawn ones don't exceed."""
    values = np.concatenate([np.asarray(each, dtype=np.float64) for each in groups])
    owner = np.repeat(np.arange(len(groups)), [len(each) for each in groups])
    order = np.argsort(values, kind="stable")
    counted = np.cumsum(drawn[:, owner[order]], axis=1)
    needed = np.array([rank(int(total), share) for total in counted[:, -1]])
    found: np.ndarray = values[order][np.argmax(counted >= needed[:, None], axis=1)]
    return found


def _expanded(groups: int, confidence: float) -> float:
    """The share that is left beyond each end, so that the interval is as wide as Student's t makes it."""
    wide = math.sqrt(groups / (groups - 1)) * t_quantile(groups - 1, (1 + confidence) / 2)
    return NormalDist().cdf(-wide)


def ratio_of_medians(above: Sequence[float], below: Sequence[float], seed: int) -> tuple[float, float]:
    """Return the 95 % interval of the ratio of two medians, by the percentile bootstrap (B. Efron, 1979).

    Both have a value for each round. Whole rounds are drawn again: what drifts from round to round drifts for both, and
    must not count twice. Raises ValueError for unequal numbers of rounds.
    """
    top, bottom = np.asarray(above, np.float64), np.asarray(below, np.float64)
    if top.size != bottom.size:
        raise ValueError(f"{top.size} and {bottom.size} rounds: each round needs both values")
    rounds = np.random.default_rng(seed).integers(0, top.size, (RESAMPLES, top.size))
    middle = rank(top.size, 0.5) - 1
    medians = [np.partition(side[rounds], middle, axis=1)[:, middle] for side in (top, bottom)]
    ratios = medians[0] / medians[1]
    return quantile(ratios, 0.025), quantile(ratios, 0.975)
