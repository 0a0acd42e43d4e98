"""Read the events that Locust's workers recorded, compare their counts, and summarise them."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from lab.base import LabError
from lab.load.ledger import NOT_SENT
from lab.measure.queries import timed_quantiles
from lab.statistics.quantiles import SHARES, reached, told
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
# A generator that was later than this with one request in a hundred has not offered what it says: seconds.
LATE_MAX = 0.05

# In the second half of a load so many arrivals may have had nothing to send: a share, and a number in any case.
IDLE_SHARE, IDLE_FEW = 0.02, 10


class WorkerLost(LabError):
    """A worker ended before it reported its counts, so the measurement is incomplete."""

    exit_status = 4


@dataclass(frozen=True)
class EventLog:
    """What the workers wrote: every event, with `COLUMNS`, seconds; and how many of each row they had offered."""

    events: pl.DataFrame
    offered: Mapping[str, int]


def read(folder: Path, workers: int) -> EventLog:
    """Read the log of every worker. Raises WorkerLost."""
    frames, offered = [pl.DataFrame(schema=COLUMNS)], Counter[str]()
    for worker in range(workers):
        frame, more = _worker(folder / f"events-{worker}.ndjson", worker)
        frames.append(frame)
        offered.update(more)
    return EventLog(pl.concat(frames), dict(offered))


def _worker(path: Path, worker: int) -> tuple[pl.DataFrame, Mapping[str, int]]:
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
    return found, last["offered"]


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


def table(log: EventLog, lag: pl.DataFrame) -> pl.DataFrame:
    """The table `load`: a row for each kind of request, and LAG of each projection from `lag`, a `lag_summary`."""
    rows = []
    for (name,), group in log.events.group_by("row"):
        failed = group.filter(pl.col("failed").is_not_null()).height
        censored = group.filter(pl.col("censored").fill_null(False)).height
        counts = {"offered": log.offered.get(str(name), 0), "answered": group.height - failed - censored}
        counts |= {"failed": failed, "censored": censored}
        # An arrival for which there was nothing to send has no time.
        seconds = np.empty(0) if name == NOT_SENT else times(group, "seconds")
        found = _quantiles(seconds, "") | _quantiles(times(group, "service"), "service_")
        rows.append({"row": name} | counts | found)
    for name in log.offered.keys() - {row["row"] for row in rows}:
        counts = {"offered": log.offered[name], "answered": 0, "failed": 0, "censored": 0}
        rows.append({"row": name} | counts | _quantiles(np.empty(0), "") | _quantiles(np.empty(0), "service_"))
    for one in lag.filter(pl.col("changes") > 0).to_dicts():
        counts = {"offered": one["changes"], "answered": one["visible"], "failed": 0, "censored": one["never_visible"]}
        found = {f"{name}_seconds": one[f"{name}_seconds"] for name in SHARES}
        rows.append({"row": f"LAG/{one['projection']}"} | counts | found | _quantiles(np.empty(0), "service_"))
    return TABLES["load"].frame(sorted(rows, key=lambda row: str(row["row"])))


def times(group: pl.DataFrame, column: str) -> npt.NDArray[np.float64]:
    """The seconds of each request, infinite without an answer; none where no request of the row has such a time."""
    if group[column].is_null().all():
        return np.empty(0)
    unanswered = pl.col("failed").is_not_null() | pl.col("censored").fill_null(False)
    chosen = group.select(pl.when(unanswered).then(np.inf).otherwise(pl.col(column)))
    found: npt.NDArray[np.float64] = chosen.to_series().to_numpy()
    return found


def _quantiles(seconds: npt.NDArray[np.float64], prefix: str) -> dict[str, float | None]:
    return {f"{prefix}{name}_seconds": told(seconds, share) for name, share in SHARES.items()}


def unaccounted(log: EventLog) -> str | None:
    """Say which requests are neither answered nor failed nor censored; None if there are no such requests.

    Each row has as many as were offered of it; and of the arrivals of an open loop, each is a command, a query, or
    there was nothing to send.
    """
    noted = dict(log.events.group_by("row").len().iter_rows())
    missing = [
        f"{name}: {log.offered.get(name, 0):,} offered, {noted.get(name, 0):,} accounted for"
        for name in sorted({*log.offered, *noted})
        if log.offered.get(name, 0) != noted.get(name, 0)
    ]
    arrivals = noted.get("SCHEDULE", 0)
    sent = sum(count for name, count in noted.items() if name in ("COMMAND", NOT_SENT) or name.startswith("QUERY/"))
    if arrivals and not missing and sent != arrivals:
        missing.append(f"{arrivals:,} arrivals, {sent:,} accounted for")
    return f"requests are missing: {'; '.join(missing)}" if missing else None


def void(log: EventLog, rate: float, seconds: float) -> str | None:
    """Why the load is void: requests are missing, or the generator did not offer what was asked for; else None.

    Closed loops have no rate to offer.
    """
    if (missing := unaccounted(log)) is not None:
        return missing
    if not rate:
        return None
    late = log.events.filter(pl.col("row") == "SCHEDULE")["seconds"].to_numpy()
    p99 = reached(late, 0.99)
    if p99 is None:
        return "nothing was offered"
    if p99 > LATE_MAX:
        return f"the generator was late: {p99:.3f} s at p99, {LATE_MAX:g} s are allowed"
    # Poisson: four standard deviations.
    wanted = rate * seconds
    if late.size < wanted - 4 * np.sqrt(wanted) - 1:
        return f"the generator offered {late.size:,} of about {wanted:,.0f} arrivals"
    return _ran_out(log.events, late.size, seconds)


def _ran_out(events: pl.DataFrame, arrivals: int, seconds: float) -> str | None:
    """Why a load is void whose second half lacked requests to send; at the start there may be no data to ask with."""
    half = (events["began"].min() or 0.0) + seconds / 2  # type: ignore[operator]
    idle = events.filter((pl.col("row") == NOT_SENT) & (pl.col("began") > half)).height
    if idle <= max(IDLE_FEW, IDLE_SHARE * arrivals / 2):
        return None
    return f"{idle:,} arrivals of the second half had nothing to send: raise workload.commands"


def queries(events: pl.DataFrame, answered: pl.DataFrame) -> pl.DataFrame:
    """The table `queries` with the times under load, over HTTP, from the intended start of each request.

    A request that failed or was not answered in time counts as infinitely late. `answered` is the table as asked at
    rest, which says whether the answers were right.
    """
    rows: list[dict[str, Any]] = []
    for row in answered.iter_rows(named=True):
        group = events.filter(pl.col("row") == f"QUERY/{row['projection']}/{row['query']}").sort(
            "began", nulls_last=True
        )
        taken = times(group, "seconds") * 1e6
        found: dict[str, Any] = timed_quantiles(taken)
        if row["answer_ok"] is False:
            found = dict.fromkeys(found)
        rows.append(row | {"samples": group.height, "rows": group["rows"].mean() or 0.0} | found)
    return TABLES["queries"].frame(rows)
