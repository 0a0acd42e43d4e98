"""Maxwell: changes of MySQL with `database`, `table`, `type`, `ts` (seconds), `data` and `old`."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from lab.domain.trace.logs.change import Format, LoggedChange, Operation, Table, Topics, padded, sent
from lab.domain.trace.logs.messages import TopicMessage
from lab.domain.trace.logs.values import Malformed, since_1970

ROWS: Mapping[str, Operation] = {
    "insert": "put", "update": "put", "delete": "delete", "bootstrap-insert": "put",
}  # fmt: skip
MARKS = ("bootstrap-start", "bootstrap-complete", "bootstrap-started", "bootstrap-completed", "heartbeat")
DEFINITIONS = re.compile(r"(database|table|schema|view|column)-(create|alter|drop)")
NEEDED = {"database", "table", "type"}
KEY = "pk."


@dataclass
class Maxwell(Format):
    """Translates Maxwell's messages. What an update's `data` lacks is unchanged (binlog_row_image=minimal)."""

    name: ClassVar[str] = "maxwell"
    about: ClassVar[str] = "Maxwell"
    commits: ClassVar[str] = "ts, when it was committed, in seconds"
    deletes: ClassVar[str] = "type delete"
    places: ClassVar[str] = "position"
    _topics: Topics = field(default_factory=Topics)

    @staticmethod
    def recognises(message: TopicMessage) -> bool:
        """Return whether it is a change of a row."""
        value = message.value
        return (
            isinstance(value, dict)
            and value.keys() >= NEEDED
            and value["type"] in ROWS
            and isinstance(value.get("data"), dict)
        )

    def changes(self, message: TopicMessage) -> Iterable[LoggedChange]:
        """Translate a message."""
        value = message.value
        if value is None:
            return self._tombstone(message)
        if not isinstance(value, dict) or "type" not in value:
            raise Malformed("no `type`: not a change of a Maxwell log")
        kind = value["type"]
        if kind in MARKS:
            self.passed["marks of a bootstrap, and heartbeats"] += 1
            return ()
        if isinstance(kind, str) and DEFINITIONS.fullmatch(kind):
            self.passed["changes of a table's columns"] += 1
            return ()
        if kind not in ROWS:
            raise Malformed(f"unknown type `{kind}`")
        if not value.keys() >= NEEDED or not isinstance(value.get("data"), dict):
            raise Malformed(f"type `{kind}` without the `data` that it needs")
        made = self._change(message, value)
        self._topics.learn(message, made)
        return (made,)

    def _change(self, message: TopicMessage, value: dict[str, Any]) -> LoggedChange:
        kind, table = value["type"], _table(value)
        at = since_1970(value.get("ts_ms"), "ms") or since_1970(value.get("ts"), "s")
        place, offset, transaction = value.get("position"), value.get("xoffset"), value.get("xid")
        exact = isinstance(place, str) or isinstance(offset, int)
        old = value.get("old")
        identity: Hashable = (kind, str(place), offset, transaction, value.get("gtid"))
        if not exact and transaction is None:
            identity = message.place
        return LoggedChange(
            table, ROWS[kind], value["data"], told=kind != "update", former=old if isinstance(old, dict) else None,
            at=at, order=_order(place, offset), sent=sent(message), identity=identity, weak=not exact,
            group=("xid", transaction) if transaction is not None else None, keys=_keys(message, value),
        )  # fmt: skip

    def _tombstone(self, message: TopicMessage) -> Iterable[LoggedChange]:
        key = message.key if isinstance(message.key, dict) else {}
        state = {name[len(KEY) :]: value for name, value in key.items() if name.startswith(KEY)}
        if not state or not isinstance(key.get("table"), str):
            self.passed["tombstones without a key"] += 1
            return ()
        return (LoggedChange(_table(key), "tombstone", state, told=False, sent=sent(message), keys=tuple(state)),)


def _table(value: Mapping[str, Any]) -> Table:
    return tuple(str(part) for part in (value.get("database"), value["table"]) if part)


def _keys(message: TopicMessage, value: Mapping[str, Any]) -> tuple[str, ...]:
    columns = value.get("primary_key_columns")
    if isinstance(columns, list) and columns:
        return tuple(map(str, columns))
    key = message.key if isinstance(message.key, dict) else {}
    return tuple(name[len(KEY) :] for name in key if name.startswith(KEY))


def _order(place: Any, offset: Any) -> str:
    """Return the place in the binary log, `master.000006:800911`, and the one within the transaction."""
    found = re.fullmatch(r".*?(\d+):(\d+)", place) if isinstance(place, str) else None
    return padded(int(found[1]), int(found[2]), offset if isinstance(offset, int) else 0) if found else ""
