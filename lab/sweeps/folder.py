"""The folder of a sweep, which is all of its state.

`sweep.json` says what is run. `results/` is one Parquet dataset: a file for each run that is done, called by the run's
name, put there by one rename. `seconds/` has how long each took, from which the time that is left is told; it is no
part of the results, which are the same to the last bit wherever and however often modelled runs are carried out.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl

from lab.base import BadInput, NotReadable, Problem
from lab.formatting import first_line
from lab.sweeps.plan import FORMAT, SweepPlan
from lab.sweeps.task import RunResult

DOCUMENT, RESULTS, SECONDS, REPORT = "sweep.json", "results", "seconds", "report.html"
HOME = Path("sweeps")


@dataclass(frozen=True)
class Sweep:
    """A sweep that was begun: what it runs, and the results that are there."""

    path: Path

    @cached_property
    def document(self) -> dict[str, Any]:
        """What `sweep.json` has: scenario, varied keys, points, names of runs, versions."""
        found: dict[str, Any] = json.loads((self.path / DOCUMENT).read_text(encoding="utf-8"))
        return found

    @property
    def keys(self) -> list[str]:
        """The varied keys, which are columns of the results."""
        return [each["key"] for each in self.document["vary"]]

    @property
    def names(self) -> list[str]:
        """The names of all runs, each once."""
        return list(dict.fromkeys(name for point in self.document["runs"] for name in point))

    @property
    def done(self) -> set[str]:
        """The names of the runs whose results are there."""
        return {file.stem for file in (self.path / RESULTS).glob("*.parquet")} & set(self.names)

    @property
    def frame(self) -> pl.DataFrame:
        """All results: a row for each run, projection and quantity, in the order of runs. Empty before the first."""
        done = self.done
        files = [self.path / RESULTS / f"{name}.parquet" for name in self.names if name in done]
        try:
            return pl.concat([pl.read_parquet(file) for file in files]) if files else pl.DataFrame()
        except pl.exceptions.PolarsError as error:
            raise NotReadable(str(self.path / RESULTS), f"can't be read: {first_line(error)}", "remove it") from None

    @property
    def errors(self) -> pl.DataFrame:
        """The rows of runs that came to nothing, with why."""
        frame = self.frame
        return frame.filter(pl.col("error").is_not_null()) if not frame.is_empty() else frame

    def keep(self, result: RunResult) -> None:
        """Put the results of a run into the dataset, as a whole or not at all."""
        target = self.path / RESULTS / f"{result.name}.parquet"
        partial = target.with_name(f".{result.name}.{os.getpid()}.partial")
        try:
            result.frame.write_parquet(partial, compression="zstd", statistics=False)
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)
        if not result.lost:
            (self.path / SECONDS / result.name).write_text(f"{result.seconds:.3f}", encoding="ascii")

    @property
    def lost(self) -> set[str]:
        """The names of runs that are run again when the sweep goes on: they have a row that says why."""
        return {name for name in self.done if not (self.path / SECONDS / name).exists()}

    @property
    def seconds(self) -> dict[str, float]:
        """How long the runs took that were carried out, by name."""
        found = {}
        for file in (self.path / SECONDS).glob("*"):
            text = file.read_text(encoding="ascii")
            if text:
                found[file.name] = float(text)
        return found


def begin(plan: SweepPlan, folder: Path | None = None, root: Path = HOME) -> Sweep:
    """Return the folder of a sweep, made unless it is there. Raises BadInput if another sweep is in it."""
    path = folder or root / plan.folder_name
    document = json.loads(json.dumps(plan.document()))
    sweep = Sweep(path)
    if (path / DOCUMENT).exists():
        if _read(path) != document:
            what = "another sweep, or one of another version of the lab or of its engines"
            raise BadInput([Problem(str(path), what, "name another folder: --out FOLDER")])
    elif path.exists() and any(path.iterdir()):
        raise BadInput([Problem(str(path), "a folder that is not empty, and no sweep", "--out FOLDER")])
    for name in (RESULTS, SECONDS):
        (path / name).mkdir(parents=True, exist_ok=True)
    if not (path / DOCUMENT).exists():
        partial = path / f".{DOCUMENT}.{os.getpid()}"
        partial.write_text(json.dumps(document, indent=1), encoding="utf-8")
        partial.replace(path / DOCUMENT)
    for partial in (path / RESULTS).glob(".*.partial"):
        # Of a process that was killed; one that is at work writes under another number.
        if partial.name.split(".")[2].isdigit() and not _alive(int(partial.name.split(".")[2])):
            partial.unlink(missing_ok=True)
    return sweep


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads((path / DOCUMENT).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise NotReadable(str(path), f"no sweep: {first_line(error)}", "a folder that `lab sweep` made") from None
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise NotReadable(str(path), f"not a sweep of format {FORMAT}", "run it again")
    return found


def load_sweep(path: str | Path, root: Path = HOME) -> Sweep:
    """The sweep in a folder, or of this name below `root`. Raises NotReadable."""
    for folder in (Path(path), root / str(path)):
        if (folder / DOCUMENT).is_file():
            _read(folder)
            return Sweep(folder.resolve())
    raise NotReadable(str(path), "not the folder of a sweep", "`lab sweep` prints where it is")


def is_sweep(path: str | Path, root: Path = HOME) -> bool:
    """Whether a path, or a name below `root`, is the folder of a sweep."""
    return any((folder / DOCUMENT).is_file() for folder in (Path(path), root / str(path)))


def merge(target: Path, parts: Sequence[Path]) -> Sweep:
    """Put the results of several shards of one sweep together in a folder, which may be one of them or a new one.

    Raises BadInput for parts of different sweeps, and NotReadable for what is no sweep.
    """
    documents = [_read(part) for part in parts]
    for part, document in zip(parts[1:], documents[1:], strict=True):
        if document != documents[0]:
            what = f"not the sweep that {parts[0]} is: another scenario, seed, version or machine's engines"
            raise BadInput([Problem(str(part), what, "shards are made by one command, with --shard alone changed")])
    if (target / DOCUMENT).exists() and _read(target) != documents[0]:
        raise BadInput([Problem(str(target), "has another sweep", "name another folder")])
    for name in (RESULTS, SECONDS):
        (target / name).mkdir(parents=True, exist_ok=True)
    for part in parts:
        for file in sorted((part / RESULTS).glob("[!.]*")):
            here, there = ((folder / SECONDS / file.stem).exists() for folder in (target, part))
            # One that was lost in a part may have been carried out in another.
            if not (target / RESULTS / file.name).exists() or (there and not here):
                _copy(file, target / RESULTS / file.name)
            if there and not here:
                _copy(part / SECONDS / file.stem, target / SECONDS / file.stem)
    (target / DOCUMENT).write_text(json.dumps(documents[0], indent=1), encoding="utf-8")
    return Sweep(target)


def _copy(file: Path, place: Path) -> None:
    partial = place.with_name(f".{place.stem}.{os.getpid()}.partial")
    shutil.copyfile(file, partial)
    partial.replace(place)
