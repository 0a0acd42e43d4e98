"""The run folder: written beside its place and renamed into it; read by report, compare and notebooks.

`runs/<scenario>/<run id>/` holds `manifest.json`, one Parquet file for each table (`lab/tables/`), and
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
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl

from lab.base import NotReadable, nearest
from lab.tables import ALWAYS, OPTIONAL, TABLES

FORMAT = 1


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
        """Whether the run has this table: all of `ALWAYS`, and those of `OPTIONAL` that it has rows for."""
        return (self.path / f"{name}.parquet").is_file()

    def table(self, name: str) -> pl.DataFrame:
        """One table of `lab.tables`, in its columns and types; an optional one that the run doesn't have is empty.

        Raises KeyError with the nearest name for an unknown table.
        """
        if name not in TABLES:
            raise KeyError(f"no table `{name}`: {nearest(name, TABLES)}")
        if name in OPTIONAL and not self.has(name):
            return TABLES[name].frame()
        return TABLES[name].read(pl.read_parquet(self.path / f"{name}.parquet"))

    def __getattr__(self, name: str) -> pl.DataFrame:
        if name in TABLES:
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
    if missing := [name for name in ALWAYS if not (run.path / f"{name}.parquet").is_file()]:
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


def write_table(folder: Path, name: str, frame: pl.DataFrame) -> None:
    """Write one table of `lab.tables`. Raises WrongColumns unless the frame has exactly its columns."""
    TABLES[name].typed(frame).write_parquet(folder / f"{name}.parquet", compression="zstd")
