"""The tables of a scenario: keys, types, ranges and defaults. Unknown keys and loose types are refused."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from lab.base import INT_MAX
from lab.scenario.chance import Delay, ServiceModel
from lab.scenario.faults import FaultsTable, RebuildTable
from lab.scenario.limits import (
    CLAIMS_MAX,
    COLUMNS_MAX,
    COUNT_MAX,
    ENTITIES_MAX,
    INTERVAL_MIN,
    PAGES_MAX,
    PARTITIONS_MAX,
    PERIODS_MAX,
    PROJECTIONS_MAX,
    QUERIES_MAX,
    REPEAT_MAX,
    STATEMENT_MAX,
)
from lab.scenario.own_data import EntityTable
from lab.scenario.pages import PageTable
from lab.scenario.replicas import ReadersTable, ReplicasTable
from lab.scenario.values import (
    Asked,
    FileName,
    Interval,
    Level,
    Name,
    Probability,
    Ratio,
    ScenarioTable,
    Seconds,
    Set,
    Word,
    Words,
    is_whole,
)
from lab.scenario.vary import VARIED_MAX, VaryTable

# How a projection gets at what is committed; the names are those of `lab.truth.outlets`.
FeedKind = Literal["poll", "notify", "outbox", "log"]
LogDecoderName = Literal["pgoutput", "wal2json"]
GapStrategy = Literal["naive", "serialise", "horizon", "hold", "xmin"]
# Whether the checkpoint is committed with the data or in a transaction of its own, so a crash can separate the two.
CheckpointOrder = Literal["with-data", "after-data", "before-data"]


class DomainTable(ScenarioTable):
    """Which domain, and how many records, days or seconds of it."""

    name: Word
    records: int | None = Field(None, ge=1, le=COUNT_MAX)
    days: int | None = Field(None, ge=1, le=1_000_000)
    time_scale: Ratio | None = None
    change_at: Seconds | None = None
    change_takes: Seconds = 1.0
    entity: tuple[EntityTable, ...] = Field((), strict=False, max_length=ENTITIES_MAX)


class WorkloadTable(ScenarioTable):
    """The commands: how many, how fast, on which records, and the shares of deletes and invalid ones."""

    commands: int = Field(0, ge=0, le=COUNT_MAX)
    rate: Ratio = 1_000.0
    arrivals: Literal["poisson", "uniform", "bursty"] = "poisson"
    skew: float = Field(0.0, ge=0.0, le=5.0)
    deletes: Probability = 0.0
    invalid: Probability = 0.0


class TruthTable(ScenarioTable):
    """The source of truth: its write model, its engine, how durable a commit is, and whether readers have indexes."""

    model: Literal["snapshot", "history", "events"] = "snapshot"
    engine: Word = "sqlite"
    durability: Literal["full", "normal"] = "normal"
    indexed: bool = False


class CatchUpTable(ScenarioTable):
    """The catch-up subscription: how it is fed, the interval between polls, the page size, the strategy for gaps."""

    feed: FeedKind = "poll"
    decoder: LogDecoderName = "pgoutput"
    every: Interval = 1.0
    page: int = Field(10_000, ge=1, le=1_000_000)
    gaps: GapStrategy = "naive"
    gap_limit: Interval = 1.0


class Reorder(ScenarioTable):
    """A share of the messages takes a detour, and later ones overtake them."""

    share: Probability = 0.0
    extra: Delay = Delay()


class Sleep(ScenarioTable):
    """A share of the writers takes a position and then sleeps before the commit."""

    share: Probability = 0.0
    lasts: Delay = Delay()


class WritersTable(ScenarioTable):
    """Concurrent transactions: a position is taken at the start of each, and the commit comes `hold` later."""

    count: int = Field(8, ge=1, le=10_000)
    hold: Delay = Delay()
    sleep: Sleep = Sleep()
    abort: Probability = 0.0


class Outage(ScenarioTable):
    """The channel is cut off: messages wait until it is back, or are lost; or the link to a real broker fails."""

    at: Seconds
    lasts: Seconds
    loses: bool = False
    link: Literal["cut", "hole"] | None = None


class ChannelFaults(ScenarioTable):
    """What a channel does to messages. Every fault is zero by default."""

    delay: Delay = Delay()
    duplicate: Probability = 0.0
    lose: Probability = 0.0
    reorder: Reorder = Reorder()
    ordered_by_key: bool = False


class ChannelTable(ChannelFaults):
    """Asynchronous publishing over messages. Every fault is zero by default."""

    broker: Word | None = None
    draws: Literal["each", "shared"] = "each"
    outages: tuple[Outage, ...] = Field((), strict=False, max_length=PERIODS_MAX)
    capacity: int = Field(1_000_000, ge=1, le=COUNT_MAX)


class TimeTable(ScenarioTable):
    """On which clock the scenario runs; on the simulated one, whether a store's time is measured or modelled."""

    mode: Literal["simulated", "live"] = "simulated"
    service: Literal["measured", "modelled"] = "measured"
    model: ServiceModel = ServiceModel()


class TombstonesTable(ScenarioTable):
    """For how long tombstones are kept: so many seconds after the delete, or so many of them."""

    seconds: Seconds | None = None
    rows: int | None = Field(None, ge=0, le=COUNT_MAX)


class ProjectionTable(ScenarioTable):
    """One projection: what it keeps in which store, how it is fed, and which verdict is expected."""

    name: FileName
    store: Word
    keeps: Literal["records", "revisions", "totals"] | None = None
    totals: Word | None = None
    entities: Set | None = None
    primary_key: dict[Word, Set] = Field(default_factory=dict, max_length=ENTITIES_MAX)
    queries: Asked | None = None
    guard: Literal["none", "dedupe", "revision", "ordered"] = "revision"
    subscribe: Literal["catch-up", "channel", "both"] = "both"
    batch: int = Field(1_000, ge=1, le=1_000_000)
    linger: Seconds = 0.0
    atomic: Literal["batch", "transaction"] = "batch"
    tombstones: TombstonesTable | None = None
    refresh: Seconds | None = None
    feed: FeedKind | None = None
    decoder: LogDecoderName | None = None
    every: Interval | None = None
    model: ServiceModel | None = None
    hold: int = Field(1_000_000, ge=1, le=COUNT_MAX)
    partitions: int | None = Field(None, ge=2, le=PARTITIONS_MAX)
    members: int | None = Field(None, ge=1, le=PARTITIONS_MAX)
    kills: tuple[Seconds, ...] = Field((), strict=False, max_length=PERIODS_MAX)
    freezes: tuple[Seconds, ...] = Field((), strict=False, max_length=PERIODS_MAX)
    checkpoint: CheckpointOrder = "with-data"
    gaps: GapStrategy | None = None
    gap_limit: Interval | None = None
    faults: FaultsTable | None = None
    rebuild: RebuildTable | None = None
    expect: Literal["pass", "fail", "unknown"] = "pass"


class QueryTable(ScenarioTable):
    """One query, independent of the store that answers it."""

    name: Name
    kind: Word
    entity: Word
    where: dict[Word, Any] = Field(default_factory=dict, max_length=COLUMNS_MAX)
    order_by: Word | None = None
    descending: bool = False
    limit: int | None = Field(None, ge=1, le=COUNT_MAX)
    count: int = Field(20, ge=1, le=1_000)
    group_by: Words = ()
    sum: Words = ()
    on: Word | None = None
    to: Word | None = None
    take: Words = ()
    walk: Word = "below"
    depth: int = Field(2, ge=1, le=64)
    words: int = Field(1, ge=1, le=10)
    sql: str | None = Field(None, max_length=STATEMENT_MAX)
    parameters: Words = ()
    weight: Ratio = 1.0


class MeasureTable(ScenarioTable):
    """How to measure queries: samples, blocks, warm-up, time budgets for each query, what is queried and tried."""

    samples: int = Field(100, ge=1, le=100_000)
    blocks: int = Field(4, ge=0, le=100, multiple_of=2)
    warm_up: int = Field(3, ge=0, le=1_000)
    budget: Annotated[float, Field(ge=INTERVAL_MIN, le=3_600.0)] = 1.0
    limit: Annotated[float, Field(ge=INTERVAL_MIN, le=86_400.0)] = 3.0
    rebuild: bool = True
    truth: bool = True
    trials: bool = True


class LevelsTable(ScenarioTable):
    """Service levels for advice: seconds, bytes, a share, and the number of engines beside the source of truth's."""

    lag_p99: Level | None = None
    lag: dict[Word, Level] = Field(default_factory=dict, max_length=QUERIES_MAX)
    rebuild: Level | None = None
    query_p99: Level | None = None
    queries: dict[Word, Level] = Field(default_factory=dict, max_length=QUERIES_MAX)
    disk_bytes: int | None = Field(None, ge=0, le=INT_MAX)
    engines: int | None = Field(None, ge=0, le=PROJECTIONS_MAX)
    truth_reads: Probability | None = None


class AdviceTable(ScenarioTable):
    """Which query times advice takes, how often queries are asked, and what more projections have to gain.

    `gain` is the share of the weighted query time below which a gain counts as none. `worth` is how many times quicker
    each projection and each engine more has to make it, for the best bargain.
    """

    queries: Literal["hot", "cold"] = "hot"
    reads_per_second: Ratio | None = None
    gain: float = Field(0.1, ge=0.0, lt=1.0)
    worth: float = Field(2.0, gt=1.0, le=1_000.0)


class ClaimTable(ScenarioTable):
    """What a run should show, in a comparison of its figures: `that`, its name, why it should be so, repetitions."""

    that: str = Field(min_length=1, max_length=STATEMENT_MAX)
    name: Name | None = None
    why: str | None = Field(None, max_length=STATEMENT_MAX)
    repeat: int | None = Field(None, ge=1, le=REPEAT_MAX)


class Scenario(ScenarioTable):
    """One experiment. `seed` has no default, since a run must be replayable; `repeat` is the number of repetitions."""

    schema_: Annotated[Literal[1], BeforeValidator(is_whole)] = Field(alias="schema")
    name: FileName
    seed: int = Field(ge=0, le=INT_MAX)
    repeat: int = Field(1, ge=1, le=REPEAT_MAX)
    domain: DomainTable
    workload: WorkloadTable = WorkloadTable()
    truth: TruthTable = TruthTable()
    catch_up: CatchUpTable = CatchUpTable()
    writers: WritersTable | None = None
    channel: ChannelTable | None = None
    faults: FaultsTable = FaultsTable()
    readers: ReadersTable = ReadersTable()
    replicas: ReplicasTable | None = None
    time: TimeTable = TimeTable()
    projection: tuple[ProjectionTable, ...] = Field(strict=False, min_length=1, max_length=PROJECTIONS_MAX)
    projections: Literal["declared", "all"] = "declared"
    query: tuple[QueryTable, ...] = Field((), strict=False, max_length=QUERIES_MAX)
    page: tuple[PageTable, ...] = Field((), strict=False, max_length=PAGES_MAX)
    claim: tuple[ClaimTable, ...] = Field((), strict=False, max_length=CLAIMS_MAX)
    vary: tuple[VaryTable, ...] = Field((), strict=False, max_length=VARIED_MAX)
    measure: MeasureTable = MeasureTable()
    levels: LevelsTable = LevelsTable()
    weights: dict[Word, Ratio] = Field(default_factory=dict, max_length=QUERIES_MAX)
    advice: AdviceTable = AdviceTable()
