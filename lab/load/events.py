"""Read the events that Locust's workers recorded, compare their counts with Locust's, and summarise them."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from lab.base import LabError
from lab.measure.queries import ends
from lab.statistics.quantiles import reached, told
from lab.tables import TABLES

COLUMNS: dict[str, pl.DataType] = {
    "worker": pl.Int64(),
    "row": pl.String(),
    "seconds": pl.Float64(),
    "service": pl.Float64(),
    "began": pl.Float64(),
    "failed": pl.String(),
    "outcome": pl.String(),
    "position": pl.Int64(),
    "rows": pl.Int64(),
    "censored": pl.Boolean(),
}
QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}
# A generator that was later than this with one request in a hundred has not offered what it says: seconds.
LATE_MAX = 0.05


class WorkerLost(LabError):
    """A worker ended before it reported its counts, so the measurement is incomplete."""

    exit_status = 4


def read(folder: Path, workers: int) -> pl.DataFrame:
    """Every event of every worker, with `COLUMNS`; seconds. Raises WorkerLost."""
    frames = [pl.DataFrame(schema=COLUMNS)]
    for worker in range(workers):
        frames.append(_worker(folder / f"events-{worker}.ndjson", worker))
    return pl.concat(frames)


def _worker(path: Path, worker: int) -> pl.DataFrame:
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    try:
        last = json.loads(lines[-1]) if lines else {}
    except ValueError:
        last = {}
    if not last.get("end"):
        raise WorkerLost(f"Locust's worker {worker} ended before it had written its counts: the load is incomplete")
    try:
        rows = [json.loads(line) for line in lines[:-1]]
    except ValueError as error:
        raise WorkerLost(f"what Locust's worker {worker} wrote can't be read: {error}") from None
    found = pl.DataFrame(
        [{name: row.get(name) for name in COLUMNS} | {"worker": worker} for row in rows], schema=COLUMNS, strict=False
    )
    counted = dict(found.group_by("row").len().iter_rows())
    if counted != last["counts"]:
        raise WorkerLost(f"Locust's worker {worker} counted {last['counts']}, and wrote {counted}")
    return found


def confirm(events: pl.DataFrame, stats: Path) -> None:
    """Raise WorkerLost unless Locust's own statistics, as JSON and as CSV, have as many of each row."""
    ours = dict(events.group_by("row").len().iter_rows())
    as_json = {row["name"]: int(row["num_requests"]) for row in json.loads(stats.with_suffix(".json").read_text())}
    with Path(f"{stats}_stats.csv").open(encoding="utf-8", newline="") as file:
        as_csv = {row["Name"]: int(row["Request Count"]) for row in csv.DictReader(file) if row["Name"] != "Aggregated"}
    for what, theirs in (("JSON", as_json), ("CSV", as_csv)):
        if theirs != ours:
            differ = sorted(name for name in {*ours, *theirs} if ours.get(name) != theirs.get(name))
            told = ", ".join(f"{name}: {ours.get(name, 0)} and {theirs.get(name, 0)}" for name in differ[:5])
            raise WorkerLost(f"the workers' log and Locust's {what} differ: {told}")


def table(events: pl.DataFrame) -> pl.DataFrame:
    """The table `load`: a row for each of Locust's. A censored probe counts as one that took forever."""
    rows = []
    for (name,), group in sorted(events.group_by("row"), key=lambda pair: str(pair[0][0])):
        times = group["seconds"].to_numpy().copy()
        censored = group["censored"].fill_null(False).to_numpy()
        times[censored] = np.inf
        service = group["service"].drop_nulls().to_numpy()
        rows.append(
            {"row": name, "count": group.height, "failures": group.height - group["failed"].null_count()}
            | {"censored": int(censored.sum())}
            | {f"{quantile}_seconds": told(times, share) for quantile, share in QUANTILES.items()}
            | {f"service_{quantile}_seconds": told(service, share) for quantile, share in QUANTILES.items()}
        )
    return TABLES["load"].frame(rows)


def void(events: pl.DataFrame, rate: float, seconds: float) -> str | None:
    """Why the generator did not offer the load that was asked for; None if it did. Closed loops offer none."""
    if not rate:
        return None
    late = events.filter(pl.col("row") == "SCHEDULE")["seconds"].to_numpy()
    p99 = reached(late, 0.99)
    if p99 is None:
        return "nothing was offered"
    if p99 > LATE_MAX:
        return f"the generator was late: {p99:.3f} s at p99, {LATE_MAX:g} s are allowed"
    # Poisson: four standard deviations.
    wanted = rate * seconds
    if late.size < wanted - 4 * np.sqrt(wanted) - 1:
        return f"the generator offered {late.size:,} of about {wanted:,.0f} arrivals"
    return None


def queries(events: pl.DataFrame, answered: pl.DataFrame) -> pl.DataFrame:
    """The table `queries` with the times under load: service time over HTTP, since a reader waits for that too.

    `answered` is the table as asked at rest, which says whether the answers were right.
    """
    rows: list[dict[str, Any]] = []
    for row in answered.iter_rows(named=True):
        group = events.filter(
            (pl.col("row") == f"QUERY/{row['projection']}/{row['query']}") & pl.col("failed").is_null()
        ).sort("began")
        times = group["service"].to_numpy() * 1e6
        found: dict[str, Any] = {f"{name}_us": told(times, share) for name, share in QUANTILES.items()}
        found |= ends(times)
        if row["answer_ok"] is False:
            found = dict.fromkeys(found)
        rows.append(row | {"samples": group.height, "rows": group["rows"].mean() or 0.0} | found)
    return TABLES["queries"].frame(rows)
