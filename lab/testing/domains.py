"""What a domain promises: pure decisions, a seeded workload, states that have every column, queries that resolve."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

from lab.base import DTYPES, stream
from lab.domain.model import Command, Domain, Event, Options, Record, Rejection, changes_too, published
from lab.queries.resolve import resolve
from lab.scenario import QueryTable
from lab.testing.contracts import parametrized
from lab.verdict.oracle import Oracle

OPTIONS = Options(records=30, commands=300, rate=100.0, skew=0.8, deletes=0.05, invalid=0.05, days=1)
Promised = Callable[[Domain], None]


def names_are_told_apart(domain: Domain) -> None:
    assert domain.entities
    for name, entity in domain.entities.items():
        assert entity.name == name
        assert set(entity.columns.values()) <= set(DTYPES)
        assert domain.events[name], f"`{name}` has no events"
    for name, contract in domain.contracts.items():
        written = domain.entities[name]
        assert (contract.entity.name, contract.entity.key) == (name, written.key)
        assert set(contract.entity.columns) <= {*contract.expressions, *written.columns}


def a_records_first_event_sets_every_column(domain: Domain) -> None:
    for name, types in domain.events.items():
        assert set(next(iter(types.values())).sets) == set(domain.entities[name].columns)


def totals_and_queries_name_published_columns(domain: Domain) -> None:
    entities = published(domain)
    for totals in domain.totals.values():
        assert set(totals.columns) <= set(entities[totals.entity].columns)
    for words in domain.queries:
        _, problems = resolve(QueryTable.model_validate(words), entities, domain.name)
        assert problems == []


def the_same_seed_is_the_same_workload(domain: Domain) -> None:
    if domain.has_trace:
        return
    assert _commands(domain, 7) == _commands(domain, 7)
    assert _commands(domain, 7) != _commands(domain, 8)
    assert len(_commands(domain, 7)) == OPTIONS.commands


def commands_arrive_in_order(domain: Domain) -> None:
    if not domain.has_trace:
        arrivals = [command.at for command in _commands(domain, 7)]
        assert all(earlier <= later for earlier, later in pairwise([0.0, *arrivals]))


def decisions_are_pure_and_states_have_every_column(domain: Domain) -> None:
    """Deciding everything twice gives the same history; the oracle reads every column of every state."""
    if domain.has_trace:
        return
    one, other = (Oracle.of_commands(domain, _commands(domain, 7)) for _ in range(2))
    assert one.outcomes == other.outcomes
    assert one.outcomes["accepted"] > 0
    for name, frame in one.revisions.items():
        assert frame.equals(other.revisions[name])


def what_else_a_command_changes_is_told_before(domain: Domain) -> None:
    """A source of truth locks every record of a command before the command is decided."""
    if domain.has_trace:
        return
    model = _Everything(domain)
    for command in _commands(domain, 7):
        found = domain.decide(model, command)
        if isinstance(found, Rejection):
            continue
        own = (command.entity, command.key)
        assert {event.about or own for event in found} <= {own, *changes_too(domain, command)}
        for event in found:
            model.change(event.about or own, event)


def what_can_not_be_is_refused_with_a_reason(domain: Domain) -> None:
    if domain.has_trace:
        return
    model = _Nothing()
    refused = [
        found for command in _commands(domain, 7) if isinstance(found := domain.decide(model, command), Rejection)
    ]
    assert all(found.reasons and all(found.reasons) for found in refused)


def what_is_published_is_the_same_by_function_and_by_expressions(domain: Domain) -> None:
    written = _history(domain).written
    for name, contract in domain.contracts.items():
        states = written[name].select(list(domain.entities[name].columns))
        plain = [contract.publish(state) for state in states.iter_rows(named=True)]
        frame = states.with_columns(**contract.expressions).select(list(contract.entity.columns))
        assert frame.rows(named=True) == [{column: row[column] for column in frame.columns} for row in plain]


def a_trace_is_in_order_and_has_the_columns_of_its_entities(domain: Domain) -> None:
    if not domain.has_trace:
        return
    frames = domain.trace(OPTIONS).frames
    seen: list[tuple[int, float]] = []
    for name, frame in frames.items():
        assert list(frame.columns) == [*domain.entities[name].schema, "event"]
        assert set(frame["event"]) <= set(domain.events[name])
        seen += frame.select("position", "committed_at").rows()
    seen.sort()
    assert [position for position, _ in seen] == list(range(1, len(seen) + 1))
    assert all(earlier <= later for (_, earlier), (_, later) in pairwise(seen))


class _Everything:
    """The records as a domain's events make them."""

    def __init__(self, domain: Domain) -> None:
        self.domain, self.records = domain, dict[tuple[str, Any], Record]()

    def get(self, entity: str, key: Any) -> Record | None:
        """Return the record, if there is or was one."""
        return self.records.get((entity, key))

    def change(self, name: tuple[str, Any], event: Event) -> None:
        """Change a record by an event about it."""
        former, deletes = self.records.get(name), self.domain.events[name[0]][event.name].deletes
        state = self.domain.evolve(former.state if former else None, event)
        self.records[name] = Record(state, former.revision + 1 if former else 1, deletes)


class _Nothing:
    def get(self, entity: str, key: Any) -> None:
        """No record is there."""


def _commands(domain: Domain, seed: int) -> list[Command]:
    return list(domain.workload(OPTIONS, stream(seed, "workload")))


def _history(domain: Domain) -> Oracle:
    if domain.has_trace:
        return Oracle.of_trace(domain, domain.trace(OPTIONS).frames)
    return Oracle.of_commands(domain, _commands(domain, 7))


PROMISED: tuple[Promised, ...] = (
    names_are_told_apart,
    a_records_first_event_sets_every_column,
    totals_and_queries_name_published_columns,
    the_same_seed_is_the_same_workload,
    commands_arrive_in_order,
    decisions_are_pure_and_states_have_every_column,
    what_else_a_command_changes_is_told_before,
    what_can_not_be_is_refused_with_a_reason,
    what_is_published_is_the_same_by_function_and_by_expressions,
    a_trace_is_in_order_and_has_the_columns_of_its_entities,
)


def domain_contract(domain: Domain) -> Callable[..., None]:
    """Make a pytest function that tries every promise of a domain: `test_mine = domain_contract(MINE)`."""
    return parametrized(PROMISED, lambda check, _: check(domain), lambda check: check.__name__.replace("_", " "))
