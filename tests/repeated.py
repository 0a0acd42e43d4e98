"""Runs of several repetitions, made of synthetic ones without running anything."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from fake_run import fake_run

from lab.runs import Run, merge_tables


def repeated(root: Path, seeds: tuple[int, ...] = (1, 2, 3), changes: int = 400, **manifest: Any) -> Run:
    """One run of a synthetic run for each seed, whose lags differ by the seed; `manifest` replaces entries of each."""
    parts = [fake_run(root / "parts", changes, seed, **manifest) for seed in seeds]
    return merged(root / "fake" / "repeated", parts)


def merged(folder: Path, parts: list[Run]) -> Run:
    """The runs as the repetitions of one."""
    folder.mkdir(parents=True)
    merge_tables(folder, [part.path for part in parts])
    own = [
        {name: part.manifest[name] for name in ("seed", "replay", "verdict", "projections", "wall_seconds")}
        for part in parts
    ]
    (folder / "manifest.json").write_text(json.dumps(parts[0].manifest | {"repetitions": own}))
    return Run(folder)
