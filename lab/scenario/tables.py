"""The tables of a scenario: their keys, shapes and ranges. Unknown keys and loose types are refused."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Probability = Annotated[float, Field(ge=0.0, le=1.0)]
Seconds = Annotated[float, Field(ge=0.0, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0.0, allow_inf_nan=False)]
NAME = r"^[A-Za-z][A-Za-z0-9_-]{0,63}$"
Name = Annotated[str, Field(pattern=NAME)]
GapStrategy = Literal["naive", "serialise", "horizon", "hold"]
CrashStep = Literal["before-apply", "between", "after-checkpoint"]
# Whether the checkpoint lands with the data, or in a transaction of its own: then a crash can come between the two.
CheckpointOrder = Literal["with-data", "after-data", "before-data"]


class ScenarioTable(BaseModel):
    """A table of the scenario: unknown keys and loose types are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class EntityTable(ScenarioTable):
    """Your own data: a file, and which of its columns are the key, the time, the deletion and the revision."""

    name: Name
    file: str = Field(min_length=1)
    format: Literal["parquet", "csv", "ndjson", "sqlite", "debezium"] | None = None
    key: tuple[str, ...] = Field(strict=False, min_length=1)
    time: str | None = None
    deleted: str | None = None
    revision: str | None = None
    columns: dict[str, Literal["int", "float", "str", "bool"]] | None = None
    texts: tuple[str, ...] = Field((), strict=False)
    indexes: tuple[str, ...] = Field((), strict=False)
    skip_bad_rows: bool = False


class DomainTable(ScenarioTable):
    """Which business, and how much of it."""

    name: str
    records: int | None = Field(None, ge=1)
    days: int | None = Field(None, ge=1)
    time_scale: Positive | None = None
    change_at: Seconds | None = None
    change_takes: Seconds = 1.0
    entity: tuple[EntityTable, ...] = Field((), strict=False)


class WorkloadTable(ScenarioTable):
    """The commands: how many, how fast, on which records, and how many of them are bad."""

    commands: int = Field(0, ge=0)
    rate: Positive = 1_000.0
    arrivals: Literal["poisson", "uniform", "bursty"] = "poisson"
    skew: float = Field(0.0, ge=0.0, le=5.0)
    deletes: Probability = 0.0
    invalid: Probability = 0.0


class TruthTable(ScenarioTable):
    """The source of truth: its write model, its engine, and how durable a commit is."""

    model: Literal["snapshot", "history", "events"] = "snapshot"
    engine: str = "sqlite"
    durability: Literal["full", "normal"] = "normal"


class CatchUpTable(ScenarioTable):
    """Synchronous publishing: how often a projection polls, how much it takes at once, and what it does about gaps."""

    every: Positive = 1.0
    page: int = Field(10_000, ge=1, le=1_000_000)
    gaps: GapStrategy = "naive"
    gap_limit: Positive = 1.0


class Delay(ScenarioTable):
    """A delay's distribution; `mean` in seconds. `sigma` is the lognormal's, of the logarithm."""

    kind: Literal["constant", "exponential", "lognormal"] = "constant"
    mean: Seconds = 0.0
    sigma: float = Field(1.0, ge=0.0, le=5.0)


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
    """The channel is cut off: messages wait until it is back, or are lost."""

    at: Seconds
    lasts: Seconds
    loses: bool = False


class ChannelTable(ScenarioTable):
    """Asynchronous publishing over messages. Every fault is zero by default."""

    delay: Delay = Delay()
    duplicate: Probability = 0.0
    lose: Probability = 0.0
    reorder: Reorder = Reorder()
    ordered_by_key: bool = False
    outages: tuple[Outage, ...] = Field((), strict=False)
    capacity: int = Field(1_000_000, ge=1)


class ServiceModel(ScenarioTable):
    """A modelled store: a batch of n rows takes `per_batch + per_row * n` seconds."""

    per_batch: Seconds = 0.000_5
    per_row: Seconds = 0.000_01


class TimeTable(ScenarioTable):
    """Where a store's own working time comes from: the real engine, or a model."""

    service: Literal["measured", "modelled"] = "measured"
    model: ServiceModel = ServiceModel()


class ScheduledCrash(ScenarioTable):
    """The projector's process dies at its first apply from `at` on, at this step, and is back after `lasts`."""

    at: Seconds
    step: CrashStep = "between"
    lasts: Seconds = 0.1


class Slow(ScenarioTable):
    """The store takes `factor` times as long for a while, and a backlog builds up."""

    at: Seconds
    lasts: Seconds
    factor: Positive = 10.0


class FaultsTable(ScenarioTable):
    """What goes wrong at a projection itself, beside what the channel does."""

    crashes: tuple[ScheduledCrash, ...] = Field((), strict=False)
    crash: Probability = 0.0
    down: Seconds = 0.1
    refuse: Probability = 0.0
    retry: Positive = 0.05
    poison: Probability = 0.0
    heals_at: Seconds | None = None
    retry_parked: Positive = 1.0
    slow: tuple[Slow, ...] = Field((), strict=False)

    @property
    def any(self) -> bool:
        """Whether anything can go wrong at all."""
        return bool(self.crashes or self.slow or self.crash or self.refuse or self.poison)


class RebuildTable(ScenarioTable):
    """A rebuild while changes keep coming: in place, where readers see it, or beside, to be swapped in."""

    at: Seconds
    mode: Literal["in-place", "blue-green"] = "blue-green"


class ProjectionTable(ScenarioTable):
    """One read model: what it keeps, where, fed how, and what its verdict should be."""

    name: Name
    store: str
    keeps: Literal["records", "revisions", "totals"] | None = None
    totals: str | None = None
    entities: tuple[str, ...] | None = Field(None, strict=False)
    queries: tuple[str, ...] | None = Field(None, strict=False)
    guard: Literal["none", "dedupe", "revision", "ordered"] = "revision"
    subscribe: Literal["catch-up", "channel", "both"] = "both"
    batch: int = Field(1_000, ge=1, le=1_000_000)
    linger: Seconds = 0.0
    every: Positive | None = None
    model: ServiceModel | None = None
    hold: int = Field(1_000_000, ge=1)
    checkpoint: CheckpointOrder = "with-data"
    gaps: GapStrategy | None = None
    gap_limit: Positive | None = None
    faults: FaultsTable | None = None
    rebuild: RebuildTable | None = None
    expect: Literal["pass", "fail", "unknown"] = "pass"


class QueryTable(ScenarioTable):
    """One question, declared once; each store answers it in its own way."""

    name: Name
    kind: str
    entity: str
    where: dict[str, Any] = Field(default_factory=dict)
    order_by: str | None = None
    descending: bool = False
    limit: int | None = Field(None, ge=1)
    count: int = Field(20, ge=1, le=1_000)
    group_by: tuple[str, ...] = Field((), strict=False)
    sum: tuple[str, ...] = Field((), strict=False)
    on: str | None = None
    to: str | None = None
    take: tuple[str, ...] = Field((), strict=False)
    walk: str = "below"
    depth: int = Field(2, ge=1, le=64)
    words: int = Field(1, ge=1, le=10)
    sql: str | None = None
    parameters: tuple[str, ...] = Field((), strict=False)
    weight: Positive = 1.0


class MeasureTable(ScenarioTable):
    """How hard to measure: query samples, rounds before they count, a bound on each query's time, and what is asked."""

    samples: int = Field(50, ge=1)
    warm_up: int = Field(3, ge=0)
    budget: Positive = 1.0
    rebuild: bool = True
    truth: bool = True


class ReadersTable(ScenarioTable):
    """Sessions that write, wait for what they wrote, and read: how often what they see is not what they may expect."""

    sessions: int = Field(500, ge=0, le=1_000_000)
    reads: int = Field(4, ge=1, le=1_000)
    think: Delay = Delay(kind="exponential", mean=0.05)
    token: Literal["checkpoint", "highest", "none"] = "checkpoint"
    wait: Seconds = 2.0


class LevelsTable(ScenarioTable):
    """Service levels, for advice: seconds, bytes, and engines beside that of the source of truth."""

    lag_p99: Positive | None = None
    rebuild: Positive | None = None
    query_p99: Positive | None = None
    queries: dict[str, Positive] = Field(default_factory=dict)
    disk_bytes: int | None = Field(None, ge=0)
    engines: int | None = Field(None, ge=0)


class Scenario(ScenarioTable):
    """One experiment. `seed` has no default: a run that can't be replayed is no evidence."""

    schema_: Literal[1] = Field(alias="schema")
    name: Name
    seed: int = Field(ge=0, lt=2**63)
    domain: DomainTable
    workload: WorkloadTable = WorkloadTable()
    truth: TruthTable = TruthTable()
    catch_up: CatchUpTable = CatchUpTable()
    writers: WritersTable | None = None
    channel: ChannelTable | None = None
    faults: FaultsTable = FaultsTable()
    readers: ReadersTable = ReadersTable()
    time: TimeTable = TimeTable()
    projection: tuple[ProjectionTable, ...] = Field(strict=False, min_length=1)
    projections: Literal["declared", "all"] = "declared"
    query: tuple[QueryTable, ...] = Field((), strict=False)
    measure: MeasureTable = MeasureTable()
    levels: LevelsTable = LevelsTable()
    weights: dict[str, Positive] = Field(default_factory=dict)
