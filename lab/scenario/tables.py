"""The tables of a scenario: keys, types, ranges and defaults. Unknown keys and loose types are refused."""

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
# Whether the checkpoint is committed with the data or in a transaction of its own, so a crash can separate the two.
CheckpointOrder = Literal["with-data", "after-data", "before-data"]


class ScenarioTable(BaseModel):
    """Base of all tables of a scenario: refuses unknown keys and loose types."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class EntityTable(ScenarioTable):
    """One of the user's files, and which of its columns are key, time, deletion and revision."""

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
    """Which domain, and how many records, days or seconds of it."""

    name: str
    records: int | None = Field(None, ge=1)
    days: int | None = Field(None, ge=1)
    time_scale: Positive | None = None
    change_at: Seconds | None = None
    change_takes: Seconds = 1.0
    entity: tuple[EntityTable, ...] = Field((), strict=False)


class WorkloadTable(ScenarioTable):
    """The commands: how many, how fast, on which records, and the shares of deletes and invalid ones."""

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
    """The catch-up subscription: the interval between polls, the page size, and the strategy for gaps."""

    every: Positive = 1.0
    page: int = Field(10_000, ge=1, le=1_000_000)
    gaps: GapStrategy = "naive"
    gap_limit: Positive = 1.0


class Delay(ScenarioTable):
    """A distribution of delays: `mean` in seconds; `sigma` is the standard deviation of a lognormal's logarithm."""

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


class ChannelFaults(ScenarioTable):
    """What a channel does to messages. Every fault is zero by default."""

    delay: Delay = Delay()
    duplicate: Probability = 0.0
    lose: Probability = 0.0
    reorder: Reorder = Reorder()
    ordered_by_key: bool = False


class ChannelTable(ChannelFaults):
    """Asynchronous publishing over messages. Every fault is zero by default."""

    outages: tuple[Outage, ...] = Field((), strict=False)
    capacity: int = Field(1_000_000, ge=1)


class ServiceModel(ScenarioTable):
    """A modelled store: a batch of n rows takes `per_batch + per_row * n` seconds."""

    per_batch: Seconds = 0.000_5
    per_row: Seconds = 0.000_01


class TimeTable(ScenarioTable):
    """Whether a store's service time is measured on the real engine or computed by a model."""

    service: Literal["measured", "modelled"] = "measured"
    model: ServiceModel = ServiceModel()


class ScheduledCrash(ScenarioTable):
    """A crash of the projector at its first apply from `at` on, at this step; it is back after `lasts` seconds."""

    at: Seconds
    step: CrashStep = "between"
    lasts: Seconds = 0.1


class Slow(ScenarioTable):
    """A period in which the store takes `factor` times as long."""

    at: Seconds
    lasts: Seconds
    factor: Positive = 10.0


class FaultsTable(ScenarioTable):
    """Faults of a projection itself: crashes, refused batches, poisoned changes, slowness. All are zero by default."""

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
        """Return whether any fault can occur."""
        return bool(self.crashes or self.slow or self.crash or self.refuse or self.poison)


class RebuildTable(ScenarioTable):
    """A rebuild while changes keep coming: in place, visible to readers, or on a copy that is swapped in."""

    at: Seconds
    mode: Literal["in-place", "blue-green"] = "blue-green"


class ProjectionTable(ScenarioTable):
    """One projection: what it keeps in which store, how it is fed, and which verdict is expected."""

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
    """One query, independent of the store that answers it."""

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
    """How to measure queries: samples, warm-up rounds, a time budget for each query, what is queried and tried."""

    samples: int = Field(50, ge=1)
    warm_up: int = Field(3, ge=0)
    budget: Positive = 1.0
    rebuild: bool = True
    truth: bool = True
    trials: bool = True


class ReadersTable(ScenarioTable):
    """Sessions that commit a change, wait for it with a token, and read it: their number, reads and limits."""

    sessions: int = Field(500, ge=0, le=1_000_000)
    reads: int = Field(4, ge=1, le=1_000)
    think: Delay = Delay(kind="exponential", mean=0.05)
    token: Literal["checkpoint", "highest", "none"] = "checkpoint"
    wait: Seconds = 2.0


class LevelsTable(ScenarioTable):
    """Service levels for advice: seconds, bytes, and the number of engines beside that of the source of truth."""

    lag_p99: Positive | None = None
    rebuild: Positive | None = None
    query_p99: Positive | None = None
    queries: dict[str, Positive] = Field(default_factory=dict)
    disk_bytes: int | None = Field(None, ge=0)
    engines: int | None = Field(None, ge=0)


class Scenario(ScenarioTable):
    """One experiment. `seed` has no default, since a run must be replayable."""

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
