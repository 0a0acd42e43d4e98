"""Which of the varied keys move a figure: Sobol indices, or Morris's elementary effects, with intervals. By SALib.

A key's total index is the share of the variance that would be left if all others were fixed: its own effect, and what
it does together with others. The indices of a sample are uncertain, and the interval of each is SALib's, from a
bootstrap over the samples; an index whose interval contains 0 is not called one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import polars as pl

from lab.base import MissingDriver
from lab.statistics.several import holm
from lab.statistics.student import two_sided
from lab.sweeps.design import LEVELS, MORRIS, SOBOL, problem
from lab.sweeps.folder import Sweep
from lab.sweeps.varying import Varied

_NORMAL = 1e6
_SEED = 1


@dataclass(frozen=True)
class KeyEffect:
    """What a key has to do with a figure of a projection: an index with the half width of its 95 % interval.

    `sobol`: `total` and `first` are shares of the variance. `morris`: `total` is the mean size of an elementary effect
    over the whole range, in the figure's unit, and `first` is None. `p`: the chance of such an index without an effect,
    corrected by Holm for the number of keys.
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
        figure = np.array([sum(each) / len(each) for each in points])  # type: ignore[arg-type]
        if np.ptp(figure) > 0:
            found += _corrected(_analysed(varied, figure, sweep, str(projection), quantity))
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


def _corrected(found: list[KeyEffect]) -> list[KeyEffect]:
    """Give each effect its p-value: how far it lies from 0, in the standard errors that its interval is made of."""
    p = [
        two_sided(_NORMAL, 1.96 * each.total / each.total_half) if each.total_half > 0 else float(each.total == 0)
        for each in found
    ]
    return [
        KeyEffect(each.projection, each.quantity, each.key, each.total, each.total_half, each.first, each.first_half, q)
        for each, q in zip(found, holm(p), strict=True)
    ]
