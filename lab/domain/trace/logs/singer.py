"""Singer, as Meltano's taps write it: SCHEMA with the key, RECORD with a row, STATE, ACTIVATE_VERSION."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, ClassVar

from lab.domain.trace.logs.change import Format, LoggedChange
from lab.domain.trace.logs.messages import TopicMessage
from lab.domain.trace.logs.values import Malformed, instant

MARKS = ("STATE", "ACTIVATE_VERSION", "SCHEMA")
DELETED = "_sdc_deleted_at"
OWN = "_sdc_"


@dataclass
class Singer(Format):
    """Translates a tap's output. A table that is replaced as a whole has versions: the older one's records are gone."""

    name: ClassVar[str] = "singer"
    about: ClassVar[str] = "Singer"
    commits: ClassVar[str] = "_sdc_deleted_at"
    reads: ClassVar[str] = "time_extracted, when the tap read it"
    deletes: ClassVar[str] = "_sdc_deleted_at"
    _keys: dict[str, tuple[str, ...]] = field(default_factory=dict)
    _seen: dict[str, dict[tuple[Any, ...], Any]] = field(default_factory=dict)
    _at: int | None = None

    @staticmethod
    def recognises(message: TopicMessage) -> bool:
        """Return whether it is a record or a schema of a stream."""
        value = message.value
        if not isinstance(value, dict) or not isinstance(value.get("stream"), str):
            return False
        if value.get("type") == "RECORD":
            return isinstance(value.get("record"), dict)
        return value.get("type") == "SCHEMA" and "key_properties" in value

    def changes(self, message: TopicMessage) -> Iterable[LoggedChange]:
        """Translate a message."""
        value = message.value
        kind = value.get("type") if isinstance(value, dict) else None
        if kind == "SCHEMA":
            names = value.get("key_properties")
            self._keys[str(value.get("stream"))] = tuple(map(str, names)) if isinstance(names, list) else ()
        if kind == "ACTIVATE_VERSION":
            self.passed["lines of ACTIVATE_VERSION"] += 1
            return self._activated(str(value.get("stream")), value.get("version"))
        if kind in MARKS:
            self.passed[f"lines of {kind}"] += 1
            return ()
        if kind == "BATCH":
            raise Malformed("a BATCH of Singer, whose rows are in another file: let the tap write records")
        if kind != "RECORD" or not isinstance(value.get("record"), dict) or not isinstance(value.get("stream"), str):
            raise Malformed("no RECORD, SCHEMA, STATE or ACTIVATE_VERSION: not a line of Singer")
        return (self._record(value),)

    def _record(self, value: dict[str, Any]) -> LoggedChange:
        stream, record = value["stream"], value["record"]
        keys = self._keys.get(stream, ())
        at = instant(value.get("time_extracted")) or instant(record.get("_sdc_extracted_at"))
        self._at = at if at is not None else self._at
        state = {name: one for name, one in record.items() if not name.startswith(OWN)}
        made = LoggedChange(tuple(stream.split("-", 1)), "put", state, at=at, committed=False, keys=keys)
        if record.get(DELETED) is not None:
            made.operation = "delete"
            gone = instant(record[DELETED])
            made.at, made.committed = (gone, True) if gone is not None else (at, False)
        if value.get("version") is not None and keys and all(name in record for name in keys):
            seen = self._seen.setdefault(stream, {})
            seen[tuple(record[name] for name in keys)] = value["version"]
        return made

    def _activated(self, stream: str, version: Any) -> list[LoggedChange]:
        """Return the deletion of each record that the version which is now the table's doesn't have."""
        seen, keys = self._seen.get(stream, {}), self._keys.get(stream, ())
        old = [key for key, one in seen.items() if one != version]
        for key in old:
            del seen[key]
        return [
            LoggedChange(
                tuple(stream.split("-", 1)), "delete", dict(zip(keys, key, strict=True)), told=False, at=self._at,
                committed=False, keys=keys,
            )
            for key in old
        ]  # fmt: skip
