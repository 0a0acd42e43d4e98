"""Canal's flat messages: rows of one table and operation, with values as text and their types in `mysqlType`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any, ClassVar

from lab.domain.trace.logs.change import Format, LoggedChange, Operation, Table, padded, sent
from lab.domain.trace.logs.messages import TopicMessage
from lab.domain.trace.logs.values import Malformed, since_1970

ROWS: Mapping[str, Operation] = {"INSERT": "put", "UPDATE": "put", "DELETE": "delete"}
NEEDED = {"data", "table", "type", "isDdl"}
WHOLE = re.compile(r"(tiny|small|medium|big)?int|integer|year|bit")
EXACT = re.compile(r"decimal|numeric|float|double|real")
FIXED = re.compile(r"decimal|numeric")


@dataclass
class Canal(Format):
    """Translates Canal's messages, and those of TiCDC in the same form."""

    name: ClassVar[str] = "canal"
    about: ClassVar[str] = "Canal"
    commits: ClassVar[str] = "es, when it was committed"
    deletes: ClassVar[str] = "type DELETE"
    places: ClassVar[str] = "commitTs"
    _types: dict[Table, dict[str, str]] = field(default_factory=dict)

    @staticmethod
    def recognises(message: TopicMessage) -> bool:
        """Return whether it has rows, their table and operation, and says whether it is a definition."""
        value = message.value
        return isinstance(value, dict) and value.keys() >= NEEDED and {"es", "ts"} & value.keys() != set()

    def changes(self, message: TopicMessage) -> Iterable[LoggedChange]:
        """Translate a message: a change for each row."""
        value = message.value
        if value is None:
            self.passed["tombstones without a key"] += 1
            return ()
        if not isinstance(value, dict) or not value.keys() >= {"table", "type"}:
            raise Malformed("no `table` and `type`: not a message of Canal")
        kind = str(value["type"]).upper()
        if kind == "TRUNCATE":
            return (self._change(message, value, "truncate", {}),)
        if value.get("isDdl") or kind not in ROWS:
            self.passed["statements and changes of a table's columns"] += 1
            return ()
        rows = value.get("data")
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise Malformed(f"type `{kind}` without the `data` that it needs")
        found = []
        for place, row in enumerate(rows):
            made = self._change(message, value, ROWS[kind], self._typed(row, value), place)
            made.told = kind != "UPDATE"
            old = value.get("old")
            if isinstance(old, list) and place < len(old) and isinstance(old[place], dict):
                made.former = self._typed(old[place], value)
            found.append(made)
        return found

    def _change(
        self, message: TopicMessage, value: dict[str, Any], operation: Operation, state: dict[str, Any], place: int = 0
    ) -> LoggedChange:
        beside = value.get("_tidb")
        commit = beside.get("commitTs") if isinstance(beside, dict) else None
        group = ("commit", commit) if commit else ("message", value.get("gtid") or (value.get("es"), value.get("id")))
        names = value.get("pkNames")
        return LoggedChange(
            _table(value), operation, state, at=since_1970(value.get("es"), "ms") or since_1970(value.get("ts"), "ms"),
            order=padded(commit) if isinstance(commit, int) else "", sent=sent(message),
            identity=(value["type"], value.get("es"), value.get("id"), place), weak=not commit, group=group,
            keys=tuple(map(str, names)) if isinstance(names, list) else (),
        )  # fmt: skip

    def _typed(self, row: dict[str, Any], value: dict[str, Any]) -> dict[str, Any]:
        """Return numbers as what they are: every value of Canal is text. Types hold until the table says others."""
        types = self._types.setdefault(_table(value), {})
        told = value.get("mysqlType")
        if isinstance(told, dict):
            types.update({str(name): str(kind).lower() for name, kind in told.items()})
            self.decimals.update((_table(value), name) for name, kind in types.items() if FIXED.match(kind))
        return {name: _number(one, types.get(name, "")) for name, one in row.items()}


def _table(value: Mapping[str, Any]) -> Table:
    return tuple(str(part) for part in (value.get("database"), value["table"]) if part)


def _number(value: Any, kind: str) -> Any:
    if not isinstance(value, str):
        return value
    try:
        if WHOLE.match(kind):
            return int(value)
        if EXACT.match(kind):
            return Decimal(value)
    except (ValueError, InvalidOperation):
        return value
    return value
