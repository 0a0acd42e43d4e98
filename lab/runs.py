"""The run folder: written once, beside, and renamed into place; read by report, compare and notebooks.

`runs/<scenario>/<run id>/` holds `manifest.json`, one Parquet file for each table of `TABLES`, and
`report.html`. `runs/<scenario>/latest` names the newest. A run that is killed leaves a folder whose name starts with a
dot, never half a run; the next run sweeps it away.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl

from lab.base import NotReadable, nearest

FORMAT = 1

_F, _I, _S, _B = pl.Float64(), pl.Int64(), pl.String(), pl.Boolean()

# Each table and its first columns: the lab's interface to notebooks and to other tools.
TABLES: dict[str, dict[str, pl.DataType]] = {
    "lag": {"projection": _S, "position": _I, "lag_seconds": _F},
    "lag_summary": {
        "projection": _S,
        "changes": _I,
        "visible": _I,
        "never_visible": _I,
        "p50_seconds": _F,
        "p90_seconds": _F,
        "p99_seconds": _F,
        "max_seconds": _F,
    },
    "visibility": {"projection": _S, "after_seconds": _F, "probability": _F},
    "staleness": {"projection": _S, "at_seconds": _F, "versions_behind": _I, "seconds_behind": _F},
    "writes": {
        "write_model": _S,
        "commands": _I,
        "accepted": _I,
        "rejected": _I,
        "conflicts": _I,
        "per_second": _F,
        "p50_us": _F,
        "p99_us": _F,
    },
    "rebuild": {
        "projection": _S,
        "store": _S,
        "changes": _I,
        "seconds": _F,
        "changes_per_second": _F,
        "size_bytes": _I,
        "peak_rss_bytes": _I,
    },
    "queries": {
        "projection": _S,
        "store": _S,
        "query": _S,
        "kind": _S,
        "samples": _I,
        "rows": _F,
        "p50_us": _F,
        "p90_us": _F,
        "p99_us": _F,
        "answer_ok": _B,
    },
    "accounting": {
        "projection": _S,
        "committed": _I,
        "applied": _I,
        "superseded": _I,
        "duplicates": _I,
        "parked": _I,
        "skipped": _I,
        "pending": _I,
    },
    "verdicts": {"projection": _S, "check": _S, "verdict": _S, "count": _I, "witness": _S},
    # What the channel did, summed up: each copy is delivered, a duplicate, or lost; some were held or overtaken.
    "channel": {"fate": _S, "messages": _I, "share": _F, "delay_p50_seconds": _F, "delay_p99_seconds": _F},
}

# Tables that a run has when there is something to put in them. `Run.has` says whether; an absent one reads as empty.
OPTIONAL: dict[str, dict[str, pl.DataType]] = {
    # What happened to every copy that was sent.
    "deliveries": {
        "position": _I,
        "copy": _I,
        "fate": _S,
        "sent_at": _F,
        "arrives_at": _F,
        "held": _B,
        "overtaken": _B,
    },
    # What went wrong at a projection (or, with an empty name, at the source of truth), and until when.
    "faults": {
        "projection": _S,
        "kind": _S,
        "step": _S,
        "at_seconds": _F,
        "until_seconds": _F,
        "position": _I,
        "detail": _S,
    },
    "gaps": {
        "projection": _S,
        "strategy": _S,
        "writers": _S,
        "changes": _I,
        "lost": _I,
        "given_up": _I,
        "stall_p50_seconds": _F,
        "stall_p99_seconds": _F,
        "stall_max_seconds": _F,
        "per_second": _F,
        "throughput": _F,
    },
    "readers": {
        "projection": _S,
        "token": _S,
        "reads": _I,
        "answered": _I,
        "stale": _I,
        "unread": _I,
        "backward": _I,
        "wait_p50_seconds": _F,
        "wait_p99_seconds": _F,
    },
    "rebuilds": {
        "projection": _S,
        "mode": _S,
        "at_seconds": _F,
        "seconds": _F,
        "changes": _I,
        "reads": _I,
        "partial_reads": _I,
        "backward_reads": _I,
        "behind_max_seconds": _F,
        "peak_bytes": _I,
        "resting_bytes": _I,
    },
    "parked": {
        "projection": _S,
        "entity": _S,
        "key": _S,
        "position": _I,
        "revision": _I,
        "reason": _S,
    },
    # Of stores of documents: what was written because another record changed, while the projection was fed.
    "fan_out": {
        "projection": _S,
        "store": _S,
        "changes": _I,
        "documents_written": _I,
        "fanned_out": _I,
        "ratio": _F,
    },
    # Of a load: a row for each row of Locust's statistics; times from the intended start, and of the service alone.
    "load": {
        "row": _S,
        "count": _I,
        "failures": _I,
        "censored": _I,
        "p50_seconds": _F,
        "p90_seconds": _F,
        "p99_seconds": _F,
        "service_p50_seconds": _F,
        "service_p90_seconds": _F,
        "service_p99_seconds": _F,
    },
    # Of a search for the knee: what each offered rate brought, at each projection.
    "knee": {
        "repetition": _I,
        "rate": _F,
        "projection": _S,
        "lag_p99_seconds": _F,
        "query_p99_seconds": _F,
        "error_rate": _F,
        "held": _B,
        "why": _S,
    },
    # Of a load: the lag that a simulation of the same commands foretold, beside what there was.
    "foretold": {
        "projection": _S,
        "simulated_p50_seconds": _F,
        "loaded_p50_seconds": _F,
        "simulated_p99_seconds": _F,
        "loaded_p99_seconds": _F,
    },
    # The witnesses of `verdicts`, step by step: what a timeline is drawn from.
    "witnesses": {
        "projection": _S,
        "check": _S,
        "step": _I,
        "at_seconds": _F,
        "line": _S,
        "label": _S,
        "detail": _S,
        "position": _I,
        "delivery": _I,
        "mark": _S,
    },
}


@dataclass(frozen=True)
class Run:
    """A finished run: its manifest and its tables. Tables are read when they are first asked for."""

    path: Path

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """Scenario, seed, versions, machine, engine settings as read back, verdicts expected and found."""
        data: dict[str, Any] = json.loads((self.path / "manifest.json").read_text(encoding="utf-8"))
        return data

    def has(self, name: str) -> bool:
        """Whether the run has this table: all of `TABLES`, and of `OPTIONAL` what there was something to put in."""
        return (self.path / f"{name}.parquet").is_file()

    def table(self, name: str) -> pl.DataFrame:
        """One table of `TABLES` or `OPTIONAL`; an optional one that the run doesn't have is empty, with its columns.

        An unknown name is a KeyError that says the nearest.
        """
        if name not in TABLES | OPTIONAL:
            raise KeyError(f"no table `{name}`: {nearest(name, TABLES | OPTIONAL)}")
        if name in OPTIONAL and not self.has(name):
            return pl.DataFrame(schema=OPTIONAL[name])
        return pl.read_parquet(self.path / f"{name}.parquet")

    def __getattr__(self, name: str) -> pl.DataFrame:
        if name in TABLES | OPTIONAL:
            return self.table(name)
        raise AttributeError(f"a run has no `{name}`: {nearest(name, TABLES)}")

    @property
    def name(self) -> str:
        """`<scenario>/<run id>`, as a person would say it."""
        return f"{self.path.parent.name}/{self.path.name}"


def load_run(path: str | Path, root: Path = Path("runs")) -> Run:
    """The run in a folder, or the latest of a scenario by its name, below `root`."""
    for folder in (Path(path), root / str(path), Path(path) / "latest", root / str(path) / "latest"):
        if (folder / "manifest.json").is_file():
            return _checked(Run(folder.resolve()))
    known = [entry.name for entry in root.iterdir() if entry.is_dir()] if root.is_dir() else []
    way_out = nearest(str(path), known) if known else f"there are no runs in {root}/ yet: `lab run SCENARIO`"
    raise NotReadable(str(path), "neither a run folder nor a scenario with runs", way_out)


def _checked(run: Run) -> Run:
    try:
        manifest = run.manifest
    except (ValueError, OSError) as error:
        raise NotReadable(
            str(run.path / "manifest.json"), f"not a manifest: {error}", "run the scenario again"
        ) from None
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise NotReadable(str(run.path), f"not a run of format {FORMAT}", "run the scenario again")
    if missing := [name for name in TABLES if not (run.path / f"{name}.parquet").is_file()]:
        raise NotReadable(str(run.path), f"tables are missing: {', '.join(missing)}", "run the scenario again")
    return run


@contextlib.contextmanager
def new_run(root: Path, scenario: str) -> Iterator[tuple[Path, Path]]:
    """A folder to write a run into, and the folder that it becomes when the block ends without an error.

    The `latest` link moves only after the run is in place; both steps are atomic renames.
    """
    home = root / scenario
    home.mkdir(parents=True, exist_ok=True)
    _sweep(home)
    run_id = f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{secrets.token_hex(3)}"
    partial = home / f".{run_id}.{os.getpid()}.partial"
    partial.mkdir()
    try:
        yield partial, home / run_id
        partial.rename(home / run_id)
        link = home / f".latest.{os.getpid()}"
        link.unlink(missing_ok=True)
        link.symlink_to(run_id, target_is_directory=True)
        link.replace(home / "latest")
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _sweep(home: Path) -> None:
    """Remove what killed runs left: partial folders whose process is no more."""
    for folder in home.glob(".*.partial"):
        pid = folder.name.rsplit(".", 2)[1]
        if pid.isdigit() and not _alive(int(pid)):
            shutil.rmtree(folder, ignore_errors=True)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def write_table(
    folder: Path, name: str, frame: pl.DataFrame, tables: Mapping[str, Mapping[str, pl.DataType]] = TABLES
) -> None:
    """Write one table, its first columns and their types held to `tables`."""
    columns = tables[name]
    extra = [pl.col(column) for column in frame.columns if column not in columns]
    frame.select(*(pl.col(column).cast(dtype) for column, dtype in columns.items()), *extra).write_parquet(
        folder / f"{name}.parquet", compression="zstd"
    )
