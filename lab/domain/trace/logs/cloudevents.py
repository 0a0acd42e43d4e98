"""CloudEvents with a change of Debezium in their `data`; attributes that begin with `iodebezium` are its source."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

from lab.domain.trace.logs.change import LoggedChange
from lab.domain.trace.logs.debezium import Debezium, is_envelope
from lab.domain.trace.logs.messages import TopicMessage
from lab.domain.trace.logs.values import Malformed, instant

PREFIX = "iodebezium"
# Attributes are in lower case, without the underscores of the source's fields.
SOURCE = {
    "tsms": "ts_ms", "tsus": "ts_us", "tsns": "ts_ns", "txid": "txId", "changelsn": "change_lsn",
    "commitlsn": "commit_lsn", "eventserialno": "event_serial_no", "serverid": "server_id", "commitscn": "commit_scn",
    "rsid": "rs_id",
}  # fmt: skip
WHOLE = ("tsms", "tsus", "tsns", "lsn", "pos", "row", "ord")


def is_event(value: Any) -> bool:
    """Return whether an object has the attributes that every CloudEvent has."""
    return isinstance(value, dict) and {"id", "source", "specversion", "type"} <= value.keys()


@dataclass
class CloudEvents(Debezium):
    """Translates events to envelopes, and those to changes."""

    name: ClassVar[str] = "cloudevents"
    about: ClassVar[str] = "CloudEvents"
    commits: ClassVar[str] = "source.ts_ms, or the event's `time`, when it was committed"

    @staticmethod
    def recognises(message: TopicMessage) -> bool:
        """Return whether it is an event of Debezium with a change."""
        value = message.value
        return is_event(value) and isinstance(_inner(value), dict) and "op" in envelope(value)

    def changes(self, message: TopicMessage) -> Iterable[LoggedChange]:
        """Translate an event."""
        if message.value is not None and not is_event(message.value):
            raise Malformed("no CloudEvent: `id`, `source`, `specversion` and `type` are wanted")
        if message.value is None:
            return super().changes(message)
        event, data = message.value, message.value.get("data")
        message.schema = data.get("schema") if isinstance(data, dict) else None
        message.value = envelope(event)
        found = list(super().changes(message))
        for one in found:
            # An event that is sent again has the same id.
            one.identity = one.identity or (event["source"], event["id"])
        return found


def _inner(event: dict[str, Any]) -> Any:
    data = event.get("data")
    if isinstance(data, dict) and "payload" in data and data.keys() <= {"schema", "payload"}:
        return data["payload"]
    return data


def envelope(event: dict[str, Any]) -> dict[str, Any]:
    """Return the event as an envelope."""
    data = _inner(event)
    if is_envelope(data) and isinstance(data.get("source"), dict):
        return dict(data)
    attributes = {name[len(PREFIX) :]: value for name, value in event.items() if name.startswith(PREFIX)}
    source = {
        SOURCE.get(name, name): int(value) if name in WHOLE and str(value).isdigit() else value
        for name, value in attributes.items()
        if name not in ("op", "txtotalorder", "txdatacollectionorder")
    }
    if not source.get("ts_ms") and (at := instant(event.get("time"))) is not None:
        source["ts_ns"] = at
    found = {"source": source, **(data if isinstance(data, dict) else {})}
    if "op" in attributes:
        found["op"] = attributes["op"]
    return found
