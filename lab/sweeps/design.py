"""The points of a sweep: every combination of values (`grid`), values side by side (`together`), or samples of ranges.

`sobol` draws Saltelli's scheme from a Sobol sequence: n (k + 2) points of k keys, from which the share of the variance
that each key explains is estimated (A. Saltelli et al., "Variance based sensitivity analysis of model output", 2010).
`morris` walks n trajectories of k + 1 points, each step moving one key: fewer runs, and which keys matter at all (M. D.
Morris, "Factorial sampling plans for preliminary computational experiments", 1991). Both are SALib's.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from lab.base import BadInput, MissingDriver, Problem
from lab.sweeps.varying import Varied

GRID, TOGETHER, SOBOL, MORRIS = "grid", "together", "sobol", "morris"
DESIGNS = (GRID, TOGETHER, SOBOL, MORRIS)
# How finely a trajectory divides each range.
LEVELS = 4
POINTS_MAX = 1_000_000


def points(varied: Sequence[Varied], samples: int | None, design: str, seed: int) -> list[tuple[Any, ...]]:
    """Return the points, each with a value for each key in the order of `varied`. Raises BadInput."""
    if design == GRID:
        return _grid(varied, samples)
    if design == TOGETHER:
        return _together(varied, samples)
    if samples is None:
        raise BadInput([Problem("--design", f"`{design}` needs a number of samples", "--samples 64")])
    for each in varied:
        if each.low is None:
            raise BadInput([Problem(f"--vary {each.key}", f"`{design}` draws from a range", f"{each.key}=0..1")])
    if samples < 2 or (design == SOBOL and samples & (samples - 1)):
        raise BadInput([Problem("--samples", f"{samples} is no power of 2 above 1", "for example --samples 64")])
    shares = _sampled(varied, samples, design, seed)
    return [tuple(each.at(share) for each, share in zip(varied, row, strict=True)) for row in shares]


def _grid(varied: Sequence[Varied], samples: int | None) -> list[tuple[Any, ...]]:
    if samples is not None:
        raise BadInput([Problem("--samples", "a grid has its own points", "--design sobol or --design morris")])
    for each in varied:
        if not each.values:
            what = "a range without steps has no points in a grid"
            raise BadInput([Problem(f"--vary {each.key}", what, f"{each.key}={each.low:g}..{each.high:g}:5")])
    count = 1
    for each in varied:
        count *= len(each.values)
    if count > POINTS_MAX:
        raise BadInput([Problem("--vary", f"{count:,} points are more than {POINTS_MAX:,}", "vary less")])
    return list(itertools.product(*(each.values for each in varied)))


def _together(varied: Sequence[Varied], samples: int | None) -> list[tuple[Any, ...]]:
    if samples is not None or len({len(each.values) for each in varied}) > 1 or not varied[0].values:
        what = "the n-th values of all keys make the n-th point: each key needs as many values"
        raise BadInput([Problem("--design together", what, "--vary a=1,2 --vary b=10,20, without --samples")])
    return list(zip(*(each.values for each in varied), strict=True))


def problem(varied: Sequence[Varied]) -> dict[str, Any]:
    """Return SALib's description of the keys; each goes from 0 to 1, which `Varied.at` stretches."""
    return {"num_vars": len(varied), "names": [each.key for each in varied], "bounds": [[0.0, 1.0]] * len(varied)}


def _sampled(varied: Sequence[Varied], samples: int, design: str, seed: int) -> list[list[float]]:
    try:
        from SALib.sample import morris, sobol
    except ImportError:
        raise MissingDriver("samples need SALib; get it with: pip install 'polyglot-lab[sensitivity]'") from None
    found = (
        sobol.sample(problem(varied), samples, calc_second_order=False, seed=seed)
        if design == SOBOL
        else morris.sample(problem(varied), samples, num_levels=LEVELS, seed=seed)
    )
    drawn: list[list[float]] = found.tolist()
    return drawn
