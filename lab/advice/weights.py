"""How far the weight of a query can move before the fewest projections are others. Pure.

Weights decide only between portfolios of the same size, and reassign no query within one. Sums over the queries are
linear in each weight: the weighted time, what a gain has to be, and the ends between which two portfolios tie. So the
answer can change only where two such lines cross. Between neighbouring crossings it is the same, and is found there by
the rule that chooses it (`lab.advice.choice`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lab.advice.choice import usable
from lab.advice.portfolio import Portfolio
from lab.advice.sensitivity import bounds

# Crossings that are nearer to each other, as a share of the weight, are one.
_SAME = 1e-12


@dataclass(frozen=True)
class WeightRange:
    """The answer stays the same while the query's weight is between `low` and `high`, all other weights unchanged.

    Outside this range `below` or `above` takes its place (None: none does, and the end is 0 or infinity).
    """

    query: str
    weight: float
    low: float = 0.0
    high: float = math.inf
    below: Portfolio | None = None
    above: Portfolio | None = None


def weight_ranges(answer: Portfolio, found: Sequence[Portfolio]) -> list[WeightRange]:
    """Return for each query how far its weight can move; `found` are all portfolios of the size of `answer`."""
    field = _Field(answer, found)
    ranges = []
    for place, (query, weight) in enumerate(answer.problem.queries.items()):
        lines = _Sums(field, place)
        high, above = lines.end(weight, 1)
        low, below = lines.end(weight, -1)
        ranges.append(WeightRange(query, weight, low, high, below, above))
    return ranges


class _Field:
    """The portfolios in the order of their names, with the figures of each query as arrays: a row for each of them."""

    def __init__(self, answer: Portfolio, found: Sequence[Portfolio]) -> None:
        self.found = sorted(usable(found), key=lambda each: each.names)
        self.answer = next(place for place, each in enumerate(self.found) if each.names == answer.names)
        self.gain = answer.problem.settings.gain
        queries = answer.problem.queries
        self.weights = np.array(list(queries.values()))
        readings = [[each.assigned[query].answers[query].p50 for query in queries] for each in self.found]
        self.times = np.array([[reading.value for reading in row] for row in readings])
        ends = np.array([[bounds(reading) for reading in row] for row in readings])
        self.low, self.high = ends[..., 0], ends[..., 1]
        numbers = {each.name: number for number, each in enumerate(answer.problem.candidates)}
        self.who = np.array([[numbers[each.assigned[query].name] for query in queries] for each in self.found])
        # The place of each by its price without its time, which moves with the weights.
        prices = [each.burden for each in self.found]
        order = {price: number for number, price in enumerate(sorted(set(prices)))}
        self.price = np.array([order[price] for price in prices])


class _Sums:
    """Sums over the queries of each portfolio as lines of the weight of one of them: at 0, and by how much it rises."""

    def __init__(self, field: _Field, place: int) -> None:
        self.field, self.place = field, place
        self.rest, self.slope = self._line(field.times)

    def _line(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        others = self.field.weights.copy()
        others[self.place] = 0.0
        return values @ others, values[:, self.place]

    def end(self, weight: float, way: int) -> tuple[float, Portfolio | None]:
        """Return up to which weight the answer stays, up (`way` 1) or down (-1), and what takes its place there."""
        field, at = self.field, weight
        if way < 0 and not weight:
            return 0.0, None
        quickest = self._quickest_near(at, way)
        while True:
            until, following = self._following(quickest, at, way)
            points = self._points(quickest, at, until, way)
            ends = np.append(points, until)
            middles = np.where(np.isinf(ends[1:]), 2 * ends[:-1] + 1, (ends[:-1] + np.minimum(ends[1:], 1e300)) / 2)
            chosen = self._chosen(quickest, middles)
            other = np.flatnonzero(chosen != field.answer)
            if other.size:
                return float(points[other[0]]), field.found[chosen[other[0]]]
            if following is None:
                return until, None
            at, quickest = until, following

    def _quickest_near(self, at: float, way: int) -> int:
        """The one with the least weighted time just beyond a weight."""
        keys = (self.field.price, way * self.slope, self.rest + at * self.slope)
        return int(np.lexsort(keys)[0])

    def _following(self, quickest: int, at: float, way: int) -> tuple[float, int | None]:
        """Up to which weight this one is the quickest, and which is after it; None for always."""
        beyond = np.flatnonzero(way * self.slope < way * self.slope[quickest])
        if beyond.size:
            crossings = (self.rest[beyond] - self.rest[quickest]) / (self.slope[quickest] - self.slope[beyond])
            crossings = np.maximum(way * crossings, way * at)
            first = beyond[np.lexsort((self.field.price[beyond], way * self.slope[beyond], crossings))[0]]
            until = way * float(crossings.min())
            if until > 0:
                return until, int(first)
        return (math.inf if way > 0 else 0.0), None

    def _points(self, quickest: int, at: float, until: float, way: int) -> np.ndarray:
        """The weights from `at` to before `until` at which what is chosen may change; `at` is the first."""
        field, kept = self.field, 1.0 - self.field.gain
        pairs = [(kept * self.rest - self.rest[quickest], kept * self.slope - self.slope[quickest])]
        pairs += self._apart(quickest)
        same = field.price == field.price[field.answer]
        pairs += [((self.rest - self.rest[field.answer])[same], (self.slope - self.slope[field.answer])[same])]
        rest, slope = (np.concatenate(each) for each in zip(*pairs, strict=True))
        crossings = -rest[slope != 0] / slope[slope != 0]
        low, high = sorted((at, until))
        crossings = np.sort(way * crossings[(crossings > low) & (crossings < high)]) * way
        points = np.append(at, crossings)
        kept_apart = np.abs(np.diff(points)) > _SAME * np.abs(points[1:])
        found: np.ndarray = points[np.append(True, kept_apart)]
        return found

    def _apart(self, quickest: int) -> list[tuple[np.ndarray, np.ndarray]]:
        """The lines of the least and of the most that the quickest may be slower than each other portfolio."""
        field = self.field
        differs = field.who != field.who[quickest]
        least, most = field.low[quickest] - field.high, field.high[quickest] - field.low
        return [self._line(np.where(differs, values, 0.0)) for values in (least, most)]

    def _chosen(self, quickest: int, weights: np.ndarray) -> np.ndarray:
        """The place of the answer at each weight, where the quickest is known: see `lab.advice.choice.quickest`."""
        field = self.field
        times = self.rest + weights[:, None] * self.slope
        saved = times - times[:, [quickest]]
        least, most = (rest + weights[:, None] * slope for rest, slope in self._apart(quickest))
        as_good = (saved <= 0) | (saved < field.gain * times) | ((least <= 0) & (most >= 0))
        price = np.where(as_good, field.price, field.price.size)
        able = price == price.min(axis=1, keepdims=True)
        found: np.ndarray = np.where(able, times, np.inf).argmin(axis=1)
        return found
