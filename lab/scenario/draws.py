"""Draw delays from a scenario's `Delay`, and say what to expect of them."""

from __future__ import annotations

import math

import numpy as np

from lab.scenario.chance import Delay, DelayLaw

# No estimate is larger, so that sums and products of estimates stay numbers.
ENDLESS = 1e30


def delays(options: Delay, count: int, rng: np.random.Generator) -> np.ndarray:
    """Draw `count` delays in seconds, independently of each other."""
    if options.kind != "mixture":
        return _drawn(options, count, rng)
    parts = options.parts or ()
    upto = np.cumsum([part.share for part in parts])
    chosen = np.searchsorted(upto[:-1], rng.random(count), side="right")
    found = np.empty(count)
    for number, part in enumerate(parts):
        mine = chosen == number
        found[mine] = _drawn(part, int(mine.sum()), rng)
    return found


def _drawn(law: DelayLaw, count: int, rng: np.random.Generator) -> np.ndarray:
    match law.kind:
        case "exponential":
            return rng.exponential(law.mean, count) if law.mean else np.zeros(count)
        case "lognormal" if law.mean:
            # The parameters are chosen so that its mean is `mean`.
            return rng.lognormal(np.log(law.mean) - law.width**2 / 2, law.width, count)
        case "pareto":
            return law.smallest * (1 + rng.pareto(law.shape or 1.0, count))
        case "gamma":
            return rng.gamma(law.shape or 1.0, law.mean / (law.shape or 1.0), count)
        case "empirical":
            values = np.array(law.values)
            found: np.ndarray = values[rng.integers(0, values.size, count)]
            return found
    return np.full(count, law.mean)


def expected(options: Delay) -> float:
    """The mean in seconds; `ENDLESS` if there is none."""
    return sum(part.share * _expected(part) for part in options.parts or ()) if options.parts else _expected(options)


def _expected(law: DelayLaw) -> float:
    if law.kind == "empirical":
        return sum(law.values or ()) / len(law.values or (0.0,))
    if law.kind == "pareto":
        shape = law.shape or 1.0
        return law.smallest * shape / (shape - 1) if shape > 1 else ENDLESS * bool(law.smallest)
    return law.mean


def longest(options: Delay, count: int) -> float:
    """About the longest of so many delays, in seconds."""
    if options.parts:
        return max(_longest(part, math.ceil(count * part.share)) for part in options.parts)
    return _longest(options, count)


def _longest(law: DelayLaw, count: int) -> float:
    if not count:
        return 0.0
    match law.kind:
        case "exponential":
            return law.mean * (1 + math.log(count))
        case "lognormal":
            reach = math.sqrt(2 * math.log(count + 1))
            return law.mean * math.exp(law.width * reach - law.width**2 / 2)
        case "pareto":
            return min(ENDLESS, law.smallest * math.exp(min(69.0, math.log(count) / (law.shape or 1.0))))
        case "gamma":
            return law.mean * (1 + math.log(count) / (law.shape or 1.0))
        case "empirical":
            return max(law.values or (0.0,))
    return law.mean
