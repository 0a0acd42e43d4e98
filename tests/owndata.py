"""What the tests of your own data share: a file goes in, and what comes out is compared with a plain fold of it."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
from running import call

from lab.base import Entity
from lab.domain.model import Options, Trace
from lab.scenario import Source
from lab.verdict.oracle import Oracle
from lab.wiring import plan

SMALL = ("--set", "measure.samples=3", "--set", "measure.warm_up=0", "--set", "readers.sessions=20")
Fold = dict[Any, tuple[int, bool, dict[str, Any]]]


def new(file: str, *options: str, name: str = "mine") -> dict[str, Any]:
    """`lab new` on a file, as JSON; it must work."""
    found = call("new", name, "--from", file, "--seed", "5", "--json", *options)
    assert found.exit_code == 0, found.output
    document: dict[str, Any] = json.loads(found.stdout)
    return document


def refused(file: str, *options: str) -> str:
    """The same, refused: what it says. Nothing may be left behind."""
    found = call("new", "mine", "--from", file, *options)
    assert found.exit_code == 2, found.output
    assert not Path("mine.toml").exists()
    return found.stderr


def runs(name: str = "mine") -> dict[str, Any]:
    """`lab run` without a change of the scenario's file; every projection must pass."""
    found = call("run", f"{name}.toml", "--json", *SMALL)
    assert found.exit_code == 0, found.output
    document: dict[str, Any] = json.loads(found.stdout)
    assert document["verdict"] == "pass"
    return document


def notes(name: str = "mine") -> list[str]:
    manifest: dict[str, Any] = json.loads((Path("runs") / name / "latest" / "manifest.json").read_text())
    return list(manifest["notes"])


def trace(name: str = "mine", options: Options | None = None) -> tuple[Trace, dict[str, Entity]]:
    made = plan(Source(Path(f"{name}.toml")))
    return made.domain.trace(options or made.options), dict(made.domain.entities)


def states(name: str = "mine") -> dict[str, Fold]:
    """What projections must show, and do if the verdict is pass: the last revision of each record."""
    made = plan(Source(Path(f"{name}.toml")))
    oracle = Oracle.of_trace(
        made.domain, {key: frame.drop("event") for key, frame in made.domain.trace(made.options).frames.items()}
    )
    return {
        name: {
            row["key"]: (row["revision"], row["deleted"], {column: row[column] for column in entity.columns})
            for row in readable(oracle.expected("records", name, None), entity)
        }
        for name, entity in made.domain.entities.items()
    }


def fold(changes: list[tuple[Any, bool, dict[str, Any]]]) -> Fold:
    """A plain fold: the last state of each key, how many there were, and whether it is gone."""
    found: Fold = {}
    for key, deleted, state in changes:
        found[key] = (found[key][0] + 1 if key in found else 1, deleted, state)
    return found


def sound(made: Trace) -> None:
    """The rules of a trace: positions without a gap, times that never fall, revisions from 1."""
    every = pl.concat([frame.select("position", "committed_at") for frame in made.frames.values()]).sort("position")
    assert every["position"].to_list() == list(range(1, made.changes + 1))
    assert every["committed_at"].is_sorted()
    assert every["committed_at"].min() == 0.0
    for frame in made.frames.values():
        assert frame["position"].is_sorted()
        for _, record in frame.group_by("key"):
            assert record.sort("position")["revision"].to_list() == list(range(1, record.height + 1))


def shop() -> list[tuple[Any, ...]]:
    rows = [(n, f"c{n % 5}", n * 0.5 if n % 3 else None, n % 2, f"2024-02-{1 + n % 28:02}") for n in range(1, 90)]
    with closing(sqlite3.connect("shop.db")) as connection, connection:
        connection.execute("CREATE TABLE customers (code TEXT PRIMARY KEY, name TEXT)")
        connection.execute('CREATE TABLE "big orders" (id INTEGER, customer, total REAL, is_deleted, day TEXT)')
        connection.executemany("INSERT INTO customers VALUES (?, ?)", [(f"c{n}", f"Name {n}") for n in range(5)])
        connection.executemany('INSERT INTO "big orders" VALUES (?, ?, ?, ?, ?)', rows)
    return rows


def envelope(change: dict[str, Any], how: int) -> str:
    if how == 0:
        return json.dumps(change)
    if how == 1:
        return json.dumps({"schema": {"type": "struct"}, "payload": change})
    return json.dumps({"key": {"id": (change["after"] or change["before"] or {}).get("id")}, "value": change})


def debezium(events: list[tuple[str, int, dict[str, Any] | None, dict[str, Any] | None]], how: int) -> list[str]:
    return [
        envelope({"before": before, "after": after, "op": op, "ts_ms": 1_700_000_000_000 + at, "source": {}}, how)
        for op, at, before, after in events
    ]


def readable(frame: pl.DataFrame, entity: Entity) -> list[dict[str, Any]]:
    """The rows of a frame, with whole units of decimals as the decimals that they stand for."""
    return [
        {
            name: Decimal(value).scaleb(-entity.scales[name]) if name in entity.scales and value is not None else value
            for name, value in row.items()
        }
        for row in frame.iter_rows(named=True)
    ]
