"""AWS DMS as it writes to Kafka and Kinesis: `data` and `metadata`; and the meaning of `Op` in its CSV and Parquet."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar

from lab.domain.trace.logs.change import Format, LoggedChange, Operation, Table, sent
from lab.domain.trace.logs.messages import TopicMessage
from lab.domain.trace.logs.values import Malformed, instant

ROWS: Mapping[str, Operation] = {"load": "put", "insert": "put", "update": "put", "delete": "delete"}


@dataclass
class Dms(Format):
    """Translates messages of DMS."""

    name: ClassVar[str] = "dms"
    about: ClassVar[str] = "AWS DMS"
    commits: ClassVar[str] = "metadata.timestamp, when it was committed"
    deletes: ClassVar[str] = "operation delete"

    @staticmethod
    def recognises(message: TopicMessage) -> bool:
        """Return whether it has rows' values and what was done to them."""
        value = message.value
        told = value.get("metadata") if isinstance(value, dict) else None
        return isinstance(told, dict) and {"record-type", "operation"} <= told.keys()

    def changes(self, message: TopicMessage) -> Iterable[LoggedChange]:
        """Translate a message."""
        value = message.value
        if value is None:
            self.passed["tombstones without a key"] += 1
            return ()
        told = value.get("metadata") if isinstance(value, dict) else None
        if not isinstance(told, dict) or "operation" not in told:
            raise Malformed("no `metadata` with an `operation`: not a message of DMS")
        table: Table = tuple(str(part) for part in (told.get("schema-name"), told.get("table-name")) if part)
        at, transaction = instant(told.get("timestamp")), told.get("transaction-id")
        group = ("transaction", transaction) if transaction else None
        operation = str(told["operation"])
        if operation in ("truncate-table", "truncate"):
            return (LoggedChange(table, "truncate", {}, at=at, group=group, sent=sent(message)),)
        if told.get("record-type") == "control" or operation not in ROWS:
            self.passed["control messages"] += 1
            return ()
        state, before = value.get("data"), value.get("before-image")
        if not isinstance(state, dict) or not state:
            raise Malformed(f"operation `{operation}` without the `data` that it needs")
        record = told.get("stream-position") or told.get("record-id")
        return (
            LoggedChange(
                table, ROWS[operation], state, told=operation != "update",
                former=before if isinstance(before, dict) else None, at=at, sent=sent(message), group=group,
                identity=(operation, str(record or transaction)) if record or transaction else message.place,
                weak=not record and bool(transaction),
            ),
        )  # fmt: skip
