"""The run folder: written beside its place and renamed into it; read by report, compare and notebooks.

`runs/<scenario>/<run id>/` holds `manifest.json`, one Parquet file for each table (`lab/tables/`), and
`report.html`. `runs/<scenario>/latest` names the newest. A run that is killed leaves a folder whose name starts with a
dot, never half a run; the next run sweeps it away.

A run of several repetitions (`lab run --repeat`) is one folder: its tables have a column `repetition` at their end, and
its manifest what differs between repetitions in the list `repetitions`. `Run.repetition` shows one of them alone.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import secrets
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl

from lab.base import NotReadable, nearest
from lab.ending import at_work_in, stopping
from lab.formatting import first_line, plural
from lab.tables import ALWAYS, OPTIONAL, REPETITION, TABLES
from lab.tables.schema import WHOLE, WrongColumns

FORMAT = 1
# The keys of a manifest that everything that shows a run relies on, with their types.
_KEYS: dict[str, type] = {
    "scenario": dict, "verdict": str, "projections": list, "replay": str, "run": str, "seed": int, "versions": dict,
    "machine": dict, "truth": dict, "changes": int,
}  # fmt: skip
_AGAIN = "the run is damaged: run its scenario again"


class DamagedRun(NotReadable):
    """A file of a finished run is not what the lab wrote: cut off, changed or deleted."""

    exit_status = 4


@dataclass(frozen=True)
class Run:
    """A finished run: its manifest and its tables. Tables are read when they are first asked for.

    `unreported` is what prevented its report from being written, if anything did. `alone` is the number of the
    repetition of which this is a view (`repetition`); None of a run as it is in its folder.
    """

    path: Path
    unreported: Exception | None = field(default=None, compare=False)
    alone: int | None = None

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """Scenario, seed, versions, machine, engine settings as read back, verdicts expected and found."""
        data: dict[str, Any] = json.loads((self.path / "manifest.json").read_text(encoding="utf-8"))
        if self.alone is None:
            return data
        own: dict[str, Any] = data.pop("repetitions")[self.alone - 1]
        return data | own

    @property
    def whole(self) -> Run:
        """The run itself; of a view in other tables (`lab.measure.typical`), the run that it is a view of."""
        return self

    @property
    def repetitions(self) -> int:
        """How often the scenario was run for this run: 1 unless it was repeated; 1 of a view of one repetition."""
        return len(self.manifest.get("repetitions") or [None])

    def repetition(self, number: int) -> Run:
        """One repetition alone, from 1: manifest and tables as if it were a run of its own.

        Of a run without repetitions that is the run itself. Raises ValueError for a number that there isn't.
        """
        if not 1 <= number <= self.repetitions:
            raise ValueError(f"{self.name} has {plural(self.repetitions, 'repetition')}: there is no number {number}")
        return self if self.repetitions == 1 else replace(self, alone=number)

    @property
    def first(self) -> Run:
        """Repetition 1: what shows one history, and not a figure over all of them, takes this."""
        return self.repetition(1)

    def has(self, name: str) -> bool:
        """Whether the run has this table: all of `ALWAYS`, and those of `OPTIONAL` that it has rows for."""
        if not (self.path / f"{name}.parquet").is_file():
            return False
        if self.alone is None or name in ALWAYS:
            return True
        with self.scanned(name) as rows:
            return not rows.head(1).collect().is_empty()

    def table(self, name: str) -> pl.DataFrame:
        """One table of `lab.tables`, in its columns and types; an optional one that the run doesn't have is empty.

        Of a run of several repetitions it has the rows of all of them, and the column `repetition` at its end. Raises
        KeyError with the nearest name for an unknown table, and DamagedRun for a file that can't be read.
        """
        if name not in TABLES:
            raise KeyError(f"no table `{name}`: {nearest(name, TABLES)}")
        if name in OPTIONAL and not (self.path / f"{name}.parquet").is_file():
            empty = TABLES[name].frame()
            return empty.with_columns(pl.lit(None, pl.Int64).alias(REPETITION)) if self.repetitions > 1 else empty
        with self._reading(name) as file:
            found = pl.read_parquet(file) if self.alone is None else self._mine(file).collect()
            # One table has such a column of its own.
            return TABLES[name].read(found, REPETITION in found.columns and REPETITION not in TABLES[name].types)

    @contextlib.contextmanager
    def scanned(self, name: str) -> Iterator[pl.LazyFrame]:
        """One table, to be read a part at a time within the block. Raises DamagedRun for a file that can't be read.

        Errors of the block itself leave it as they are.
        """
        with self._reading(name) as file:
            TABLES[name].read(pl.read_parquet(file, n_rows=0))
        try:
            yield pl.scan_parquet(file) if self.alone is None else self._mine(file)
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException):
            stopping.stop_here()
            with self._reading(name):
                for column in pl.read_parquet_schema(file):
                    pl.read_parquet(file, columns=[column])
            raise

    def _mine(self, file: Path) -> pl.LazyFrame:
        """The rows of the repetition that this is a view of; all of a table that is about the run as a whole."""
        rows = pl.scan_parquet(file)
        if file.stem in WHOLE:
            return rows
        return rows.filter(pl.col(REPETITION) == self.alone).drop(REPETITION)

    @contextlib.contextmanager
    def _reading(self, name: str) -> Iterator[Path]:
        file = self.path / f"{name}.parquet"
        try:
            yield file
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException, WrongColumns) as error:
            stopping.stop_here()
            raise DamagedRun(str(file), f"can't be read: {first_line(error)}", _AGAIN) from None

    def __getattr__(self, name: str) -> pl.DataFrame:
        if name in TABLES:
            return self.table(name)
        raise AttributeError(f"a run has no `{name}`: {nearest(name, TABLES)}")

    @property
    def void(self) -> str | None:
        """Why the figures of a load don't mean what they say; None if they do, or if it is no run of `lab load`."""
        load: dict[str, Any] = self.manifest.get("load") or {}
        return str(load.get("why")) if load.get("void") else None

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
    file = run.path / "manifest.json"
    try:
        manifest = run.manifest
    except (ValueError, RecursionError) as error:
        raise DamagedRun(str(file), f"not a manifest: {first_line(error)}", _AGAIN) from None
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise NotReadable(str(run.path), f"not a run of format {FORMAT}", "run the scenario again")
    wrong = [name for name, kind in _KEYS.items() if not isinstance(manifest.get(name), kind)]
    if not wrong and not all(
        isinstance(row, dict) and isinstance(row.get("name"), str) for row in manifest["projections"]
    ):
        wrong = ["projections"]
    if not _repeated(manifest):
        wrong.append("repetitions")
    if wrong:
        raise DamagedRun(str(file), f"missing, or not what the lab wrote: {', '.join(wrong)}", _AGAIN)
    if missing := [name for name in ALWAYS if not (run.path / f"{name}.parquet").is_file()]:
        raise DamagedRun(str(run.path), f"tables are missing: {', '.join(missing)}", _AGAIN)
    return run


def _repeated(manifest: dict[str, Any]) -> bool:
    """Whether a manifest has the repetitions that the lab writes: none at all, or two and more, each with a seed."""
    several = manifest.get("repetitions")
    if several is None:
        return True
    return (
        isinstance(several, list)
        and len(several) > 1
        and all(isinstance(one, dict) and isinstance(one.get("seed"), int) for one in several)
    )


@contextlib.contextmanager
def new_run(root: Path, scenario: str) -> Iterator[tuple[Path, Path]]:
    """A folder to write a run into, and the folder that it becomes when the block ends without an error.

    The `latest` link moves only after the run is in place; both steps are atomic renames. A signal that comes before
    them discards the run, and one that comes later leaves it there.
    """
    home = root / scenario
    home.mkdir(parents=True, exist_ok=True)
    _sweep(home)
    run_id = f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{secrets.token_hex(3)}"
    partial = home / f".{run_id}.{os.getpid()}.partial"
    stopping.makes(partial)
    try:
        with at_work_in(home):
            partial.mkdir()
            yield partial, home / run_id
            # What an interrupted engine made of the run must not stay.
            stopping.check()
            with stopping.held():
                partial.rename(home / run_id)
                stopping.keeps(home / run_id)
                _point(home, run_id)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _point(home: Path, run_id: str) -> None:
    """Let `latest` lead to a run. Raises FileExistsError for a file or folder in its place, and leaves that alone."""
    latest, link = home / "latest", home / f".latest.{os.getpid()}"
    if os.path.lexists(latest) and not latest.is_symlink():
        raise FileExistsError(errno.EEXIST, "exists, and is no link to a run", str(latest))
    try:
        link.unlink(missing_ok=True)
        link.symlink_to(run_id, target_is_directory=True)
        link.replace(latest)
    finally:
        link.unlink(missing_ok=True)


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


def write_table(folder: Path, name: str, frame: pl.DataFrame) -> None:
    """Write one table of `lab.tables`. Raises WrongColumns unless the frame has exactly its columns."""
    TABLES[name].typed(frame).write_parquet(folder / f"{name}.parquet", compression="zstd")


def merge_tables(folder: Path, parts: Sequence[Path]) -> None:
    """Write the tables of several repetitions, each in a folder of its own, as one: with the column `repetition`.

    They are read a part at a time, so memory doesn't grow with their number.
    """
    for name, schema in TABLES.items():
        files = {number: part / f"{name}.parquet" for number, part in enumerate(parts, 1)}
        found = [
            pl.scan_parquet(file).select(*schema.types, pl.lit(number, pl.Int64).alias(REPETITION))
            for number, file in files.items()
            if file.is_file()
        ]
        if found:
            pl.concat(found).sink_parquet(folder / f"{name}.parquet", compression="zstd")


def gather_table(folder: Path, name: str, parts: Sequence[Path]) -> None:
    """Write one optional table from files that have its rows, a part at a time; no file if there is no row."""
    frame = pl.concat([pl.scan_parquet(part) for part in parts]) if parts else pl.LazyFrame(schema=TABLES[name].types)
    if frame.select(pl.len()).collect().item():
        frame.sink_parquet(folder / f"{name}.parquet", compression="zstd")
