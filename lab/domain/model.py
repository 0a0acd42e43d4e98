"""The business as a decider: commands in, events out, and how an event changes a state. Pure; no I/O.

One domain serves all three write models: the state-based ones store what `evolve` gives, the event-sourced
one stores the events. The pattern is Jérémie Chassaing's "functional event sourcing decider".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
import polars as pl

from lab.base import Entity, Key, Totals

State = dict[str, Any]

# Record, Event and Outcome are named tuples, not frozen dataclasses: each command makes some of each, and a frozen
# dataclass takes four times as long to make.


class Record(NamedTuple):
    """A record of the write model as it stands: its state, its revision (from 1), and whether it is deleted."""

    state: State
    revision: int
    deleted: bool = False


class View(Protocol):
    """The write model as a decision sees it: consistent, within the command's own transaction."""

    def get(self, entity: str, key: Key) -> Record | None:
        """The record, a deleted one included; None if there never was one."""


@dataclass(frozen=True)
class Command:
    """What somebody wants done to one record. `expected` is the revision it was decided on, if it matters."""

    entity: str
    name: str
    key: Key
    fields: Mapping[str, Any] = field(default_factory=dict)
    expected: int | None = None
    at: float = 0.0


class Event(NamedTuple):
    """What happened to one record: a name, and the columns that it sets."""

    name: str
    fields: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True)
class Rejection:
    """Why a command was not accepted, in words for the one who gave it."""

    reasons: tuple[str, ...]


class Outcome(NamedTuple):
    """What a command returns. Never void: accepted with the new state and a position to wait for, or why not."""

    status: Literal["accepted", "rejected", "conflict"]
    key: Key
    reasons: tuple[str, ...] = ()
    event: str | None = None
    position: int | None = None
    revision: int | None = None
    deleted: bool = False
    state: State | None = None


@dataclass(frozen=True)
class EventType:
    """The columns that an event sets, and whether it deletes its record (logically; nothing is ever removed)."""

    sets: tuple[str, ...] = ()
    deletes: bool = False


@dataclass(frozen=True)
class Contract:
    """What is published of an entity where that is not what the write model holds, so that the write model may change.

    `entity` has the published columns; name and key are the write model's. `publish` makes a published state of a
    state of the write model. `expressions` say the same for whole frames: a published column over columns of the write
    model; what they don't name is published as it is. The oracle goes by `publish`, the feed by `expressions`.
    """

    entity: Entity
    publish: Callable[[State], State]
    expressions: Mapping[str, pl.Expr]


@dataclass(frozen=True)
class Trace:
    """A history that is there already: for each entity a change frame with states, and `event str` as last column.

    Positions run from 1 without a gap, in commit order over all entities together; `committed_at` never
    falls as they grow. `notes` says what was assumed about the data, for the report.
    """

    frames: dict[str, pl.DataFrame]
    notes: tuple[str, ...] = ()

    @property
    def changes(self) -> int:
        """How many changes there are in all."""
        return sum(frame.height for frame in self.frames.values())


@dataclass(frozen=True)
class Options:
    """What a scenario says to a domain. `None` is "the domain's own default"."""

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
    """One business. `decide` and `evolve` are pure; the rest says what it is made of."""

    @property
    def name(self) -> str:
        """The scenario's word for it."""

    @property
    def entities(self) -> Mapping[str, Entity]:
        """What there is, by name, as the write model holds it."""

    @property
    def contracts(self) -> Mapping[str, Contract]:
        """What is published of an entity, for those that are not published as they are."""

    @property
    def events(self) -> Mapping[str, Mapping[str, EventType]]:
        """Each entity's events. A record's first event sets every column, so that a fold needs no defaults."""

    @property
    def totals(self) -> Mapping[str, Totals]:
        """The running aggregates that a projection can keep, by name."""

    @property
    def queries(self) -> Sequence[Mapping[str, Any]]:
        """The domain's own queries, in the words of a scenario's [[query]]."""

    @property
    def has_trace(self) -> bool:
        """Whether its history is there already (a trace), or is made by commands (a workload)."""

    def decide(self, view: View, command: Command) -> tuple[Event, ...] | Rejection:
        """The command's events, or why it is refused."""

    def evolve(self, state: State | None, event: Event) -> State:
        """The state after the event."""

    def workload(self, options: Options, rng: np.random.Generator) -> Iterator[Command]:
        """Seeded commands in the order of their arrival, `at` in seconds on the run's clock."""

    def trace(self, options: Options) -> Trace:
        """The history that the domain ships."""


def evolve(state: State | None, event: Event) -> State:
    """The fold of an event that sets columns: what most domains' `evolve` is."""
    return {**(state or {}), **event.fields}


def published(domain: Domain) -> dict[str, Entity]:
    """The entities as they are published: what projections, queries and running aggregates speak of."""
    return {
        name: domain.contracts[name].entity if name in domain.contracts else entity
        for name, entity in domain.entities.items()
    }
