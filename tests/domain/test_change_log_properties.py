"""Any history, written by five tools, is one history: as Debezium, flattened, Maxwell, DMS and wal2json."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st

from lab.domain.trace.files import read
from lab.domain.trace.frame import prepare
from lab.domain.trace.raw import AT
from lab.scenario import EntityTable

BEGAN = datetime(2024, 1, 1, tzinfo=UTC)
NAMES = ("id", "n", "text", "cents", "yes")


@dataclass(frozen=True)
class Step:
    """One change: of a record, at a second, in a transaction; `state` None deletes it."""

    key: int
    second: int
    transaction: int
    state: dict[str, Any] | None
    before: dict[str, Any] | None

    @property
    def operation(self) -> str:
        """c, u or d."""
        return "d" if self.state is None else ("c" if self.before is None else "u")

    @property
    def row(self) -> dict[str, Any]:
        """The state, of a deletion the one before it."""
        found = self.state or self.before
        assert found is not None
        return found

    @property
    def at(self) -> datetime:
        return BEGAN + timedelta(seconds=self.second)


texts = st.text(st.characters(codec="utf-8", exclude_characters="\0", exclude_categories=["Cs"]), max_size=8)
states = st.fixed_dictionaries({
    "n": st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1)),
    "text": texts.filter(lambda text: text == text.strip() and not text.isspace()),
    "cents": st.integers(-10**9, 10**9).map(lambda cents: cents / 4),
    "yes": st.booleans(),
})  # fmt: skip


@st.composite
def histories(draw: st.DrawFn) -> list[Step]:
    """Draw a history of a few records: each change has its second, or shares it with those of its transaction."""
    found: list[Step] = []
    last: dict[int, dict[str, Any]] = {}
    second = transaction = 0
    one = st.tuples(st.integers(1, 4), st.one_of(states, states, states, st.none()), st.booleans())
    for key, wanted, again in draw(st.lists(one, min_size=1, max_size=12)):
        before = last.get(key)
        if wanted is None and before is None:
            continue
        if not again:
            second, transaction = second + 1 + key, transaction + 1
        state = None if wanted is None else {"id": key, **wanted}
        found.append(Step(key, second, transaction, state, before))
        if state is None:
            del last[key]
        else:
            last[key] = state
    # A column that is never anything has no kind.
    first = {"id": 9, "n": 2**62 + 1, "text": "first", "cents": 0.25, "yes": True}
    return [Step(9, 0, -1, first, None), *found]


# --- five tools ------------------------------------------------------------------------------------------------------


def debezium(steps: list[Step]) -> list[Any]:
    lines = []
    for number, one in enumerate(steps):
        source = {"connector": "postgresql", "schema": "public", "table": "t", "txId": one.transaction + 5,
                  "lsn": 1_000 + number, "ts_ms": int(one.at.timestamp() * 1_000)}  # fmt: skip
        lines.append(
            {
                "before": one.before,
                "after": one.state,
                "source": source,
                "op": one.operation,
                "ts_ms": 1_900_000_000_000,
            }
        )
    return lines


def flattened(steps: list[Step]) -> list[Any]:
    return [
        {**one.row, "__op": one.operation, "__deleted": str(one.state is None).lower(), "__lsn": 1_000 + number,
         "__source_ts_ms": int(one.at.timestamp() * 1_000), "__source_txId": one.transaction + 5}
        for number, one in enumerate(steps)
    ]  # fmt: skip


def maxwell(steps: list[Step]) -> list[Any]:
    words = {"c": "insert", "u": "update", "d": "delete"}
    lines = []
    for one in steps:
        line = {"database": "d", "table": "t", "type": words[one.operation], "ts": int(one.at.timestamp()),
                "xid": one.transaction + 5, "data": one.row}  # fmt: skip
        if one.operation == "u":
            assert one.before is not None
            line["old"] = {name: value for name, value in one.before.items() if value != one.row[name]}
        lines.append(line)
    return lines


def wal2json(steps: list[Step]) -> list[Any]:
    def listed(state: dict[str, Any]) -> list[dict[str, Any]]:
        return [{"name": name, "type": "x", "value": value} for name, value in state.items()]

    lines: list[Any] = []
    for number, one in enumerate(steps):
        line = {
            "action": {"c": "I", "u": "U", "d": "D"}[one.operation],
            "schema": "public",
            "table": "t",
            "xid": one.transaction + 5,
            "lsn": f"0/{1_000 + number:X}",
            "timestamp": one.at.strftime("%Y-%m-%d %H:%M:%S+00"),
        }
        if one.state is not None:
            line["columns"] = listed(one.state)
        if one.before is not None:
            line["identity"] = listed({"id": one.key})
        lines.append(line)
    return lines


def dms(steps: list[Step]) -> list[Any]:
    words = {"c": "insert", "u": "update", "d": "delete"}
    return [
        {"data": one.row, "metadata": {
            "timestamp": one.at.strftime("%Y-%m-%dT%H:%M:%S.000000Z"), "record-type": "data", "schema-name": "s",
            "operation": words[one.operation], "table-name": "t", "transaction-id": one.transaction + 5,
        }}
        for one in steps
    ]  # fmt: skip


TOOLS: dict[str, Callable[[list[Step]], list[Any]]] = {
    "debezium": debezium, "flattened": flattened, "maxwell": maxwell, "wal2json": wal2json, "dms": dms,
}  # fmt: skip


def written(folder: Path, steps: list[Step], tool: str) -> Path:
    path = folder / f"{tool}.ndjson"
    path.write_text("".join(json.dumps(line) + "\n" for line in TOOLS[tool](steps)))
    return path


def expected(steps: list[Step]) -> list[tuple[Any, ...]]:
    """The history as a plain fold: position, key, revision, whether deleted, second, state."""
    counts: dict[int, int] = {}
    found = []
    for position, one in enumerate(steps, 1):
        counts[one.key] = counts.get(one.key, 0) + 1
        values = (one.row[name] for name in NAMES)
        found.append((position, one.key, counts[one.key], one.state is None, float(one.second), *values))
    return found


def history(folder: Path, steps: list[Step], tool: str) -> list[tuple[Any, ...]]:
    """Read what a tool writes into change frames, without a scenario of it: as `expected` has them."""
    written(folder, steps, tool)
    raw = read(f"{tool}.ndjson", folder, key=("id",))
    assert raw.format == tool
    assert raw.kinds == {"id": "int", "n": "int", "text": "str", "cents": "float", "yes": "bool"}
    table = EntityTable(name="t", file="t", key=("id",))
    frame = prepare(raw, table, raw.kinds, tool).frame
    first = frame[AT].min()
    rows = frame.select("key", "revision", "deleted", pl.col(AT) - first, *NAMES).rows()
    return [(position, *row) for position, row in enumerate(rows, 1)]


@settings(max_examples=examples(10), deadline=None)
@given(histories())
def test_five_tools_tell_one_history(tmp_path_factory: pytest.TempPathFactory, steps: list[Step]) -> None:
    folder = tmp_path_factory.mktemp("logs")
    digests = set()
    for tool in TOOLS:
        rows = history(folder, steps, tool)
        assert rows == expected(steps), tool
        digests.add(hashlib.sha256(repr(rows).encode()).hexdigest())
    assert len(digests) == 1
