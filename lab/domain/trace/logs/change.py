"""The neutral change, to which every format of change logs is translated."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from lab.domain.trace.logs.messages import TopicMessage

Operation = Literal["put", "delete", "truncate", "tombstone"]
# The parts of a table's name, from the largest to the table: database, schema, table. Empty parts are left out.
Table = tuple[str, ...]
State = Mapping[str, Any]
Roles = dict[str, tuple[tuple[str, ...], str]]


@dataclass(slots=True)
class LoggedChange:
    """One change of one record, or of all records of a table (`truncate`).

    `state` is the record after the change; of a deletion, what the log tells of it: the state before, or the key alone.
    `told`: the state is complete; columns that it lacks are null. Otherwise they are unchanged. `unchanged` names
    columns that are as they were whatever `state` says. `former` has values from before the change, as far as the log
    gives them. A `tombstone` deletes the record if it is alive, and is else without effect.

    `at` is in nanoseconds since 1970, `committed` whether it is the commit's time rather than a reader's clock.
    `order` sorts the changes of a record as text, by their places in the database's log; `sent` by those in the topic.
    Empty: it isn't told. Changes of the same `identity` are one change sent again; if `weak`, only when another
    transaction lies between them. `group` is the transaction. `keys` are the key's columns, if the log names them.
    """

    table: Table
    operation: Operation
    state: State
    told: bool = True
    unchanged: tuple[str, ...] = ()
    former: State | None = None
    at: int | None = None
    committed: bool = True
    order: str = ""
    sent: str = ""
    identity: Hashable = None
    weak: bool = False
    group: Hashable = None
    keys: tuple[str, ...] = ()


@dataclass
class Format:
    """A format of change logs: what it recognises by its structure, and how it is translated.

    A translator reads the messages of one file in their order. What carries no change is counted in `passed`, by words
    that follow "... were passed over".
    """

    name: ClassVar[str]
    about: ClassVar[str]  # For messages: "Debezium", "Maxwell".
    # What says when a change was committed, and when it was read, if the log has no commit times; what says that a
    # record is deleted; what orders changes, if the log has it.
    commits: ClassVar[str]
    reads: ClassVar[str] = ""
    deletes: ClassVar[str]
    places: ClassVar[str] = ""
    passed: Counter[str] = field(default_factory=Counter)
    # Columns whose values are read as something else than they stand in the file: how, by table and column.
    converted: dict[tuple[Table, str], str] = field(default_factory=dict)
    # Columns whose type in the database is a decimal one, by table and column.
    decimals: set[tuple[Table, str]] = field(default_factory=set)

    def roles(self, timed: bool, committed: bool, placed: bool) -> Roles:
        """Return, for time, deletion and revision, the fields that have them (empty: none is a column), and why."""
        time = "the log has no times: its transactions are a second apart"
        if timed:
            time = f"the log's own {self.commits}" if committed else f"the log's own {self.reads}"
        order = f"the log's own {self.places}" if placed and self.places else "the log's own order"
        return {"time": ((), time), "deleted": ((), f"the log's own {self.deletes}"), "revision": ((), order)}

    @staticmethod
    def recognises(message: TopicMessage) -> bool:
        """Return whether the message can only be one of this format."""
        raise NotImplementedError

    def changes(self, message: TopicMessage) -> Iterable[LoggedChange]:
        """Translate a message. Raises Malformed."""
        raise NotImplementedError


class Topics:
    """Which table the messages of a topic are about, learnt from its changes; for tombstones, which don't say it."""

    def __init__(self) -> None:
        self._tables: dict[str, set[Table]] = {}
        self._deleted: tuple[Table, State] | None = None

    def learn(self, message: TopicMessage, change: LoggedChange) -> None:
        """Remember the table of a change."""
        self._tables.setdefault(message.topic, set()).add(change.table)
        self._deleted = (change.table, change.state) if change.operation == "delete" else None

    def table(self, message: TopicMessage, key: State) -> Table | None:
        """Return the table of a tombstone; None if it isn't known."""
        found = self._tables.get(message.topic, set())
        if len(found) == 1:
            return next(iter(found))
        if self._deleted and all(self._deleted[1].get(name) == value for name, value in key.items()):
            return self._deleted[0]
        return None


def sent(message: TopicMessage) -> str:
    """Return a message's partition and offset as text that sorts; empty if they aren't told."""
    return padded(message.place[1], message.place[2]) if message.place else ""


def padded(*numbers: int | None) -> str:
    """Return numbers as text that sorts as they do."""
    return ".".join(f"{number or 0:020d}" for number in numbers)
