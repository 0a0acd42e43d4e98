"""Check combinations of a scenario's keys; each problem has its place and a way out."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from lab.base import TRUTH, LabError, MissingDriver, Problem, nearest
from lab.channel import CHANNELS, NO_LINK
from lab.domain.model import ChangesSeveral, Domain
from lab.projection.guards import guard_class
from lab.queries.kinds import KINDS
from lab.queries.model import Query
from lab.scenario import ChannelTable, ProjectionTable, Scenario
from lab.servers import server_of
from lab.stores import STORES, Store, store_class
from lab.stores.kept import KEPT
from lab.truth import ENGINES, Truth, truth_class
from lab.wiring import reserved

RESERVED = {
    TRUTH: "is reserved for the source of truth",
    "service": "is what the service itself is called in its folder",
}


def names(scenario: Scenario, file: str) -> list[Problem]:
    """Refuse projections called `truth` or `service`, and two whose names differ by case alone.

    The names are reserved in tables, figures and file names, and not every file system tells cases apart.
    """
    problems, seen = list[Problem](), dict[str, str]()
    for table in scenario.projection:
        where, name = f"{file}: projection.{table.name}.name", table.name.lower()
        if name in RESERVED:
            what = f"`{name}` {RESERVED[name]}"
            problems.append(Problem(where, what, "call the projection something else"))
        elif (other := seen.setdefault(name, table.name)) != table.name:
            what = f"differs from `{other}` by case alone, and their folders may be one"
            problems.append(Problem(where, what, "call one of them something else"))
    return problems


def unknown_stores(scenario: Scenario, file: str) -> list[Problem]:
    problems = []
    for table in scenario.projection:
        where = f"{file}: projection.{table.name}.store"
        if table.store not in STORES:
            problems.append(STORES.unknown(table.store, where))
        else:
            try:
                store_class(table.store)
            except LabError as error:
                problems.append(Problem(where, str(error)))
    return problems


def workload(scenario: Scenario, business: Domain, file: str) -> list[Problem]:
    commands, records = scenario.workload.commands, scenario.domain.records
    where = f"{file}: workload.commands"
    if business.has_trace and commands:
        what = f"`{business.name}` replays a history of its own and takes no commands"
        return [Problem(where, what, "leave [workload] out")]
    if not business.has_trace and not commands:
        what = f"`{business.name}` is made by commands, and there are none"
        return [Problem(where, what, "for example commands = 100_000")]
    if not business.has_trace and records and records > commands:
        what = f"{records:,} records can't be made by {commands:,} commands"
        return [Problem(f"{file}: domain.records", what, "raise workload.commands")]
    return []


def change(scenario: Scenario, business: Domain, file: str) -> list[Problem]:
    """Refuse a change of the write model for a domain whose write model doesn't change."""
    if scenario.domain.change_at is None or business.contracts:
        return []
    what = f"the write model of `{business.name}` doesn't change"
    return [Problem(f"{file}: domain.change_at", what, "leave it out, or take the domain `marketing`")]


def together(scenario: Scenario, business: Domain, file: str) -> list[Problem]:
    """Refuse simulated concurrent writers for commands that change several records: each change has its own there."""
    if scenario.writers is None or not isinstance(business, ChangesSeveral):
        return []
    what = f"simulated writers commit one change at a time, and commands of `{business.name}` change several records"
    return [Problem(f"{file}: writers", what, "leave [writers] out, or run it on a server with `lab run --live`")]


def engine(scenario: Scenario, file: str) -> list[Problem]:
    """Refuse an engine that is unknown, or whose driver is missing."""
    table, where = scenario.truth, f"{file}: truth.engine"
    if table.engine not in ENGINES:
        return [Problem(where, f"no engine is called `{table.engine}`", nearest(table.engine, ENGINES))]
    try:
        truth_class(table.engine, table.model)
    except MissingDriver as error:
        return [Problem(where, str(error))]
    return []


def broker(scenario: Scenario, file: str) -> list[Problem]:
    """Refuse a broker that is unknown, or whose driver is missing, and one on the simulated clock."""
    if scenario.channel is None:
        return []
    name, where = scenario.channel.broker, f"{file}: channel.broker"
    problems = _links(scenario.channel, file)
    if name is None:
        return problems
    if name not in CHANNELS:
        return [CHANNELS.unknown(name, where)]
    if name == "memory":
        return [Problem(where, "messages are kept in memory without a broker", "leave `broker` out")]
    if scenario.time.mode != "live":
        what = f"a broker delivers when it does, and on the simulated clock `{name}` has no time for that"
        return [Problem(where, what, "run it with --live, or leave `broker` out")]
    try:
        _ = CHANNELS[name]
    except ModuleNotFoundError as error:
        extra = server_of(name) or name
        return [Problem(where, f"{error}", f"get it with: pip install 'polyglot-lab[{extra}]'")]
    return problems


def _links(channel: ChannelTable, file: str) -> list[Problem]:
    """Refuse a link that fails where there is none, or none that the lab could be in between of."""
    problems = []
    for number, outage in enumerate(channel.outages, 1):
        where = f"{file}: channel.outages.{number}.link"
        if outage.link is None:
            continue
        if channel.broker is None:
            problems.append(Problem(where, "without a broker there is no link that could fail", "leave it out"))
        elif what := NO_LINK.get(channel.broker):
            problems.append(Problem(where, what, "leave it out, or take another broker"))
        elif outage.loses:
            problems.append(Problem(where, "a link that fails loses nothing: messages are sent again", "loses = false"))
    return problems


def names_in_truth(scenario: Scenario, business: Domain, file: str) -> list[Problem]:
    """Refuse names that the engine of the source of truth has for itself, or can't keep whole."""
    found = _truth(scenario)
    return [] if found is None else reserved.in_truth(found, business.entities.values(), f"{file}: truth.engine")


def _truth(scenario: Scenario) -> type[Truth] | None:
    """The class of the source of truth; None if its engine is unknown or not installed, which `engine` reports."""
    try:
        return truth_class(scenario.truth.engine, scenario.truth.model)
    except LabError:
        return None


def indexed(scenario: Scenario, file: str) -> list[Problem]:
    """Refuse indexes for readers at a source of truth that can't keep them, or that answers no reader."""
    table = scenario.truth
    found = _truth(scenario)
    if not table.indexed or found is None or found.indexable:
        return []
    if table.model == "events":
        what, way_out = "events answer no query, so an index would help nobody", 'set truth.model to "history"'
    else:
        why = "can't overwrite what is indexed" if table.model == "snapshot" else "has no index that helps readers"
        what, way_out = f"`{table.engine}` {why}", 'set truth.engine to "sqlite"'
    return [Problem(f"{file}: truth.indexed", what, f"{way_out}, or leave it out")]


def usable(store: str) -> type[Store] | None:
    """Return the store's class; None if it is unknown or not installed, which `unknown_stores` reports."""
    try:
        return store_class(store)
    except LabError:
        return None


def engines(scenario: Scenario, query: str) -> set[str]:
    """Return the engines that may be asked this query, by the first part of their stores' names."""
    asked = {table.store for table in scenario.projection if table.queries is None or query in table.queries}
    truth = {scenario.truth.engine} if scenario.measure.truth else set[str]()
    return {store.partition(".")[0] for store in asked if (found := usable(store)) and "sql" not in found.gaps} | truth


def holds(table: ProjectionTable, keeps: str, where: str) -> list[Problem]:
    """Refuse what the store can't keep."""
    store = usable(table.store)
    if store is None or keeps in store.holds or (keeps == "totals" and store.capabilities.atomic != "batch"):
        return []
    return [Problem(f"{where}.keeps", f"`{table.store}` can't keep {keeps}", f"valid: {', '.join(store.holds)}")]


def capabilities(table: ProjectionTable, keeps: str, where: str) -> list[Problem]:
    """Refuse a store that lacks a promise on which the projection depends."""
    store = usable(table.store)
    if store is None:
        return []
    problems, promised = [], store.capabilities
    if promised.atomic != "batch":
        together = "item by item" if promised.atomic == "item" else "a large batch in several transactions"
        apart = f"`{table.store}` writes {together}, so a crash can separate"
        if keeps == "totals":
            what, way_out = f"{apart} an increment from the checkpoint: it would count twice", 'keeps = "records"'
            problems.append(Problem(f"{where}.keeps", what, way_out))
        if table.guard == "dedupe":
            what = f"{apart} a row from the id that `dedupe` remembers"
            problems.append(Problem(f"{where}.guard", what, 'guard = "revision"'))
    if promised.guards and table.guard == "none":
        what = f"`{table.store}` refuses older revisions itself, so the last arrival doesn't win"
        problems.append(Problem(f"{where}.guard", what, 'guard = "revision"'))
    if table.refresh is not None and promised.refresh is None:
        what = f"`{table.store}` shows a write at once: it has no refresh"
        problems.append(Problem(f"{where}.refresh", what, "leave it out; `lab stores` says which stores have one"))
    return problems


def feed(table: ProjectionTable, keeps: str, scenario: Scenario, where: str) -> list[Problem]:
    """Refuse a projection that needs revisions or messages which its feed doesn't have."""
    problems = []
    way_out = 'set truth.model to "history" or "events"'
    if scenario.truth.model == "snapshot":
        missing = "a snapshot feed never shows a revision that has been overwritten"
        kept = KEPT[keeps]
        guard = guard_class(table.guard, kept)
        if guard.needs_every_revision:
            what = f"`{table.guard}` waits for every revision, and {missing}"
            problems.append(Problem(f"{where}.guard", what, way_out))
        elif kept.adds and not guard.remembers_contributions:
            what = f"adding up changes under guard `{table.guard}` needs every revision, and {missing}"
            problems.append(Problem(f"{where}.guard", what, f'{way_out}, or guard to "revision"'))
        if kept.every_revision:
            problems.append(Problem(f"{where}.keeps", f"it keeps every revision, and {missing}", way_out))
    if table.subscribe == "channel" and scenario.channel is None:
        what = "listens to a channel, and the scenario has none"
        problems.append(Problem(f"{where}.subscribe", what, "add a [channel] table, or subscribe by catch-up"))
    return problems


def gaps(table: ProjectionTable, scenario: Scenario, where: str) -> list[Problem]:
    """Refuse strategies for gaps that can't occur, or that can't be recognised."""
    strategy = table.gaps or scenario.catch_up.gaps
    place = f"{where}.gaps" if table.gaps else f"{where.partition(':')[0]}: catch_up.gaps"
    if strategy == "naive":
        return []
    if scenario.writers is None:
        what = f"`{strategy}` is for writers that commit side by side, and here they take turns"
        return [Problem(place, what, "add a [writers] table")]
    found = _truth(scenario)
    if found is not None and (reason := found.refusals.get(strategy)) is not None:
        return [Problem(place, reason, 'use "hold" or "serialise", or set truth.engine to "postgres"')]
    if strategy == "xmin" and (refused := _xmin(scenario)) is not None:
        return [Problem(place, *refused)]
    if strategy == "hold" and scenario.truth.model == "snapshot":
        what = "`hold` waits for missing positions, and on a snapshot feed each overwritten revision is one"
        return [Problem(place, what, 'use "horizon", or set truth.model to "history" or "events"')]
    return []


def _xmin(scenario: Scenario) -> tuple[str, str] | None:
    """Why a reader can't go by ids of transactions, and the way out; None if it can."""
    found = _truth(scenario)
    if found is not None and "xmin" not in found.strategies:
        what = f"`xmin` goes by the ids of transactions, and `{scenario.truth.engine}` shows none"
        return what, 'set truth.engine to "postgres", or use "horizon"'
    if scenario.time.mode == "live":
        return None
    what = "`xmin` asks the engine for the transactions that are open, and on the simulated clock there are none"
    return what, 'use "horizon"'


def rebuild(table: ProjectionTable, where: str) -> list[Problem]:
    if table.rebuild is not None and table.subscribe == "channel":
        what = "messages that have gone by don't come again: there is nothing to rebuild it from"
        return [Problem(f"{where}.rebuild", what, 'subscribe = "both" or "catch-up"')]
    return []


def query_names(scenario: Scenario, queries: Sequence[Query], file: str) -> list[Problem]:
    """Refuse levels and weights of queries that don't exist."""
    known = {query.name for query in queries} | {table.name for table in scenario.query}
    tables = {"levels.queries": scenario.levels.queries, "levels.lag": scenario.levels.lag, "weights": scenario.weights}
    return [
        Problem(f"{file}: {table}.{name}", f"no query is called `{name}`", nearest(name, known))
        for table, named in tables.items()
        for name in named
        if name not in known
    ]


def unanswered(
    queries: Sequence[Query], answered: Collection[str], lacks: Mapping[str, str], file: str
) -> list[Problem]:
    """Refuse declared queries that no projection can answer; `answered` has the others' names, `lacks` says why."""
    return [
        Problem(
            f"{file}: query.{query.name}",
            ": ".join(filter(None, (f"no projection can answer this `{query.kind}`", lacks.get(query.name)))),
            'one that keeps = "revisions" can' if KINDS[query.kind].past else "see `lab stores`",
        )
        for query in queries
        if query.name not in answered
    ]
