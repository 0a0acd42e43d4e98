"""How a rebuild grows with the history: the exponent that fits its times at several sizes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from benchmarks.bench.data import Bench
from benchmarks.bench.harness import Contestant, Row, attempt
from benchmarks.bench.rebuild import REBUILDS, rebuilt
from lab.statistics.powers import power

LARGEST = 10


def rows(bench: Bench) -> Iterator[Row]:
    """`growth`, for each rebuild."""
    yield from (_row(bench, name, store, "history") for name, (store, _, _) in REBUILDS.items())
    yield _row(bench, "rebuild_events", "duckdb.columnar", "events")


def left_out(bench: Bench) -> dict[str, str]:
    """What takes long is measured on demand."""
    return (
        {} if bench.growth else {"growth beyond full size": "ten times as many changes are rebuilt with GROWTH=1 only"}
    )


def _sizes(bench: Bench) -> tuple[int, ...]:
    sizes = bench.size.growth
    return (*sizes, LARGEST * sizes[-1]) if bench.growth else sizes


def _row(bench: Bench, name: str, store: str, model: str) -> Row:
    sizes = _sizes(bench)

    def joint(folder: Path) -> dict[str, float]:
        seconds = {}
        for size in sizes:
            one = Contestant("lab", size, lambda inner, size=size: rebuilt(bench, inner, store, size, model))  # type: ignore[misc]
            seconds[size] = attempt(one, folder / f"{size}")
        figures = {f"seconds_{size}": taken for size, taken in seconds.items()}
        return {"lab": power(list(seconds), list(seconds.values())).exponent, **figures}

    note = "Of " + ", ".join(f"{size:,}" for size in sizes) + " changes of a tenth as many records"
    return Row(
        "growth",
        name,
        "exponent",
        sizes[-1],
        targets={"lab": ("most", 1.1)},
        note=f"{note}, but of no more than {bench.size.records:,}." if bench.growth else f"{note}.",
        joint=joint,
        rounds=1 if bench.growth else min(3, bench.size.rounds),
    )
