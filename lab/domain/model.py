"""A domain as a decider: commands in, events out, and how an event changes a state. Pure, without I/O.

One domain serves all three write models: the state-based ones store the states that `evolve` returns, the event-sourced
one stores the events. The pattern is Jérémie Chassaing's "functional event sourcing decider".
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

import numpy as np
import polars as pl

from lab.base import Entity, Key, Totals

State = dict[str, Any]
# A record by its entity and its key.
Named = tuple[str, Key]

# Record, Event and Outcome are named tuples, not frozen dataclasses, which take four times as long to create: each
# command creates several.


class Record(NamedTuple):
    """A record of the write model: its current state, its revision (from 1), and whether it is deleted."""

    state: State
    revision: int
    deleted: bool = False


class View(Protocol):
    """The write model as `decide` reads it, consistently within the command's transaction."""

    def get(self, entity: str, key: Key) -> Record | None:
        """Return the record, also if it is deleted; None if there never was one."""


@dataclass(frozen=True)
class Command:
    """A request to change a record, and others with it if the domain `ChangesSeveral`.

    `expected` is the revision of the record that the caller saw; another one is a conflict.
    """

    entity: str
    name: str
    key: Key
    fields: Mapping[str, Any] = field(default_factory=dict)
    expected: int | None = None
    at: float = 0.0

    @property
    def digest(self) -> str:
        """The SHA-256 of what it asks for, whenever that is: the same for a command that is sent again."""
        asked = [self.entity, self.name, self.key, dict(self.fields), self.expected]
        return hashlib.sha256(json.dumps(asked, sort_keys=True, default=str).encode()).hexdigest()


class Event(NamedTuple):
    """A change of one record: its name, and the columns that it sets.

    `about` is the record, by entity and key, if it is another one than the command's own.
    """

    name: str
    fields: Mapping[str, Any] = MappingProxyType({})
    about: Named | None = None


@dataclass(frozen=True)
class Rejection:
    """The reasons why a command was not accepted, in words for the caller."""

    reasons: tuple[str, ...]


class Outcome(NamedTuple):
    """The result of a command: accepted with the new state and a position to wait for, or the reasons why not.

    State and revision are those of the command's own record; the position is the last one of all that it changed.
    `reused`: nothing was decided, since the id of its request was that of another command before.
    """

    status: Literal["accepted", "rejected", "conflict", "reused"]
    key: Key
    reasons: tuple[str, ...] = ()
    event: str | None = None
    position: int | None = None
    revision: int | None = None
    deleted: bool = False
    state: State | None = None


@dataclass(frozen=True)
class EventType:
    """The columns that an event sets, and whether it deletes its record (logically, by a tombstone)."""

    sets: tuple[str, ...] = ()
    deletes: bool = False


@dataclass(frozen=True)
class Contract:
    """What is published of an entity, if that differs from the write model, so that the write model can change.

    `entity` has the published columns; name and key are the write model's. `publish` maps a state of the write model to
    a published state. `expressions` do the same for whole frames: published columns over columns of the write model; a
    column without one is published unchanged. The oracle uses `publish`, the feed uses `expressions`.
    """

    entity: Entity
    publish: Callable[[State], State]
    expressions: Mapping[str, pl.Expr]


@dataclass(frozen=True)
class Trace:
    """A complete history: for each entity a change frame with states, and `event str` as the last column.

    Positions run from 1 without a gap, in commit order over all entities; `committed_at` never falls as they grow.
    `notes` has the assumptions about the data, for the report; `source` the rows of the table `source`.
    """

    frames: dict[str, pl.DataFrame]
    notes: tuple[str, ...] = ()
    source: tuple[Mapping[str, Any], ...] = ()

    @property
    def changes(self) -> int:
        """Return the number of changes of all entities."""
        return sum(frame.height for frame in self.frames.values())


@dataclass(frozen=True)
class Options:
    """A scenario's settings for a domain. None stands for the domain's default."""

    records: int | None = None
    days: int | None = None
    time_scale: float | None = None
    commands: int = 0
    rate: float = 1.0
    arrivals: Literal["poisson", "uniform", "bursty"] = "poisson"
    skew: float = 0.0
    deletes: float = 0.0
    invalid: float = 0.0
    change_at: float | None = None
    change_takes: float = 0.0


class Domain(Protocol):
    """A domain: its entities and events, the pure functions `decide` and `evolve`, and its workload or its trace."""

    @property
    def name(self) -> str:
        """Return the domain's name in a scenario."""

    @property
    def entities(self) -> Mapping[str, Entity]:
        """Return the entities by name, as the write model holds them."""

    @property
    def contracts(self) -> Mapping[str, Contract]:
        """Return the contracts of the entities that are not published unchanged, by entity name."""

    @property
    def events(self) -> Mapping[str, Mapping[str, EventType]]:
        """Return each entity's event types. A record's first event sets every column, so a fold needs no defaults."""

    @property
    def totals(self) -> Mapping[str, Totals]:
        """Return the running aggregates that a projection can keep, by name."""

    @property
    def queries(self) -> Sequence[Mapping[str, Any]]:
        """Return the domain's queries, each with the keys of a scenario's [[query]]."""

    @property
    def has_trace(self) -> bool:
        """Return whether it replays a history (`trace`) rather than draw commands (`workload`)."""

    def decide(self, view: View, command: Command) -> tuple[Event, ...] | Rejection:
        """Return the command's events, or a Rejection."""

    def evolve(self, state: State | None, event: Event) -> State:
        """Return the state after the event."""

    def workload(self, options: Options, rng: np.random.Generator) -> Iterator[Command]:
        """Yield commands drawn from `rng` in the order of their arrival, `at` in seconds on the run's clock."""

    def trace(self, options: Options) -> Trace:
        """Return the history that the domain replays."""


@runtime_checkable
class ChangesSeveral(Protocol):
    """A domain with commands that change several records at once, in one transaction."""

    def changes_too(self, command: Command) -> tuple[Named, ...]:
        """Return the records that a command may change beside its own; they are locked with it before it is decided."""


def changes_too(domain: Domain, command: Command) -> tuple[Named, ...]:
    """Return the records that a command may change beside its own; of most domains there are none."""
    return domain.changes_too(command) if isinstance(domain, ChangesSeveral) else ()


def evolve(state: State | None, event: Event) -> State:
    """Return the state with the columns that the event sets; the `evolve` of most domains."""
    return {**(state or {}), **event.fields}


def published(domain: Domain) -> dict[str, Entity]:
    """Return the published entities, whose columns projections, queries and running aggregates use."""
    return {
        name: domain.contracts[name].entity if name in domain.contracts else entity
        for name, entity in domain.entities.items()
    }
