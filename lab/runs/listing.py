"""The finished runs below a folder: listed, and the older ones removed."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from lab.base import LabError
from lab.runs import Run, load_run


@dataclass(frozen=True)
class KeptRun:
    """A finished run in its folder: `changes` that were committed, `bytes` on disk, when it was started, in UTC."""

    scenario: str
    run: str
    verdict: str
    changes: int
    seed: int
    started_at: str
    bytes: int
    path: str


def finished(root: Path) -> Iterator[Run]:
    """Yield the finished runs below a folder; what is no run, or is damaged, is left out."""
    for file in sorted(root.glob("*/*/manifest.json")):
        if file.parent.name.startswith(".") or file.parent.is_symlink():
            continue
        try:
            yield load_run(file.parent)
        except (LabError, OSError):
            continue


def kept(root: Path, scenario: str | None = None, verdict: str | None = None) -> list[KeptRun]:
    """Return the finished runs below a folder, the newest first; of a scenario or a verdict, if it is said."""
    found = []
    for run in finished(root):
        data, home = run.manifest, run.path.parent.name
        if scenario not in (None, home) or verdict not in (None, data["verdict"]):
            continue
        started = str(data.get("started_at", ""))
        found.append(KeptRun(home, run.path.name, data["verdict"], data["changes"], data["seed"], started,
                             _room(run.path), str(run.path)))  # fmt: skip
    return sorted(found, key=lambda one: (one.started_at, one.run), reverse=True)


def superseded(runs: Sequence[KeptRun], keep: int) -> list[KeptRun]:
    """Return all but the newest `keep` of each scenario, of runs from the newest on; never one that `latest` names."""
    seen, found = Counter[str](), list[KeptRun]()
    for one in runs:
        seen[one.scenario] += 1
        latest = Path(one.path).parent / "latest"
        if seen[one.scenario] > keep and not (latest.exists() and latest.samefile(one.path)):
            found.append(one)
    return found


def remove(run: KeptRun) -> None:
    """Remove a run. If that is interrupted, what is left counts as no run, and the next one sweeps it away."""
    path = Path(run.path)
    aside = path.with_name(f".{path.name}.{os.getpid()}.partial")
    path.rename(aside)
    shutil.rmtree(aside)


def _room(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
