"""Turn a scenario into objects: domain, source of truth, projections, queries.

All mistakes of a scenario are reported at once: those of its keys and types (`lab.scenario`) and those of its names and
combinations (here).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from lab.base import BadInput, Problem, nearest
from lab.domain import DOMAINS, domain
from lab.domain.model import Domain, Options, published
from lab.feed.reader import ChangeReader
from lab.feed.source import TruthReader
from lab.identity import Identity, Trait, confirm
from lab.place import FolderPlace
from lab.projection.guard import Guard
from lab.projection.guards import former_columns, guard_class, guarded_layout
from lab.projection.projector import Projector
from lab.projection.tombstones import retained
from lab.queries.kinds import KINDS
from lab.queries.model import Query
from lab.queries.resolve import resolve
from lab.running.lane import Pace
from lab.running.service_times import RecordedWork, together
from lab.running.trouble import StoreFaults, faulty
from lab.scenario import FaultsTable, ProjectionTable, QueryTable, Scenario, ServiceModel, Source, refusal, refuse
from lab.stores import Layout, Store, store_class
from lab.stores.kept import KEPT
from lab.truth import Truth, join_truth, open_beside, open_truth, truth_identity
from lab.truth.outlets import FeedOutlets
from lab.wiring import chance, choices, claims, effort, feeds, meaning, pages, partitions, replicas, reserved
from lab.wiring.every_store import expanded
from lab.wiring.identities import digest, truth_traits


@dataclass(frozen=True)
class ProjectionPlan:
    """Everything that is needed to create one projection."""

    table: ProjectionTable
    layout: Layout
    queries: tuple[Query, ...]
    pace: Pace
    model: ServiceModel
    # What its times are drawn from, by source, if they are drawn from a measured run.
    recorded: Mapping[str, RecordedWork] | None
    feed: str
    decoder: str
    gaps: str
    gap_limit: float
    faults: FaultsTable
    # Why it isn't asked a query though its store answers others of that class, by the query's name.
    lacks: Mapping[str, str]

    @property
    def name(self) -> str:
        """Return the projection's name in the scenario."""
        return self.table.name

    @property
    def guard(self) -> type[Guard]:
        """What its guard is like."""
        return guard_class(self.table.guard, self.layout.kept)

    @property
    def before(self) -> tuple[str, ...]:
        """Return the columns whose before-images it needs."""
        return former_columns(self.table.guard, self.layout)

    @property
    def subsumes(self) -> bool:
        """Return whether a later revision replaces an earlier one completely."""
        return self.layout.kept.replaces or self.guard.remembers_contributions

    @property
    def by_messages(self) -> bool:
        """Return whether it listens to the channel."""
        return self.table.subscribe != "catch-up"

    @property
    def processes(self) -> tuple[str, ...]:
        """Return the names of its processes in a live run: its own, or one for each member that shares partitions."""
        if not self.layout.partitions:
            return (self.name,)
        members = range(1, (self.table.members or min(2, self.layout.partitions)) + 1)
        return tuple(f"{self.name}.{number}" for number in members)

    def store(self, place: FolderPlace, faults: StoreFaults | None = None) -> Store:
        """Create its store, not yet open, wrapped in these faults and the scenario's order of data and checkpoint."""
        return faulty(store_class(self.table.store)(place, self.layout), faults, self.table.checkpoint)

    def projector(self, place: FolderPlace, faults: StoreFaults | None = None) -> Projector:
        """Create its projector on an open store."""
        return Projector(self.store(place, faults), self.table.guard, self.table.hold, retained(self.table.tombstones))

    def subscription(self, truth: TruthReader, before: bool = True) -> ChangeReader:
        """Create its reader of the source of truth; a rebuild reads last revisions and needs no before-images."""
        totals = self.layout.totals
        return ChangeReader(truth, self.before if before else (), totals.columns if totals else None)


@dataclass(frozen=True)
class Plan:
    """A valid scenario with the objects that its names refer to."""

    source: Source
    scenario: Scenario
    domain: Domain
    options: Options
    projections: tuple[ProjectionPlan, ...]
    queries: tuple[Query, ...] = field(default=())

    @property
    def recorded(self) -> dict[str, RecordedWork]:
        """Return the work that modelled times are drawn from, by projection."""
        return {item.name: together(item.recorded) for item in self.projections if item.recorded}

    def truth(self, place: FolderPlace, epoch: str | None = None) -> Truth:
        """Open a source of truth of the scenario's write model; with an epoch only the one that has it.

        Raises BadInput for a place that holds another one, SourceLost for one whose data are gone.
        """
        table = self.scenario.truth
        rest = self.domain, table.durability, self.truth_traits, epoch, table.indexed, self.outlets
        return open_truth(table.engine, table.model, place, *rest)

    def truth_beside(self, place: FolderPlace, gaps: str = "naive") -> Truth | None:
        """Open the source of truth read-only while others write; None if there is nothing to read yet."""
        table = self.scenario.truth
        return open_beside(table.engine, table.model, place, self.domain, table.durability, gaps)

    def truth_joined(self, place: FolderPlace) -> Truth:
        """Open the source of truth for writing beside other writers. Raises BadInput and SourceLost."""
        table = self.scenario.truth
        # Beside a reader that goes by ids of transactions, writers take positions as those do for whom it is made.
        wanted = {item.gaps for item in self.projections}
        gaps = "xmin" if "xmin" in wanted else "serialise" if wanted == {"serialise"} else self.scenario.catch_up.gaps
        return join_truth(table.engine, table.model, place, self.domain, table.durability, gaps, self.outlets)

    @property
    def outlets(self) -> FeedOutlets:
        """Return what the source of truth does for those of its readers that don't poll alone."""
        return FeedOutlets.of((item.name, item.feed) for item in self.projections)

    def confirm_truth(self, place: FolderPlace) -> Identity | None:
        """Return whose source of truth a place holds; None if it holds nothing. Raises BadInput as `truth` does."""
        table = self.scenario.truth
        return confirm(place, truth_identity(table.engine, table.model, self.domain, self.truth_traits))

    @cached_property
    def truth_traits(self) -> dict[str, Trait]:
        """Return the settings that its source of truth can't change after it was created; own data are read once."""
        return truth_traits(self.scenario, self.domain)

    @cached_property
    def workload_digest(self) -> str:
        """Return what names the commands that the scenario draws: a number among them is the number of one command."""
        return digest(self.truth_traits)


def plan(source: Source) -> Plan:
    """Plan a run. Raises BadInput with every problem of the scenario."""
    scenario, problems = source.validate()
    if scenario is None:
        raise refusal(problems)
    scenario = expanded(claims.repeated(scenario))
    file = source.path.name
    scenario, wrong = chance.with_values(scenario, source.path.parent, file)
    problems += wrong
    problems += meaning.engine(scenario, file) + meaning.names(scenario, file) + meaning.indexed(scenario, file)
    problems += meaning.broker(scenario, file) + meaning.unknown_stores(scenario, file)
    if scenario.domain.name not in DOMAINS:
        problems.append(DOMAINS.unknown(scenario.domain.name, f"{file}: domain.name"))
        for table in scenario.projection:
            problems += meaning.feed(table, table.keeps or "records", scenario, f"{file}: projection.{table.name}")
        raise refusal(problems)
    try:
        business = domain(scenario.domain.name, scenario.domain, source.path)
    except BadInput as error:
        raise refusal([*problems, *error.problems]) from None
    problems += reserved.names(business, file)
    problems += meaning.names_in_truth(scenario, business, file)
    problems += meaning.workload(scenario, business, file)
    problems += meaning.change(scenario, business, file) + meaning.together(scenario, business, file)
    queries, explicit, wrong = _queries(scenario, business, file)
    problems += wrong
    problems += meaning.query_names(scenario, queries, file)
    projections: list[ProjectionPlan] = []
    runs = chance.RecordedRuns(source.path.parent)
    for table in scenario.projection:
        made, wrong = _projection(table, scenario, business, queries, explicit, file, runs)
        problems += wrong
        projections += [made] if made else []
    asked = {projection.name: projection.queries for projection in projections}
    problems += claims.problems(scenario, business, queries, asked, file)
    if explicit and not problems:
        answered = {query.name for projection in projections for query in projection.queries}
        lacks = {name: why for projection in projections for name, why in projection.lacks.items()}
        problems += meaning.unanswered(queries, answered, lacks, file)
    for more in (replicas, pages):
        problems += more.problems(scenario, {item.name: item for item in projections}, file)
    refuse(partitions.causes(problems))
    found = Plan(source, scenario, business, _options(scenario), tuple(projections), queries)
    if not business.has_trace:
        commands = scenario.workload.commands
        refuse(effort.problems(scenario, commands, commands / scenario.workload.rate, file, found.recorded))
    return found


def _options(scenario: Scenario) -> Options:
    business, work = scenario.domain, scenario.workload
    return Options(
        business.records, business.days, business.time_scale,
        work.commands, work.rate, work.arrivals, work.skew, work.deletes, work.invalid,
        business.change_at, business.change_takes,
    )  # fmt: skip


def _queries(scenario: Scenario, business: Domain, file: str) -> tuple[tuple[Query, ...], bool, list[Problem]]:
    """Resolve the scenario's queries, or the domain's if it declares none; return whether it does, and problems too."""
    explicit = bool(scenario.query)
    tables: Sequence[QueryTable] = scenario.query or [QueryTable.model_validate(item) for item in business.queries]
    entities = published(business)
    resolved = [resolve(table, entities, file, meaning.engines(scenario, table.name)) for table in tables]
    problems = [problem for _, wrong in resolved for problem in wrong]
    if explicit and scenario.truth.model == "snapshot":
        problems += [
            Problem(
                f"{file}: query.{query.name}.kind",
                f"`{query.kind}` needs every revision, and a snapshot feed never shows one that has been overwritten",
                'set truth.model to "history" or "events"',
            )
            for query, _ in resolved
            if query and KINDS[query.kind].past
        ]
    return pages.weighted(scenario, [query for query, _ in resolved if query]), explicit, problems


def _projection(
    table: ProjectionTable,
    scenario: Scenario,
    business: Domain,
    queries: tuple[Query, ...],
    explicit: bool,
    file: str,
    runs: chance.RecordedRuns,
) -> tuple[ProjectionPlan | None, list[Problem]]:
    where = f"{file}: projection.{table.name}"
    problems: list[Problem] = []
    keeps = table.keeps or choices.kept(scenario, queries, explicit, table)
    totals = choices.totals(table, business, where, problems) if KEPT[keeps].adds else None
    entities = choices.entities(table, business, totals, where, problems)
    problems += meaning.holds(table, keeps, where)
    problems += meaning.capabilities(table, keeps, where)
    problems += meaning.feed(table, keeps, scenario, where)
    problems += meaning.gaps(table, scenario, where)
    problems += feeds.problems(table, keeps, scenario, where)
    problems += meaning.rebuild(table, where)
    problems += partitions.problems(table, keeps, feeds.kind(table, scenario), entities.values(), scenario, where)
    known = {query.name for query in queries}
    for name in table.queries or ():
        if name not in known:
            problems.append(Problem(f"{where}.queries", f"no query is called `{name}`", nearest(name, known)))
    store = meaning.usable(table.store)
    if store is not None:
        problems += reserved.in_store(store, entities.values(), where)
    model = table.model or scenario.time.model
    recorded = None
    if scenario.time.service == "modelled" and model.run is not None:
        place = f"{where}.model" if table.model else f"{file}: time.model"
        recorded, wrong = runs.work(model.run, model.projection, table.name, place)
        problems += wrong
    if problems or store is None:
        return None, problems
    layout = guarded_layout(table.guard, keeps, entities, totals, scenario.truth.durability)
    refresh = table.refresh if table.refresh is not None else store.capabilities.refresh or 0.0
    layout = replace(layout, partitions=table.partitions or 0, refresh=refresh)
    asked = tuple(
        query
        for query in queries
        if (table.queries is None or query.name in table.queries) and store.can_answer(query, layout)
    )
    lacks = {query.name: why for query in queries if (why := store.lacks(query, layout))}
    polls = table.subscribe != "channel"
    capacity = scenario.channel.capacity if scenario.channel else 1
    pace = Pace(table.batch, table.linger, table.every or scenario.catch_up.every, polls, capacity)
    gap_limit = table.gap_limit or scenario.catch_up.gap_limit
    fed = feeds.kind(table, scenario), feeds.decoder(table, scenario), feeds.strategy(table, scenario)
    rest = gap_limit, table.faults or scenario.faults, lacks
    return ProjectionPlan(table, layout, asked, pace, model, recorded, *fed, *rest), []
