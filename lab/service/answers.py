"""A model for each JSON document that the service returns; `lab.service.openapi` describes them.

Answers are not validated on their way out; a test holds every one of them against these models.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, create_model

from lab.channel.fates import LiveFaults
from lab.queries.kinds import KINDS
from lab.queries.model import Query
from lab.service.values import schema_of

State = Literal["starting", "running", "stopped"]
Counts = dict[str, int]


class ProblemDocument(BaseModel):
    """An error (RFC 9457), possibly with further members."""

    model_config = ConfigDict(extra="allow")

    type: str
    title: str
    status: int
    detail: str


class CommandOutcome(BaseModel):
    """The outcome of a command: a reader can wait for `position`; `state` is the record after the command."""

    outcome: Literal["accepted", "rejected", "conflict"]
    key: int | str
    reasons: list[str]
    event: str | None
    position: int | None
    revision: int | None
    deleted: bool
    state: dict[str, Any] | None


class ChangesPage(BaseModel):
    """Changes in commit order; the next page starts after `position`."""

    entity: str
    changes: list[dict[str, Any]]
    position: int
    more: bool


class ProcessStatus(BaseModel):
    """The state of a process as its supervisor knows it."""

    state: State
    restarts: int
    last_exit: int | None
    pid: int | None
    reason: str | None = Field(None, description="Why it ended last; null as long as nothing went wrong")


class TruthStatus(ProcessStatus):
    """The source of truth; without an answer of the executor only its position is known."""

    position: int
    model: str = ""
    engine: str = ""
    durability: str = ""
    commands: Counts = Field(default={}, description="Commands by outcome, and commits")
    channel: Counts | None = Field(None, description="Messages by what became of them")
    lost: str | None = Field(None, description="What became of its file, if nothing is acknowledged any more")


class RebuildStatus(BaseModel):
    """A rebuild: changes read, of the newest position when it began; seconds."""

    state: Literal["none", "building", "catching up", "done", "failed"]
    read: int = 0
    of: int = 0
    seconds: float = 0.0
    detail: str = ""


class LagHistogram(BaseModel):
    """Changes by their lag: counts below each bound in seconds, and above the last; the sum of all lags."""

    bounds: list[float]
    counts: list[int]
    sum: float


class ProjectionStatus(ProcessStatus):
    """A projection: its settings and its progress; null if its process doesn't answer."""

    name: str
    store: str
    level: str = Field(description="`real`, or `emulated`: then its times say nothing of the system, and it has no lag")
    guard: str
    subscribe: str
    keeps: str
    entities: list[str]
    queries: dict[str, list[str]] = Field(description="The parameters of each query")
    set_aside: dict[str, str] = Field(description="Folders that were set aside, and why")
    position: int | None = Field(description="Everything up to here is in")
    highest: int | None = Field(description="The highest position that it was handed")
    age_seconds: float | None = Field(description="Everything that was committed so long ago is in")
    rebuild: RebuildStatus | None
    counts: Counts | None
    lag: LagHistogram | None = Field(description="Null for a store in an emulator, too")


class ListedProjection(ProjectionStatus):
    """One of all projections, and how many positions it is behind the source of truth."""

    behind: int | None = Field(description="Negative while it is ahead of a source of truth that was put back")


class ProjectionList(BaseModel):
    """The source of truth and every projection."""

    truth: TruthStatus
    projections: list[ListedProjection]


class RebuildBegun(BaseModel):
    """A rebuild that has just begun."""

    projection: str
    rebuild: RebuildStatus


class AppliedChanges(BaseModel):
    """Position, committed at and visible at of each change (seconds since 1970); ask on with `since`."""

    applied: list[tuple[int, float, float]]
    since: int


class WorkloadCommand(BaseModel):
    """A command to be sent."""

    entity: str
    command: str
    key: int | str
    fields: dict[str, Any]


class WorkloadPage(BaseModel):
    """Commands of one share, in order."""

    commands: list[WorkloadCommand]
    more: bool


class FaultsStatus(BaseModel):
    """What the channel does to messages now, and in the scenario."""

    now: LiveFaults
    scenario: LiveFaults


class LoadStatus(BaseModel):
    """The small load generator; `possible` is false for a domain without commands."""

    rate: float
    sent: int
    failed: int
    finished: bool
    possible: bool


class Health(BaseModel):
    """`ok` while every process is running."""

    status: Literal["ok", "degraded"]
    processes: dict[str, State]
    pids: dict[str, int | None] = Field(description="The id of each process; null where there is none at present")
    reasons: dict[str, str] = Field(description="Why a process isn't running")
    set_aside: dict[str, dict[str, str]] = Field(description="Of projections: folders that were set aside, and why")


class RowsPage(BaseModel):
    """Rows of a query, the position that they stand for and its age in seconds (null if it is not known)."""

    rows: list[dict[str, Any]]
    more: bool
    position: int
    age_seconds: float | None


def rows_page(query: Query) -> type[RowsPage]:
    """The answer to one query, with the columns of its rows where these are known."""
    columns = KINDS[query.kind].columns(query)
    if columns is None or len({column.name for column in columns}) < len(columns):
        return RowsPage
    row: dict[str, Any] = {
        "type": "object",
        "properties": {
            column.name: schema_of(column.kind, nullable=column.nullable, wide=column.wide) for column in columns
        },
        "required": [column.name for column in columns],
    }
    rows: dict[str, Any] = {"rows": (list[dict[str, Any]], Field(json_schema_extra={"items": row}))}
    return create_model(f"{query.name}-rows", __base__=RowsPage, **rows)
