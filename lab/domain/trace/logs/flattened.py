"""Rows of a topic without their envelopes: Debezium's flattened events, and rows of other connectors.

`__op`, `__deleted`, `__source_ts_ms`, `__lsn` and the like are the envelope's fields, as far as the transformation adds
them. A message without a value deletes the record of its key.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from lab.domain.trace.logs.avro import OF_UNIONS, united, without_unions
from lab.domain.trace.logs.change import LoggedChange, Roles, State, Table, sent
from lab.domain.trace.logs.connect import converters
from lab.domain.trace.logs.debezium import Converters, Debezium, is_envelope, read_at, without_change
from lab.domain.trace.logs.messages import TopicMessage
from lab.domain.trace.logs.source import committed_at, group_of, identity_of, place_of, table_of
from lab.domain.trace.logs.values import Malformed

PREFIX = "__"
# The column that has the key of a message if that is no row.
MESSAGE_KEY = "message_key"
SURE = ("__op", "__deleted", "__source_ts_ms", "__source_ts_us", "__source_ts_ns", "__source_lsn", "__lsn", "__ts_ms")
# When a change was committed, the finest first; then when the connector read it.
TIMES = ("source_ts_ns", "source_ts_us", "source_ts_ms", "ts_ns", "ts_us", "ts_ms")
OPERATIONS = {"c": "put", "r": "put", "u": "put", "d": "delete", "t": "truncate"}
SPELT = {"txid": "txId", "transaction_id": "transaction", "server": "name"}


def is_row(value: Any) -> bool:
    """Return whether an object has a field that says what was done to the row."""
    return isinstance(value, dict) and any(name in value for name in SURE)


@dataclass
class Flattened(Debezium):
    """Translates flattened events; their fields that begin with two underscores are no columns."""

    name: ClassVar[str] = "flattened"
    about: ClassVar[str] = "flattened events"
    _made: dict[str, tuple[Any, Converters]] = field(default_factory=dict)
    _seen: dict[str, None] = field(default_factory=dict)

    def roles(self, timed: bool, committed: bool, placed: bool) -> Roles:
        """Return the fields that the transformation adds, as far as the events have them."""
        found = super().roles(timed, committed, placed)
        what = {
            "time": (TIMES, "says when it was committed" if committed else "says when it was read"),
            "deleted": (("deleted", "op"), "says what is deleted"),
            "revision": (("lsn", "source_lsn", "pos", "source_pos", "scn"), "orders the changes of a record"),
        }
        for role, (names, why) in what.items():
            name = next((f"{PREFIX}{one}" for one in names if one in self._seen), None)
            if name and (role != "revision" or placed):
                found[role] = ((name,), f"`{name}` {why}")
        return found

    @staticmethod
    def recognises(message: TopicMessage) -> bool:
        """Return whether it is a row with an operation, or a row of a topic beside its key or with its schema."""
        value = message.value
        if not isinstance(value, dict) or is_envelope(value) or without_change(value):
            return False
        if is_row(value):
            return True
        if isinstance(message.schema, dict) and message.schema.get("type") == "struct":
            return True
        if united(value):
            return True
        return message.keyed and type(message.key) in (dict, str, int) and message.key not in ({}, "")

    def changes(self, message: TopicMessage) -> Iterable[LoggedChange]:
        """Translate a row."""
        value = message.value
        if value is None:
            return self._tombstone(message)
        if what := without_change(value):
            self.passed[what] += 1
            return ()
        if not isinstance(value, dict):
            raise Malformed("no row")
        unions = united(value)
        value = without_unions(value) if unions else value
        told = {name[len(PREFIX) :]: one for name, one in value.items() if name.startswith(PREFIX)}
        self._seen.update(dict.fromkeys(told))
        row = {name: one for name, one in value.items() if not name.startswith(PREFIX)}
        made = self._change(message, row, told)
        self.converted.update({(made.table, name): OF_UNIONS for name in unions})
        self._topics.learn(message, made)
        return (made,)

    def _key(self, message: TopicMessage) -> State:
        if type(message.key) in (str, int) and message.keyed:
            return {MESSAGE_KEY: message.key}
        return super()._key(message)

    def _change(self, message: TopicMessage, row: dict[str, Any], told: Mapping[str, Any]) -> LoggedChange:
        source = source_of(told)
        commit, place = committed_at(source), place_of(source)
        at = commit if commit is not None else read_at(told)
        op = told.get("op")
        if op is not None and op not in OPERATIONS:
            raise Malformed(f"unknown op `{op}`")
        gone = str(told.get("deleted")).lower() == "true" or op == "d"
        identity = identity_of(source, place) or message.place
        key = self._key(message)
        table: Table = table_of(source) or ((message.topic.split(".")[-1],) if message.topic else ())
        made = LoggedChange(
            table, "put", {}, at=at if at is not None else message.at, committed=commit is not None, order=place,
            sent=sent(message), identity=None if identity is None else (op, identity),
            group=group_of(source, None, commit), keys=tuple(key) if isinstance(message.key, dict) else (),
        )  # fmt: skip
        if op == "t":
            made.operation = "truncate"
            return made
        each = self._of_row(message)
        made.state, made.unchanged = self._converted(row or key, each, table)
        # What stands in the key alone is a column too.
        made.state = {**made.state, **{name: one for name, one in key.items() if name not in made.state}}
        if gone:
            made.operation = "delete"
        return made

    def _of_row(self, message: TopicMessage) -> Converters:
        if not isinstance(message.schema, dict):
            return {}
        name = str(message.schema.get("name"))
        known = self._made.get(name)
        if known is None or known[0] != message.schema:
            found = {one: how for one, how in converters(message.schema).items() if not one.startswith(PREFIX)}
            known = self._made[name] = (message.schema, found)
        return known[1]


def source_of(told: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of the source: `__source_ts_ms` and `__lsn` are `source.ts_ms` and `source.lsn`."""
    found: dict[str, Any] = {}
    for name, value in told.items():
        short = name.removeprefix("source_")
        if short != name or short not in ("op", "deleted", "ts_ms", "ts_us", "ts_ns"):
            short = SPELT.get(short.lower(), short)
            found[short] = value
    return found
