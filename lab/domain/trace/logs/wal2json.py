"""wal2json of PostgreSQL: format 1 has an object for each transaction, format 2 one for each change.

An update lacks the columns whose large values didn't change. `identity` and `oldkeys` have the key before the change,
or the whole row under REPLICA IDENTITY FULL.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any, ClassVar

from lab.domain.trace.logs.change import Format, LoggedChange, Operation, Table, padded, sent
from lab.domain.trace.logs.messages import TopicMessage
from lab.domain.trace.logs.source import lsn
from lab.domain.trace.logs.values import Malformed, instant

ROWS: Mapping[str, Operation] = {
    "I": "put", "U": "put", "D": "delete", "insert": "put", "update": "put", "delete": "delete",
}  # fmt: skip
TRANSACTION = frozenset(("change", "xid", "nextlsn", "timestamp", "origin", "lsn"))
MARKS = ("B", "C", "M", "message")
SHORT = {"insert": "I", "update": "U", "delete": "D"}
NUMBERS = ("numeric", "decimal", "real", "double precision", "float")
FIXED = ("numeric", "decimal")


@dataclass
class Wal2json(Format):
    """Translates both formats."""

    name: ClassVar[str] = "wal2json"
    about: ClassVar[str] = "wal2json"
    commits: ClassVar[str] = "timestamp, when it was committed"
    deletes: ClassVar[str] = "action D (kind delete)"
    places: ClassVar[str] = "lsn"
    _begun: int = 0
    _open: bool = False
    _at: int | None = None
    _transaction: Hashable = None
    _columns: dict[Table, set[str]] = field(default_factory=dict)

    @staticmethod
    def recognises(message: TopicMessage) -> bool:
        """Return whether it is a transaction of format 1, or a change or the begin of a transaction of format 2."""
        value = message.value
        if not isinstance(value, dict):
            return False
        if isinstance(value.get("change"), list) and value.keys() <= TRANSACTION:
            return all(isinstance(one, dict) and "kind" in one for one in value["change"])
        action = value.get("action")
        if action in ("I", "U", "D", "T"):
            return isinstance(value.get("table"), str) and (action == "T" or "columns" in value or "identity" in value)
        return action in ("B", "C") and value.keys() <= {"action", "xid", "timestamp", "lsn", "nextlsn", "origin"}

    def changes(self, message: TopicMessage) -> Iterable[LoggedChange]:
        """Translate a transaction, or a change."""
        value = message.value
        if value is None:
            self.passed["tombstones without a key"] += 1
            return ()
        if not isinstance(value, dict) or not value.keys() & {"change", "action"}:
            raise Malformed("no `action` and no `change`: not a line of wal2json")
        return self._first(message, value) if "change" in value else self._second(message, value)

    def _first(self, message: TopicMessage, value: dict[str, Any]) -> Iterable[LoggedChange]:
        """Translate a transaction of format 1."""
        if not isinstance(value["change"], list):
            raise Malformed("`change` is no list")
        self._begun += 1
        at, place = instant(value.get("timestamp")), lsn(value.get("nextlsn"))
        xid = value.get("xid")
        group: Hashable = ("xid", xid, at) if xid is not None else ("number", self._begun)
        found = []
        for number, one in enumerate(value["change"]):
            kind = one.get("kind") if isinstance(one, dict) else None
            if kind in MARKS:
                self.passed["messages of the database"] += 1
                continue
            if not isinstance(kind, str) or (kind != "truncate" and kind not in ROWS):
                raise Malformed(f"unknown kind `{kind}`")
            old = one.get("oldkeys") or {}
            named = _names(one.get("pk"), "pknames")
            state = _pairs(one, "columnnames", "columntypes", "columnvalues")
            former = _pairs(old, "keynames", "keytypes", "keyvalues")
            made = _change(one, kind, state, former, named or old.get("keynames"))
            self._unless_whole(made, former, bool(named))
            names, types = one.get("columnnames"), one.get("columntypes")
            if isinstance(names, list) and isinstance(types, list) and len(names) == len(types):
                self._declare(made.table, zip(names, types, strict=True))
            made.at, made.group, made.sent = at, group, sent(message)
            made.order = padded(place, number) if place else ""
            if place or xid is not None:
                made.identity, made.weak = (kind, place, xid, at, number), not place
            found.append(made)
        return found

    def _second(self, message: TopicMessage, value: dict[str, Any]) -> Iterable[LoggedChange]:
        """Translate a line of format 2."""
        action, xid = value["action"], value.get("xid")
        at = instant(value.get("timestamp"))
        if action in MARKS:
            self.passed["lines of BEGIN and COMMIT" if action != "M" else "messages of the database"] += 1
            if action != "M":
                self._begun += 1
                self._open = action == "B"
                self._at = at if self._open else None
                self._transaction = xid if self._open else None
            return ()
        if action != "T" and action not in ROWS:
            raise Malformed(f"unknown action `{action}`")
        columns, identity = _columns(value.get("columns")), _columns(value.get("identity"))
        named = _listed(value.get("pk"))
        made = _change(value, action, columns, identity, named or list(identity))
        self._unless_whole(made, identity, bool(named))
        listed = value.get("columns")
        each = listed if isinstance(listed, list) else ()
        self._declare(made.table, ((one.get("name"), one.get("type")) for one in each))
        xid = self._transaction if xid is None else xid
        made.at = self._at if at is None else at
        place = lsn(value.get("lsn"))
        if xid is not None:
            made.group = ("xid", xid, made.at)
        elif self._open:
            made.group = ("number", self._begun)
        made.order, made.sent = padded(place) if place else "", sent(message)
        if place or xid is not None:
            made.identity, made.weak = (action, place, xid, made.at), not place
        return (made,)

    def _unless_whole(self, made: LoggedChange, old: Mapping[str, Any], named: bool) -> None:
        """Take no columns for the key that are the whole row, as a deletion has it under REPLICA IDENTITY FULL."""
        known = self._columns.setdefault(made.table, set())
        if made.operation == "put":
            known.update(made.state)
        if not named and known <= old.keys():
            made.keys = ()

    def _declare(self, table: Table, types: Iterable[tuple[Any, Any]]) -> None:
        """Note the columns whose type is a decimal one."""
        self.decimals.update((table, str(name)) for name, kind in types if str(kind).startswith(FIXED))


def _change(value: Mapping[str, Any], kind: str, state: dict[str, Any], old: dict[str, Any], keys: Any) -> LoggedChange:
    """Return the change of a row, or the truncation of a table, without its time and place."""
    table: Table = tuple(str(part) for part in (value.get("schema"), value.get("table")) if part)
    if kind in ("T", "truncate"):
        return LoggedChange(table, "truncate", {})
    short = SHORT.get(kind, kind)
    if not (old if short == "D" else state):
        raise Malformed(f"`{kind}` without the values that it needs")
    whole = bool(state) and old.keys() >= state.keys()
    named = () if whole or not isinstance(keys, list) else tuple(map(str, keys))
    if short == "D":
        return LoggedChange(table, "delete", old, told=False, keys=named)
    return LoggedChange(table, ROWS[kind], state, told=short == "I", former=old or None, keys=named)


def _pairs(value: Mapping[str, Any], names: str, types: str, values: str) -> dict[str, Any]:
    """Return the values of format 1 by their names."""
    found, kinds = value.get(values), value.get(types)
    listed = value.get(names)
    if not isinstance(listed, list) or not isinstance(found, list):
        return {}
    if len(listed) != len(found):
        raise Malformed(f"`{names}` and `{values}` have different lengths")
    each = kinds if isinstance(kinds, list) and len(kinds) == len(listed) else [""] * len(listed)
    return {str(name): _value(one, kind) for name, one, kind in zip(listed, found, each, strict=True)}


def _columns(value: Any) -> dict[str, Any]:
    """Return the values of format 2 by their names."""
    if not isinstance(value, list):
        return {}
    if not all(isinstance(one, dict) and "name" in one for one in value):
        raise Malformed("a column without a name")
    return {str(one["name"]): _value(one.get("value"), one.get("type")) for one in value}


def _listed(value: Any) -> list[str]:
    return [str(one["name"]) for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _names(value: Any, name: str) -> list[str]:
    found = value.get(name) if isinstance(value, dict) else None
    return list(map(str, found)) if isinstance(found, list) else []


def _value(value: Any, kind: Any) -> Any:
    """Return a value in its type: with `numeric-data-types-as-string`, numbers are text."""
    if isinstance(value, str) and isinstance(kind, str):
        try:
            if kind in ("integer", "bigint", "smallint", "oid"):
                return int(value)
            if kind.startswith(NUMBERS):
                number = Decimal(value)
                return None if number.is_nan() else number
        except (ValueError, InvalidOperation):
            return value
    return value
