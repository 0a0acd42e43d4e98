"""Any history is one history, whatever tool wrote it: each format gives the same frames, and one digest of them.

What a format can't say is told where it is written; the rest is the same to the last bit.
"""

from __future__ import annotations

import hashlib
import json
import random
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
from owndata import new, trace

from lab.base import Kind
from lab.domain.trace.files import read
from lab.domain.trace.frame import prepare
from lab.domain.trace.raw import AT
from lab.domain.trace.reading import CsvReading
from lab.scenario import EntityTable

BEGAN = datetime(2024, 1, 1, tzinfo=UTC)
KINDS: dict[str, Kind] = {"id": "int", "n": "int", "text": "str", "cents": "float", "yes": "bool"}
NAMES = tuple(KINDS)


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


# --- tools -----------------------------------------------------------------------------------------------------------


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


def wal2json_1(steps: list[Step]) -> list[Any]:
    """A transaction a line."""
    words = {"c": "insert", "u": "update", "d": "delete"}
    lines: list[Any] = []
    last = None
    for number, one in enumerate(steps):
        change: dict[str, Any] = {"kind": words[one.operation], "schema": "public", "table": "t"}
        if one.state is not None:
            change |= {"columnnames": list(one.state), "columntypes": ["x"] * len(one.state),
                       "columnvalues": list(one.state.values())}  # fmt: skip
        if one.before is not None:
            change["oldkeys"] = {"keynames": ["id"], "keytypes": ["integer"], "keyvalues": [one.key]}
        if one.transaction != last:
            lines.append({"xid": one.transaction + 5, "nextlsn": f"0/{1_000 + number:X}",
                          "timestamp": one.at.strftime("%Y-%m-%d %H:%M:%S+00"), "change": []})  # fmt: skip
            last = one.transaction
        lines[-1]["change"].append(change)
    return lines


def canal(steps: list[Step]) -> list[Any]:
    """Values are text, and their types are MySQL's, which has no booleans; transactions aren't told."""
    words = {"c": "INSERT", "u": "UPDATE", "d": "DELETE"}
    types = {"id": "int", "n": "bigint", "text": "varchar(20)", "cents": "double", "yes": "tinyint(1)"}

    def plain(row: dict[str, Any]) -> dict[str, Any]:
        return {name: _canal(value) for name, value in row.items()}

    lines = []
    for number, one in enumerate(steps):
        old = None
        if one.operation == "u":
            assert one.before is not None
            old = [{name: value for name, value in plain(one.before).items() if value != plain(one.row)[name]}]
        lines.append({
            "data": [plain(one.row)], "database": "d", "es": int(one.at.timestamp() * 1_000), "id": number,
            "isDdl": False, "mysqlType": types, "old": old, "pkNames": ["id"], "sql": "", "table": "t",
            "ts": 1_900_000_000_000, "type": words[one.operation],
        })  # fmt: skip
    return lines


def _canal(value: Any) -> str | None:
    return None if value is None else str(int(value)) if isinstance(value, bool) else str(value)


def singer(steps: list[Step]) -> list[Any]:
    """A tap tells neither transactions nor an order: its rows stand in the order in which it read them."""
    lines: list[Any] = [{"type": "SCHEMA", "stream": "s-t", "schema": {}, "key_properties": ["id"]}]
    for one in steps:
        at = one.at.strftime("%Y-%m-%dT%H:%M:%SZ")
        gone = {"_sdc_deleted_at": at} if one.state is None else {}
        lines.append({"type": "RECORD", "stream": "s-t", "record": {**one.row, **gone}, "time_extracted": at})
    return [*lines, {"type": "STATE", "value": {"bookmarks": {}}}]


def dms_rows(steps: list[Step], header: bool) -> str:
    """DMS as CSV: no types, no transactions, and of a deletion the key alone."""
    lines = ["Op,dms_timestamp," + ",".join(NAMES)] if header else []
    for one in steps:
        values = [_csv(one.row[name] if name == "id" or one.state is not None else None) for name in NAMES]
        lines.append(",".join([{"c": "I"}.get(one.operation, one.operation.upper()), f"{one.at:%Y-%m-%d %H:%M:%S.%f}",
                               *values]))  # fmt: skip
    return "".join(line + "\n" for line in lines)


def _csv(value: Any) -> str:
    if isinstance(value, str):
        return '"' + value.replace('"', '""') + '"'
    return "" if value is None else str(value).lower() if isinstance(value, bool) else repr(value)


TOOLS: dict[str, Callable[[list[Step]], list[Any]]] = {
    "debezium": debezium, "flattened": flattened, "maxwell": maxwell, "wal2json": wal2json, "wal2json_1": wal2json_1,
    "dms": dms, "canal": canal, "singer": singer,
}  # fmt: skip
# DMS writes CSV without a header unless it is told otherwise.
TABLES = {"dms_header": True, "dms_bare": False}
EVERY = (*TOOLS, *TABLES)
# Kinds that a format has no word for, and what its columns are called.
OTHER_KINDS: dict[str, dict[str, Kind]] = {"canal": {"yes": "int"}}
BARE = {name: f"column_{place}" for place, name in enumerate(NAMES, 3)}


def written(folder: Path, steps: list[Step], tool: str) -> str:
    """Write the history as a tool does, and return the file's name."""
    if tool in TABLES:
        (folder / f"{tool}.csv").write_text(dms_rows(steps, TABLES[tool]), newline="")
        return f"{tool}.csv"
    (folder / f"{tool}.ndjson").write_text("".join(json.dumps(line) + "\n" for line in TOOLS[tool](steps)))
    return f"{tool}.ndjson"


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
    file = written(folder, steps, tool)
    names = BARE if tool == "dms_bare" else dict(zip(NAMES, NAMES, strict=True))
    if tool in TABLES:
        raw = read(file, folder, "dms", CsvReading(header=TABLES[tool]))
        extra = [f"column_{place}" for place in (2,)] if tool == "dms_bare" else []
        assert list(raw.kinds) == [*extra, *names.values()]
    else:
        raw = read(file, folder, key=("id",))
        assert raw.kinds == KINDS | OTHER_KINDS.get(tool, {})
    assert raw.format == tool.partition("_")[0]
    time = "column_2" if tool == "dms_bare" else None
    kinds = {names[name]: kind for name, kind in KINDS.items()} | ({time: "str"} if time else {})
    table = EntityTable(name="t", file="t", key=(names["id"],), time=time)
    frame = prepare(raw, table, kinds, tool).frame
    first = frame[AT].min()
    rows = frame.select("key", "revision", "deleted", pl.col(AT) - first, *names.values()).rows()
    return [(position, *row) for position, row in enumerate(rows, 1)]


def digest(rows: list[tuple[Any, ...]]) -> str:
    return hashlib.sha256(repr(rows).encode()).hexdigest()


@settings(max_examples=examples(10), deadline=None)
@given(histories())
def test_every_tool_tells_one_history(tmp_path_factory: pytest.TempPathFactory, steps: list[Step]) -> None:
    folder = tmp_path_factory.mktemp("logs")
    digests = set()
    for tool in EVERY:
        rows = history(folder, steps, tool)
        assert rows == expected(steps), tool
        digests.add(digest(rows))
    assert len(digests) == 1


def shop(changes: int = 60) -> list[Step]:
    """A history without surprises, drawn from a seed."""
    draw, last = random.Random(7), dict[int, dict[str, Any]]()
    steps: list[Step] = []
    second = 0
    for transaction in range(changes):
        second += draw.randint(1, 90)
        for key in draw.sample(range(1, 12), draw.randint(1, 2)):
            before = last.get(key)
            state: dict[str, Any] | None = {
                "id": key, "n": draw.choice([None, draw.randint(0, 2**63 - 1)]), "text": f"name {draw.random()}",
                "cents": draw.randint(0, 10**6) / 4, "yes": draw.random() < 0.5,
            }  # fmt: skip
            if before is not None and draw.random() < 0.2:
                state = None
            steps.append(Step(key, second, transaction, state, before))
            if state is None:
                del last[key]
            else:
                last[key] = state
    return steps


def test_scenarios_on_every_tools_log_have_one_digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    steps, digests = shop(), {}
    for tool in EVERY:
        told = new(written(tmp_path, steps, tool), *(("--header", "no") if tool == "dms_bare" else ()), name=tool)
        names = BARE if tool == "dms_bare" else dict(zip(NAMES, NAMES, strict=True))
        assert told["guessed"]["key"]["columns"] == [names["id"]], tool
        made, entities = trace(tool)
        ((entity, frame),) = made.frames.items()
        kinds = dict(entities[entity].columns)
        if tool == "dms_bare":
            # Without a header, nothing says that a column is DMS's own time: it stays one of the record.
            assert kinds.pop("column_2") == "str"
        else:
            assert list(kinds) == list(NAMES)
        assert list(kinds.values()) == list((KINDS | OTHER_KINDS.get(tool, {})).values()), tool
        yes = pl.col(names["yes"]).cast(pl.Boolean)
        columns = [names[name] if name != "yes" else yes for name in NAMES]
        rows = frame.sort("position").select("position", "key", "revision", "deleted", "committed_at", *columns)
        digests[tool] = digest(rows.rows())
    assert len(set(digests.values())) == 1, digests
