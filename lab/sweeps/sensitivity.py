"""Which of the varied keys move a figure: Sobol indices, or Morris's elementary effects, with intervals. By SALib.

A key's total index is the share of the variance that would be left if all others were fixed: its own effect, and what
it does together with others. The indices of a sample are uncertain, and the interval of each is SALib's, from a
bootstrap over the samples.

Noise alone makes an index larger than 0, since it is made of squares. So a key is called one that matters by its steps:
pairs of points that differ in this key alone. In two repetitions, which have other seeds, the differences of a step
have nothing in common but the key's effect: without one, their product is as often below 0 as above.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from lab.base import MissingDriver
from lab.statistics.several import holm
from lab.sweeps.design import LEVELS, MORRIS, SOBOL, problem
from lab.sweeps.folder import Sweep
from lab.sweeps.varying import Varied

_SEED = 1
_TURNS = 4_999


@dataclass(frozen=True)
class KeyEffect:
    """What a key has to do with a figure of a projection: an index with the half width of its 95 % interval.

    `sobol`: `total` and `first` are shares of the variance. `morris`: `total` is the mean size of an elementary effect
    over the whole range, in the figure's unit, and `first` is None. `p`: the chance of such steps without an effect,
    corrected by Holm for the number of keys; None of one repetition, which can't tell an effect from noise.
    """

    projection: str
    quantity: str
    key: str
    total: float
    total_half: float
    first: float | None = None
    first_half: float | None = None
    p: float | None = None

    @property
    def shown(self) -> bool:
        """Whether the key has surely to do with the figure."""
        return self.p is not None and self.p <= 0.05


def effects(sweep: Sweep, quantity: str) -> list[KeyEffect]:
    """Return the effects of all keys on a quantity, for each projection that has it at every point.

    Empty for a grid, and where the figure is the same everywhere. Raises MissingDriver without SALib.
    """
    design = sweep.document["design"]
    if design not in (SOBOL, MORRIS) or sweep.done != set(sweep.names):
        return []
    varied = [Varied(each["key"], (), each["low"], each["high"]) for each in sweep.document["vary"]]
    found: list[KeyEffect] = []
    frame = sweep.frame.filter(pl.col("quantity") == quantity)
    for (projection,), rows in frame.group_by("projection", maintain_order=True):
        values = dict(rows.group_by("run").agg(pl.col("value").mean()).iter_rows())
        points = [[values.get(name) for name in names] for names in sweep.document["runs"]]
        if any(None in each for each in points):
            continue
        figures = np.array(points, dtype=np.float64)
        if np.ptp(figures.mean(axis=1)) > 0:
            indices = _analysed(varied, figures.mean(axis=1), sweep, str(projection), quantity)
            found += _corrected(indices, _steps(varied, sweep), figures)
    return found


def _analysed(
    varied: list[Varied], figure: np.ndarray, sweep: Sweep, projection: str, quantity: str
) -> list[KeyEffect]:
    try:
        from SALib.analyze import morris, sobol
    except ImportError:
        raise MissingDriver("indices need SALib; get it with: pip install 'polyglot-lab[sensitivity]'") from None
    keys = [each.key for each in varied]
    if sweep.document["design"] == SOBOL:
        found = sobol.analyze(problem(varied), figure, calc_second_order=False, seed=_SEED)
        columns = (found["ST"], found["ST_conf"], found["S1"], found["S1_conf"])
        return [
            KeyEffect(projection, quantity, key, *map(float, each)) for key, *each in zip(keys, *columns, strict=True)
        ]
    shares = _shares(varied, sweep)
    found = morris.analyze(problem(varied), shares, figure, num_levels=LEVELS, seed=_SEED)
    ends = zip(keys, found["mu_star"], found["mu_star_conf"], strict=True)
    return [KeyEffect(projection, quantity, key, float(size), float(half)) for key, size, half in ends]


def _shares(varied: list[Varied], sweep: Sweep) -> np.ndarray:
    """Where each point lies within the ranges, from 0 to 1."""
    columns = []
    for place, each in enumerate(sweep.document["vary"]):
        values = np.array([point[place] for point in sweep.document["points"]], dtype=np.float64)
        low, high = each["low"], each["high"]
        if each["logarithmic"]:
            values, low, high = np.log(values), math.log(low), math.log(high)
        columns.append((values - low) / (high - low))
    return np.column_stack(columns)


def _steps(varied: list[Varied], sweep: Sweep) -> list[np.ndarray]:
    """For each key, the pairs of places of points that differ in this key alone: an array of two columns."""
    many, points = len(varied), [tuple(point) for point in sweep.document["points"]]
    if sweep.document["design"] == SOBOL:
        # Each block of SALib's sample has a point, then one with each key changed by itself, then another point.
        blocks = np.arange(0, len(points), many + 2)
        found = [np.column_stack([blocks, blocks + place + 1]) for place in range(many)]
    else:
        shares = _shares(varied, sweep)
        # A path of Morris changes one key at each of its steps.
        starts = np.array([at for at in range(len(points) - 1) if (at + 1) % (many + 1)])
        changed = np.abs(shares[starts + 1] - shares[starts]).argmax(axis=1)
        found = [np.column_stack([starts, starts + 1])[changed == place] for place in range(many)]
    # Paths can go over the same step again, there or back: it is the same runs.
    places = {point: place for place, point in reversed(list(enumerate(points)))}
    first = np.array([places[point] for point in points])
    return [np.unique(np.sort(first[pairs], axis=1), axis=0) for pairs in found]


def _chance(steps: np.ndarray, figures: np.ndarray) -> float | None:
    """The p-value of a key's steps, by signs turned at random; None of one repetition with differences.

    Without an effect both ends of a step have the same distribution, so each difference is as likely with the other
    sign: no assumption of a normal distribution, or of one spread for all points, which a share near 0 doesn't have.
    """
    differences = figures[steps[:, 1]] - figures[steps[:, 0]]
    if not differences.any():
        return 1.0
    if differences.shape[1] < 2:
        return None
    turned = np.random.default_rng(_SEED).choice([-1.0, 1.0], size=(_TURNS, *differences.shape)) * differences
    # The products of each two repetitions, added up.
    found = (differences.sum(axis=1) ** 2).sum()
    by_chance = (turned.sum(axis=2) ** 2).sum(axis=1)
    return float(1 + (by_chance >= found * (1 - 1e-9)).sum()) / (1 + _TURNS)


def _corrected(found: list[KeyEffect], steps: list[np.ndarray], figures: np.ndarray) -> list[KeyEffect]:
    """Give each effect its p-value, corrected for the number of keys."""
    chances = [_chance(each, figures) for each in steps]
    if any(each is None for each in chances):
        return found
    corrected = holm([each for each in chances if each is not None])
    return [replace(each, p=p) for each, p in zip(found, corrected, strict=True)]
