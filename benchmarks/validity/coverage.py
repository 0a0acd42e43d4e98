"""How often the lab's intervals of one run contain the true quantile.

Each experiment is one run of a case with a seed of its own. The true quantile is that of many other runs together. An
interval that the lab leaves out counts in `given`, not in the coverage.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from benchmarks.validity.section import Effort, Findings, Section
from lab.base import stream
from lab.running.theory import single_server
from lab.statistics.intervals import Interval, intervals
from lab.statistics.quantiles import BOUNDED, quantile

Series = npt.NDArray[np.float64]
# Nominal coverage is 95 %; a case is at fault if its own interval lies below this as a whole.
COVERAGE_MIN = 0.90
CHANGES, RATE = 20_000, 1_000.0
# Seeds of the experiments begin at 0, those of the true quantile here.
TRUTH_SEED = 1_000_000
TRUTH_SAMPLES = 4_000_000


@dataclass(frozen=True)
class Sampled:
    """One case: its name, and the samples of one experiment, in time order, by its seed.

    `given_min`: at least this share of the experiments must have an interval of the p50, and of the p99. It is 0 where
    samples are too few, or depend on each other for too long.
    """

    name: str
    draw: Callable[[int], Series]
    given_min: tuple[float, float] = (0.0, 0.0)


def autoregressive(of: float, count: int, seed: int) -> Series:
    """Times whose logarithms are a stationary autoregressive series of order 1; lognormal, sigma 0.5."""
    burn = 400
    values = stream(seed, "autoregressive", str(of)).standard_normal(count + burn)
    # The filter 1 / (1 - of B) is the product of (1 + of^k B^k) over the powers of two k.
    step, factor = 1, of
    while step < values.size and factor > 1e-12:
        values[step:] = values[step:] + factor * values[:-step]
        step, factor = 2 * step, factor * factor
    found: Series = np.exp(0.5 * math.sqrt(1 - of * of) * values[burn:])
    return found


def arrivals(seed: int, changes: int = CHANGES) -> Series:
    """Poisson arrivals, `RATE` a second."""
    found: Series = np.cumsum(stream(seed, "arrivals").exponential(1 / RATE, changes))
    return found


def queue(load: float, seed: int) -> Series:
    """Lags of a projector that takes each change alone, in constant time: M/D/1, empty at first."""
    at = arrivals(seed)
    found: Series = single_server(at, load / RATE) - at
    return found


def polled(seed: int, every: float, service: float = 0.0, spread: float = 0.0) -> Series:
    """Lags of a projection that polls, and takes a time that differs from poll to poll."""
    at = arrivals(seed)
    number = np.ceil(at / every)
    takes = np.maximum(service * (1 + spread * stream(seed, "service").standard_normal(int(number.max()) + 1)), 0.0)
    found: Series = number * every - at + takes[number.astype(np.int64)]
    return found


def both(seed: int, lose: float) -> Series:
    """Lags with messages (lognormal, 20 ms) that get lost, and polls each second behind them."""
    at = arrivals(seed)
    random = stream(seed, "channel")
    delay = random.lognormal(math.log(0.020) - 0.5, 1.0, at.size)
    delay[random.random(at.size) < lose] = np.inf
    found: Series = np.minimum(delay, np.ceil(at) - at)
    return found


def outage(seed: int) -> Series:
    """Lags with messages (exponential, 20 ms) that an outage holds back from 8 s to 11 s of 20."""
    at = arrivals(seed)
    delay = stream(seed, "channel").exponential(0.020, at.size)
    found: Series = np.where((at > 8) & (at < 11), 11 - at + delay, delay)
    return found


CASES = (
    Sampled("independent, exponential, 50", lambda seed: stream(seed, "alone").exponential(1.0, 50), (0.9, 0.0)),
    Sampled("independent, exponential, 400", lambda seed: stream(seed, "alone").exponential(1.0, 400), (0.9, 0.9)),
    Sampled("independent, lognormal, 1,000", lambda seed: stream(seed, "alone").lognormal(0.0, 1.0, 1_000), (0.9, 0.9)),
    Sampled("autoregressive 0.3, 400", lambda seed: autoregressive(0.3, 400, seed)),
    Sampled("autoregressive 0.3, 5,000", lambda seed: autoregressive(0.3, 5_000, seed), (0.9, 0.9)),
    Sampled("autoregressive 0.6, 5,000", lambda seed: autoregressive(0.6, 5_000, seed), (0.9, 0.9)),
    Sampled("autoregressive 0.9, 400", lambda seed: autoregressive(0.9, 400, seed)),
    Sampled("M/D/1, load 0.5", lambda seed: queue(0.5, seed), (0.9, 0.9)),
    Sampled("M/D/1, load 0.8", lambda seed: queue(0.8, seed), (0.9, 0.5)),
    Sampled("M/D/1, load 0.95", lambda seed: queue(0.95, seed)),
    Sampled("polls each second", lambda seed: polled(seed, 1.0), (0.9, 0.9)),
    Sampled("polls each second, 50 ms ± 30 %", lambda seed: polled(seed, 1.0, 0.050, 0.3), (0.9, 0.9)),
    Sampled("messages, 5 % lost, and polls", lambda seed: both(seed, 0.05), (0.9, 0.9)),
    Sampled("messages, an outage of 3 s", outage),
)


def proportion(hits: int, count: int) -> tuple[float, float]:
    """The 95 % interval of a proportion (E. B. Wilson, 1927); from 0 to 1 without any."""
    if not count:
        return 0.0, 1.0
    z = 1.959964
    middle = (hits + z * z / 2) / (count + z * z)
    apart = z / (count + z * z) * math.sqrt(hits * (count - hits) / count + z * z / 4)
    return max(middle - apart, 0.0), min(middle + apart, 1.0)


def complete(found: Interval) -> bool:
    """Whether both ends are known."""
    return found.low is not None and found.high is not None


def contains(found: Interval, value: float) -> bool:
    """Whether a value lies within an interval that has both ends."""
    return found.low is not None and found.high is not None and found.low <= value <= found.high


def true_quantiles(case: Sampled, samples: int = TRUTH_SAMPLES) -> dict[str, float]:
    """The quantiles of so many samples, of as many runs as that takes."""
    size = case.draw(TRUTH_SEED).size
    drawn = np.concatenate([case.draw(TRUTH_SEED + nth) for nth in range(max(1, samples // size))])
    return {name: quantile(drawn, share) for name, share in BOUNDED.items()}


def coverage(
    experiments: int,
    cases: tuple[Sampled, ...] = CASES,
    by: Callable[[Series], list[Interval]] = lambda series: intervals(series, list(BOUNDED.values())),
    truth_samples: int = TRUTH_SAMPLES,
) -> pl.DataFrame:
    """A row for each case and quantile: how often an interval was given, and contained the true quantile.

    `low` and `high` are the 95 % interval of the coverage. `by` makes the intervals of one series.
    """
    rows = []
    for case in cases:
        truth = true_quantiles(case, truth_samples)
        found = [by(case.draw(seed)) for seed in range(experiments)]
        for place, name in enumerate(BOUNDED):
            given = [each[place] for each in found if complete(each[place])]
            hits = sum(contains(each, truth[name]) for each in given)
            low, high = proportion(hits, len(given))
            enough = proportion(len(given), experiments)[1] >= case.given_min[place]
            rows.append(
                {"case": case.name, "quantile": name, "experiments": experiments, "given": len(given) / experiments}
                | {"coverage": hits / len(given) if given else None, "low": low, "high": high}
                | {"holds": high >= COVERAGE_MIN and enough}
            )
    return pl.DataFrame(rows, infer_schema_length=None)


def table(found: pl.DataFrame) -> list[list[str]]:
    """The frame as rows of text."""
    rows = []
    for row in found.iter_rows(named=True):
        covered = "-" if row["coverage"] is None else f"{row['coverage']:.1%} ({row['low']:.1%} to {row['high']:.1%})"
        holds = "**outside**" if not row["holds"] else "holds" if row["given"] else "none given"
        rows.append([row["case"], row["quantile"], f"{row['given']:.0%}", covered, holds])
    return rows


COLUMNS = ["samples", "quantile", "interval given", "contains the true one", "verdict"]


def findings(found: pl.DataFrame) -> Findings:
    """The frame as the table of a section."""
    outside = [f"{row['case']}, {row['quantile']}" for row in found.iter_rows(named=True) if not row["holds"]]
    return Findings(COLUMNS, table(found), outside)


def run(effort: Effort) -> Findings:
    """Measure with an experiment for each 1,000 changes of the effort, four at the least."""
    return findings(coverage(max(4, effort.seeds * effort.size // 1_000), truth_samples=400 * effort.size))


SECTION = Section(
    "Intervals",
    "How often the 95 % intervals of p50 and p99 contain the true quantile, over runs with a seed each, with the 95 % "
    "interval of that share itself (Wilson). `given` is the share of runs that have an interval at all: where samples "
    "are too few, or depend on each other for too long, the lab gives the reason instead (docs/measuring.md). A row "
    "holds if a coverage of 90 % can't be excluded, nor a least share of intervals given: nine of ten where samples "
    "are many and depend on each other for a short time only. Queues, polls and messages have 20,000 changes, 1,000 a "
    "second; the true quantile is that of 400 times `size` samples. There is a run for each 1,000 changes of the "
    "effort below (seeds times size), with seeds from 0 on.",
    run,
    # It also draws 400 times `size` samples for each case: with more, a night is too short.
    Effort(seeds=10, size=10_000),
)
