"""Probabilistically bounded staleness by quadrature: what the model WARS gives for independent, identical replicas.

The model and the fits of production latencies are those of P. Bailis, S. Venkataraman, M. J. Franklin, J. M.
Hellerstein, I. Stoica, "Probabilistically Bounded Staleness for Practical Partial Quorums", PVLDB 5(8), 2012, sections
4 and 5; they computed the figures by simulation. Times are in milliseconds, as there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np

# Points of each grid: with twice as many, no figure of the page changes in its fourth digit.
POINTS, NODES, FINE = 300, 400, 3_000


@dataclass(frozen=True)
class Mixed:
    """A Pareto body with an exponential tail: with the chance `body` a Pareto (`scale`, `shape`), else rate `rate`."""

    body: float
    scale: float
    shape: float
    rate: float

    def above(self, x: np.ndarray) -> np.ndarray:
        """P(delay > x)."""
        heavy = (self.scale / np.maximum(x, self.scale)) ** self.shape
        found: np.ndarray = self.body * heavy + (1 - self.body) * np.exp(-self.rate * np.maximum(x, 0.0))
        return found

    def below(self, x: np.ndarray) -> np.ndarray:
        """P(delay <= x)."""
        return 1 - self.above(x)

    @cached_property
    def nodes(self) -> tuple[np.ndarray, np.ndarray]:
        """Values and weights that stand for the law: the middles of strata of equal chance, of each part."""
        left = 1 - (np.arange(NODES) + 0.5) / NODES
        values = np.concatenate([self.scale * left ** (-1 / self.shape), -np.log(left) / self.rate])
        weights = np.concatenate([np.full(NODES, self.body), np.full(NODES, 1 - self.body)]) / NODES
        return values, weights

    def parts(self) -> list[dict[str, float | str]]:
        """The same law as the parts of a scenario's mixture, in seconds."""
        pareto: dict[str, float | str] = {
            "share": self.body,
            "kind": "pareto",
            "scale": self.scale / 1e3,
            "shape": self.shape,
        }
        return [pareto, {"share": 1 - self.body, "kind": "exponential", "mean": 1e-3 / self.rate}]


@dataclass(frozen=True)
class Production:
    """Table 3 of the paper: the delay of a write to a replica, and of acknowledgement, read and answer."""

    name: str
    write: Mixed
    other: Mixed


SSD = Mixed(0.9122, 0.235, 10.0, 1.66)
LNKD_SSD = Production("LNKD-SSD", SSD, SSD)
LNKD_DISK = Production("LNKD-DISK", Mixed(0.38, 1.05, 1.51, 0.183), SSD)
YMMR = Production("YMMR", Mixed(0.939, 3.0, 3.35, 0.0028), Mixed(0.982, 1.5, 3.8, 0.0217))


def both_below(first: Mixed, second: Mixed, x: np.ndarray) -> np.ndarray:
    """P(first + second <= x) of independent delays."""
    values, weights = second.nodes
    found: np.ndarray = first.below(x[:, None] - values) @ weights
    return found


def in_time(fits: Production, replicas: int, quorum: int, x: float, reads: bool = False) -> float:
    """The chance that the quorum has answered a write (or a read) within x: an order statistic, so a binomial sum."""
    way = fits.other if reads else fits.write
    one = float(both_below(way, fits.other, np.array([x]))[0])
    return sum(math.comb(replicas, k) * one**k * (1 - one) ** (replicas - k) for k in range(quorum, replicas + 1))


def consistent(fits: Production, replicas: int, read: int, write: int, after: float) -> float:
    """The chance that a read which begins `after` the acknowledgement of a write is answered with it.

    It is stale if none of the first `read` replicas to answer, by then y, had the write when the read came by. One that
    had confirmed it by the acknowledgement w had it, so the first `read` are others than the first `write`. Summed over
    who is who, with X = W + A and Y = R + S independent of each other between replicas:

        n! / ((write-1)! (read-1)! (n-read-write)!)
            * integral of F_X(w)^(write-1) (1 - F_X(w))^(n-read-write) dF_X(w)
            * integral of S(y, w)^(read-1) (1 - F_Y(y))^(n-read) dS(y, w),

    with S(y, w) = P(R + S <= y, W > w + after + R). Strict quorums (read + write > n) are never stale.
    """
    rest = replicas - read - write
    if rest < 0:
        return 1.0
    ways = math.factorial(replicas) / math.prod(math.factorial(n) for n in (write - 1, read - 1, rest))
    # By the acknowledgement: edges of cells, the law of X at them, and the middles.
    edges, law = _cut(fits.write, fits.other)
    middles, mass = (edges[1:] + edges[:-1]) / 2, _cells(law, write - 1, rest)
    # By the answer: the law of Y at the edges, and S(y, w) at the edges and middles.
    answers, done = _cut(fits.other, fits.other)
    values, weights = fits.other.nodes
    missing = fits.write.above(middles + after + values[:, None])
    stale = (fits.other.below(answers[:, None] - values) * weights) @ missing
    step, between, late = np.diff(stale, axis=0), (stale[1:] + stale[:-1]) / 2, 1 - (done[1:] + done[:-1]) / 2
    inner = (step * between ** (read - 1) * late[:, None] ** (replicas - read)).sum(axis=0)
    return float(1 - ways * float((mass * inner).sum()))


@cache
def _cut(first: Mixed, second: Mixed) -> tuple[np.ndarray, np.ndarray]:
    """Edges of cells for first + second, equally likely but for the tail, where they get less and less so; its law."""
    low = (first.scale + second.scale) * 1e-3
    fine = np.geomspace(low, max(map(_reach, (first, second))), FINE)
    wanted = np.concatenate([np.linspace(0.0, 0.99, POINTS), 1 - np.geomspace(0.01, 1e-9, POINTS // 2)[1:]])
    edges = np.unique(np.interp(wanted, both_below(first, second, fine), fine))
    return edges, both_below(first, second, edges)


def _cells(law: np.ndarray, below: int, above: int) -> np.ndarray:
    """The integral of F^below (1 - F)^above dF over each cell, by Simpson's rule in F."""
    left, right = law[:-1], law[1:]
    ends = [part**below * (1 - part) ** above for part in (left, (left + right) / 2, right)]
    found: np.ndarray = (right - left) * (ends[0] + 4 * ends[1] + ends[2]) / 6
    return found


def _reach(law: Mixed) -> float:
    """So far that less than one in 100 million is beyond."""
    return float(law.scale * 1e8 ** (1 / law.shape) + 20 / law.rate)


# Table 4 of the paper, for three replicas: read and write quorum, then for each fit how long the 99.9th percentile of
# reads and of writes takes, and after how long 99.9 % of reads are consistent, in milliseconds. From a million
# simulated operations (latencies) and 50,000 (the window).
PUBLISHED: Sequence[tuple[int, int, dict[str, tuple[float, float, float]]]] = (
    (1, 1, {"LNKD-SSD": (0.66, 0.66, 1.85), "LNKD-DISK": (0.66, 10.99, 45.5), "YMMR": (5.58, 10.83, 1364.0)}),
    (1, 2, {"LNKD-SSD": (0.66, 1.63, 1.79), "LNKD-DISK": (0.65, 20.97, 43.3), "YMMR": (5.61, 427.12, 1352.0)}),
    (2, 1, {"LNKD-SSD": (1.63, 0.65, 0.0), "LNKD-DISK": (1.63, 10.9, 13.6), "YMMR": (32.6, 10.73, 202.0)}),
)
FITS = (LNKD_SSD, LNKD_DISK, YMMR)
