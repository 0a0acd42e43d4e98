"""Debezium: an envelope with `op`, `before`, `after` and `source`, from every connector."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from lab.domain.trace.logs import mongodb
from lab.domain.trace.logs.avro import in_unions, without_unions
from lab.domain.trace.logs.change import Format, LoggedChange, State, Table, Topics, sent
from lab.domain.trace.logs.connect import DECIMALS, Convert, converters, unavailable
from lab.domain.trace.logs.connect import field as field_of
from lab.domain.trace.logs.messages import TopicMessage
from lab.domain.trace.logs.source import committed_at, group_of, identity_of, place_of, table_of
from lab.domain.trace.logs.values import Malformed, since_1970

PARTS = frozenset((
    "before", "after", "source", "op", "ts_ms", "ts_us", "ts_ns", "transaction", "message", "updateDescription",
    "patch", "filter",
))  # fmt: skip
OPERATIONS = ("c", "u", "d", "r", "t", "m")
Converters = Mapping[str, tuple[Convert, str]]


def is_envelope(value: Any) -> bool:
    """Return whether a value has an operation, a state or a source, and nothing that no envelope has."""
    if not isinstance(value, dict) or "op" not in value or not value.keys() <= PARTS:
        return False
    return bool(value.keys() & {"before", "after", "patch", "message"}) or isinstance(value.get("source"), dict)


def without_change(value: Any) -> str:
    """Return what a message is that Debezium writes beside changes; empty if it is none of these."""
    if not isinstance(value, dict):
        return ""
    if value.get("status") in ("BEGIN", "END") and "id" in value and value.keys() <= {
        "status", "id", "ts_ms", "event_count", "data_collections",
    }:  # fmt: skip
        return "lines of BEGIN and END"
    if "ddl" in value and ("databaseName" in value or "tableChanges" in value):
        return "changes of a table's columns"
    return "heartbeats" if value.keys() and value.keys() <= {"ts_ms", "ts_us", "ts_ns", "serverName"} else ""


@dataclass
class Debezium(Format):
    """Translates envelopes; the types of a schema are honoured where the message has one."""

    name: ClassVar[str] = "debezium"
    about: ClassVar[str] = "Debezium"
    commits: ClassVar[str] = "source.ts_ms, when it was committed"
    reads: ClassVar[str] = "ts_ms, when the connector read it"
    deletes: ClassVar[str] = "op d"
    places: ClassVar[str] = "places in the database's log (source)"
    _schemas: dict[str, tuple[Any, Converters]] = field(default_factory=dict)
    _topics: Topics = field(default_factory=Topics)

    @staticmethod
    def recognises(message: TopicMessage) -> bool:
        """Return whether it is an envelope."""
        return is_envelope(message.value)

    def changes(self, message: TopicMessage) -> Iterable[LoggedChange]:
        """Translate an envelope, or pass a message over that carries no change."""
        value = message.value
        if value is None:
            return self._tombstone(message)
        if what := without_change(value):
            self.passed[what] += 1
            return ()
        if not isinstance(value, dict) or value.get("op") is None:
            raise Malformed("no `op`: not a change of a Debezium log")
        envelope = without_unions(value) if in_unions(value) else value
        op = envelope["op"]
        if op not in OPERATIONS:
            raise Malformed(f"unknown op `{op}`")
        if op == "m":
            self.passed["messages of the database (op m)"] += 1
            return ()
        made = self.change(message, envelope)
        self._topics.learn(message, made)
        return (made,)

    def change(self, message: TopicMessage, envelope: Mapping[str, Any]) -> LoggedChange:
        """Translate an envelope whose operation is c, u, d, r or t."""
        source = envelope.get("source")
        source = source if isinstance(source, dict) else {}
        op, table = envelope["op"], table_of(source) or _topic(message)
        commit = committed_at(source)
        at = commit if commit is not None else read_at(envelope)
        place = place_of(source)
        identity = identity_of(source, place) or message.place
        made = LoggedChange(
            table, "put", {}, at=at, committed=commit is not None, order=place, sent=sent(message),
            identity=None if identity is None else (op, identity),
            group=group_of(source, envelope.get("transaction"), commit),
        )  # fmt: skip
        if op == "t":
            made.operation = "truncate"
            return made
        if source.get("connector") == "mongodb" or any(
            mongodb.is_document(envelope.get(name)) for name in ("after", "before", "patch")
        ):
            self._document(message, envelope, made)
        else:
            self._row(message, envelope, made)
        return made

    def _row(self, message: TopicMessage, envelope: Mapping[str, Any], made: LoggedChange) -> None:
        """Set state, former state and key of a row's change."""
        op, after, before = envelope["op"], envelope.get("after"), envelope.get("before")
        each = self._converters(message, "after") or self._converters(message, "before")
        key = self._key(message)
        made.keys = tuple(key)
        if op == "d":
            made.operation, made.told = "delete", isinstance(before, dict)
            state = before if isinstance(before, dict) else key
            if not state:
                raise Malformed("op `d` without the state that it needs")
            made.state, made.unchanged = self._converted(state, each, made.table)
            return
        if not isinstance(after, dict):
            raise Malformed(f"op `{op}` without the state that it needs")
        made.state, made.unchanged = self._converted(after, each, made.table)
        if op == "u" and isinstance(before, dict):
            former, unknown = self._converted(before, each, made.table)
            made.former = {name: value for name, value in former.items() if name not in unknown}

    def _document(self, message: TopicMessage, envelope: Mapping[str, Any], made: LoggedChange) -> None:
        """Set the state of a document's change."""
        op, after, before = envelope["op"], envelope.get("after"), envelope.get("before")
        made.keys = ("_id",)
        named = mongodb.identifier(message.key)
        if not named and mongodb.is_document(envelope.get("filter")):
            named = {name: value for name, value in mongodb.document(envelope["filter"]).items() if name == "_id"}
        if op == "d":
            made.operation, made.told = "delete", before is not None
            made.state = {**(mongodb.document(before) if before is not None else {}), **named}
            if "_id" not in made.state:
                raise Malformed("op `d` without the key of its document: read the topic with its keys")
            return
        if after is None and op == "u":
            altered = mongodb.altered(envelope)
            if altered is None and mongodb.is_document(envelope.get("patch")):
                made.state = {**mongodb.document(envelope["patch"]), **named}
                return
            if altered is None or not named:
                raise Malformed("op `u` without the state that it needs")
            made.state, made.told = {**altered, **named}, False
            return
        if after is None:
            raise Malformed(f"op `{op}` without the state that it needs")
        made.state = {**named, **mongodb.document(after)}

    def _tombstone(self, message: TopicMessage) -> Iterable[LoggedChange]:
        """Return the deletion that a message without a value stands for, if it has a key."""
        key = self._key(message)
        if not key:
            self.passed["tombstones without a key"] += 1
            return ()
        if key.keys() == {"id"} and isinstance(key["id"], str) and key["id"].lstrip().startswith(("{", '"')):
            key = mongodb.identifier(message.key)
        if (table := self._topics.table(message, key)) is None:
            self.passed["tombstones of no known table"] += 1
            return ()
        return (LoggedChange(table, "tombstone", key, told=False, sent=sent(message), keys=tuple(key)),)

    def _key(self, message: TopicMessage) -> State:
        key = message.key
        if not isinstance(key, dict):
            return {}
        if any(type(value) is dict for value in key.values()) or (len(key) == 1 and next(iter(key)).endswith(".Key")):
            key = without_unions(key)
        return self._converted(key, converters(message.key_schema), ())[0] if message.key_schema else key

    def _converters(self, message: TopicMessage, part: str) -> Converters:
        """Return the converters of `after` or `before`, made once for each schema."""
        schema = message.schema
        if not isinstance(schema, dict):
            return {}
        name = f"{schema.get('name')}:{part}"
        known = self._schemas.get(name)
        if known is None or (known[0] is not schema and known[0] != schema):
            known = self._schemas[name] = (schema, converters(field_of(schema, part)))
        return known[1]

    def _converted(self, state: State, each: Converters, table: Table) -> tuple[State, tuple[str, ...]]:
        """Return the state in its types, and the columns whose large values were not logged."""
        missing = tuple([name for name, value in state.items() if unavailable(value)])
        if not each and not missing:
            return state, ()
        found = dict(state)
        for name in missing:
            found[name] = None
        for name, (convert, how) in each.items():
            value = found.get(name)
            if value is not None:
                try:
                    found[name] = convert(value)
                except Malformed as error:
                    raise Malformed(f"`{name}`: {error}") from None
                if how and table:
                    self.converted[table, name] = how
                if how == DECIMALS and table:
                    self.decimals.add((table, name))
        return found, missing


def read_at(envelope: Mapping[str, Any]) -> int | None:
    """Return when the connector read the change."""
    for name, unit in (("ts_ns", "ns"), ("ts_us", "us"), ("ts_ms", "ms")):
        if (at := since_1970(envelope.get(name), unit)) is not None:
            return at
    return None


def _topic(message: TopicMessage) -> Table:
    """Return the table that a topic is called after; nothing if the topic isn't told."""
    return tuple(message.topic.split(".")[1:]) or ((message.topic,) if message.topic else ())
