"""How often the intervals over repetitions contain the true value, for figures of one run and for ratios of two.

Each experiment is a run of five or ten repetitions. A repetition's samples come from a process that is known, and all
of them are longer or shorter by a factor that the repetition has of its own: that is what varies between processes.

Repetitions say as much as each of them does: what they estimate is the mean over runs of their length. A queue that
begins empty, and is short beside its own memory, has shorter lags than in its steady state, and no number of short runs
makes up for that. So for queues both are counted: the mean over runs of that length, and the steady state.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import NormalDist

import numpy as np
import numpy.typing as npt
import polars as pl

from benchmarks.validity.coverage import proportion
from benchmarks.validity.section import Effort, Findings, Section
from benchmarks.validity.theory import quantile_md1
from lab.base import stream
from lab.running.theory import single_server
from lab.statistics.intervals import Interval
from lab.statistics.quantiles import BOUNDED, quantile, unbiased
from lab.statistics.replicated import interval, ratio

Samples = npt.NDArray[np.float64]
REPETITIONS = (5, 10)
# What a coverage of 95 % may be.
HELD = (0.93, 0.97)
EXPERIMENTS = 2_000
# By how much repetitions differ: the standard deviation of the logarithm of their factor.
BETWEEN = 0.05
TRUTH_SEED = 1_000_000
_TRUTH_RUNS = 2_000


@dataclass(frozen=True)
class Process:
    """The samples of one repetition, in time order, by its random stream.

    `truth` has the quantiles that each run estimates, if a formula has them; `steady` those of a run without end, where
    they are others. One in `part` of the experiments is made, where samples are many.
    """

    name: str
    draw: Callable[[np.random.Generator], Samples]
    truth: dict[str, float] | None = None
    steady: dict[str, float] | None = None
    part: int = 1


def lognormal(sigma: float, count: int, of: float = 0.0) -> Process:
    """Times whose logarithms are normal, and with `of` autoregressive of order 1."""

    def draw(rng: np.random.Generator) -> Samples:
        values = rng.standard_normal(count + 400 * bool(of))
        # The filter 1 / (1 - of B) is the product of (1 + of^k B^k) over the powers of two k.
        step, factor = 1, of
        while factor > 1e-12 and step < values.size:
            values[step:] = values[step:] + factor * values[:-step]
            step, factor = 2 * step, factor * factor
        found: Samples = np.exp(sigma * math.sqrt(1 - of * of) * values[-count:])
        return found

    truth = {name: math.exp(sigma * NormalDist().inv_cdf(share)) for name, share in BOUNDED.items()}
    named = f"autoregressive {of:g}" if of else f"independent, lognormal {sigma:g}"
    return Process(f"{named}, {count:,}", draw, truth)


def exponential(count: int) -> Process:
    """Independent times with an exponential tail."""
    truth = {name: -math.log1p(-share) for name, share in BOUNDED.items()}
    return Process(f"independent, exponential, {count:,}", lambda rng: rng.exponential(1.0, count), truth)


def queue(load: float, count: int, part: int = 1) -> Process:
    """Lags of a projector that takes each change alone, in constant time (M/D/1), which is empty at first."""

    def draw(rng: np.random.Generator) -> Samples:
        at = np.cumsum(rng.exponential(1.0, count))
        found: Samples = single_server(at, load) - at
        return found

    steady = {name: quantile_md1(1.0, load, share) for name, share in BOUNDED.items()}
    return Process(f"M/D/1, load {load:g}, {count:,}", draw, steady=steady, part=part)


PROCESSES = (
    lognormal(0.5, 100),
    lognormal(1.5, 1_000),
    exponential(400),
    lognormal(0.5, 2_000, 0.6),
    lognormal(0.5, 2_000, 0.9),
    queue(0.5, 2_000),
    queue(0.8, 4_000),
    queue(0.8, 40_000, part=8),
)

Estimate = Callable[[Samples, float], float | None]


def averaged(samples: Samples, share: float) -> float | None:
    """The estimate that the lab averages: medians as they are measured, tails without bias."""
    return unbiased(samples, share) if share > 0.5 else quantile(samples, share)


def estimated(process: Process, estimate: Estimate) -> dict[str, float]:
    """What runs of this length estimate; where no formula has it, the mean logarithm over many other runs."""
    if process.truth is not None:
        return process.truth
    runs = [process.draw(stream(TRUTH_SEED + number, process.name)) for number in range(_TRUTH_RUNS // process.part)]
    return {
        name: math.exp(float(np.mean([math.log(estimate(one, share) or math.nan) for one in runs])))
        for name, share in BOUNDED.items()
    }


def experiments(process: Process, count: int, repetitions: int, estimate: Estimate) -> dict[str, Samples]:
    """The estimate of each repetition of each experiment, by quantile."""
    found = {name: np.empty((count, repetitions)) for name in BOUNDED}
    for number in range(count):
        rng = stream(number, process.name, str(repetitions))
        for repetition in range(repetitions):
            samples = process.draw(rng) * math.exp(BETWEEN * rng.standard_normal())
            for name, share in BOUNDED.items():
                found[name][number, repetition] = estimate(samples, share) or math.nan
    return found


def coverage(
    count: int,
    processes: tuple[Process, ...] = PROCESSES,
    by: Callable[[list[float | None]], Interval] = interval,
    estimate: Estimate = averaged,
) -> pl.DataFrame:
    """A row for each process, figure, number of repetitions, and value that the interval should contain (`of`).

    The ratio is that of two successive experiments, whose true value is 1: outside of its interval, it is called a
    difference falsely. `by` makes the interval of one figure. Nothing is claimed of the steady state of a queue.
    """
    rows = []
    for process in processes:
        truth, several = estimated(process, estimate), max(count // process.part, 10)
        for repetitions in REPETITIONS:
            for name, estimates in experiments(process, several, repetitions, estimate).items():
                runs = estimates.tolist()
                found = [by(run) for run in runs]
                about = {"samples": process.name, "figure": name, "repetitions": repetitions}
                mean = process.truth is None
                of = f"mean over such runs, {truth[name]:.3g}" if mean else f"true value, {truth[name]:.3g}"
                rows.append(about | _row(of, [_contains(one, truth[name]) for one in found]))
                if process.steady is not None:
                    steady = process.steady[name]
                    hits = [_contains(one, steady) for one in found]
                    rows.append(about | _row(f"steady state, {steady:.3g}", hits, claimed=False))
                pairs = zip(runs[0::2], runs[1::2], strict=False)
                told = [ratio(one, other, paired=False) for one, other in pairs]
                about["figure"] = f"ratio of {name}"
                rows.append(about | _row("1", [_contains(Interval(one.low, one.high), 1.0) for one in told]))
    return pl.DataFrame(rows)


def _contains(found: Interval, value: float) -> bool:
    return found.low is not None and found.high is not None and found.low <= value <= found.high


def _row(of: str, hits: Sequence[bool], claimed: bool = True) -> dict[str, object]:
    low, high = proportion(sum(hits), len(hits))
    return {
        "of": of, "experiments": len(hits), "coverage": sum(hits) / len(hits), "low": low, "high": high,
        "holds": high >= HELD[0] and low <= HELD[1], "claimed": claimed,
    }  # fmt: skip


def percentiles(values: list[float | None], draws: int = 1_000) -> Interval:
    """What the lab doesn't use: a bootstrap over the repetitions, from 2.5 % to 97.5 % of its means."""
    logs = np.log(np.array(values, dtype=np.float64))
    rng = stream(int(abs(logs[0]) * 1e9) % 2**31, "bootstrap")
    means = np.sort(rng.choice(logs, (draws, logs.size)).mean(axis=1))
    return Interval(math.exp(means[round(0.025 * draws)]), math.exp(means[round(0.975 * draws) - 1]))


COLUMNS = ["samples of a repetition", "figure", "repetitions", "of", "contained", "verdict"]


def table(found: pl.DataFrame) -> list[list[str]]:
    """The frame as rows of text."""
    return [
        [
            row["samples"], row["figure"], str(row["repetitions"]), row["of"],
            f"{row['coverage']:.1%} ({row['low']:.1%} to {row['high']:.1%})",
            "holds" if row["holds"] else "**outside**" if row["claimed"] else "not contained",
        ]
        for row in found.iter_rows(named=True)
    ]  # fmt: skip


def run(effort: Effort) -> Findings:
    """Measure with 2,000 experiments at full effort, and fewer in proportion."""
    count = min(EXPERIMENTS, max(100, effort.seeds * effort.size // 240))
    found = coverage(count)
    # What the lab does not do, for comparison: its rows can't be outside.
    plain = coverage(count, (lognormal(0.5, 100),), by=partial(percentiles, draws=400)).filter(figure="p50")
    shown = [[f"{row[0]}: by bootstrap", *row[1:5], "not used"] for row in table(plain)]
    outside = [
        f"{row['samples']}, {row['figure']}, {row['repetitions']}"
        for row in found.iter_rows(named=True)
        if row["claimed"] and not row["holds"]
    ]
    return Findings(COLUMNS, [*table(found), *shown], outside)


SECTION = Section(
    "Intervals over repetitions",
    "How often the 95 % intervals of runs of several repetitions contain what they are of, and those of the ratio of "
    "two such runs contain 1, with the 95 % interval of that share itself (Wilson). Each repetition's times are "
    f"multiplied by a factor of its own (lognormal, sigma {BETWEEN:g}). A row holds if a coverage of {HELD[0]:.0%} to "
    f"{HELD[1]:.0%} can't be excluded. There are {EXPERIMENTS:,} experiments at full effort, and {EXPERIMENTS // 8} of "
    "the longest runs.\n\n"
    "Repetitions estimate the mean over runs of their own length. Of independent samples, and of dependent ones that "
    "begin in their steady state, that is the true value. A queue begins empty, and is short beside its own memory "
    "where the load is high: its runs have shorter lags than its steady state, whose value (by formula: Franx) stands "
    "in rows of its own. Of these nothing is claimed: `not contained` says that the interval holds it less often than "
    "it says. More repetitions make that worse, since their interval is narrower around the same mean; longer runs "
    "make it better. At a load of 0.5 half of the changes don't wait, which is the least lag there is: medians of runs "
    "are that or more. The last rows are a method that the lab doesn't use: the percentiles of a bootstrap over the "
    "repetitions.",
    run,
)
