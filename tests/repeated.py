"""Runs of several repetitions, made of synthetic ones without running anything."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from fake_run import fake_run

from lab.base import TRUTH, stream
from lab.runs import Run, merge_tables, write_table

NOISE = 0.02


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


def noisy(
    root: Path,
    name: str,
    seeds: int = 6,
    slower: dict[str, float] | None = None,
    slowness: float = 1.0,
    noise: float = NOISE,
    **manifest: Any,
) -> Run:
    """A run of several repetitions whose times vary by 2 %: `slower` has factors of projections, `slowness` of all."""
    first = fake_run(root / f"parts-{name}", 300, 1, clock_seconds=[0.01 * slowness] * 4, **manifest)
    parts = []
    for seed in range(1, seeds + 1):
        rng = stream(seed, name)
        part = Run(Path(shutil.copytree(first.path, first.path.parent / f"copy-{seed}")))
        (part.path / "manifest.json").write_text(json.dumps(first.manifest | {"seed": seed}))
        for table, columns in (("rebuild", "^seconds$"), ("queries", "^.*_us$"), ("writes", "^p.*_us$|^per_second$")):
            frame = part.table(table)
            if table == "queries":
                asked = frame.filter(projection="directory").with_columns(projection=pl.lit(TRUTH))
                frame = pl.concat([frame, asked])
            owner = frame["projection"] if "projection" in frame.columns else pl.Series([""] * frame.height)
            factors = np.array([(slower or {}).get(one, 1.0) for one in owner])
            factors = pl.Series(slowness * factors * np.exp(noise * rng.standard_normal(frame.height)))
            if table == "writes":
                factors = 1 / factors
            write_table(part.path, table, frame.with_columns(pl.col(columns).cast(pl.Float64) * factors))
        parts.append(part)
    made = merged(root / name / f"20261128T000000-{name}", parts)
    own = [json.loads((part.path / "manifest.json").read_text()) for part in parts]
    whole = made.manifest | {"repetitions": own}
    whole["scenario"] = whole["scenario"] | {"name": name}
    (made.path / "manifest.json").write_text(json.dumps(whole))
    return Run(made.path)
