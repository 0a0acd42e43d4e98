"""The runs that a plan is made from: the folders of `lab grow`, read into measured runs for each projection."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

from lab.base import BadInput, Problem, stream
from lab.planning.laws import MeasuredRun
from lab.planning.queue import QueueSettings
from lab.scenario import Source
from lab.stores import STORES
from lab.sweeps import Sweep, load_sweep
from lab.sweeps.folder import DOCUMENT, HOME
from lab.sweeps.growth import SIZE
from lab.truth import truth_class
from lab.verdict.oracle import Oracle
from lab.wiring import Plan, ProjectionPlan, plan

# Commands of which the bytes of a change are told.
_SAMPLE = 1_000


@dataclass(frozen=True)
class MeasuredProjection:
    """A projection that was measured at several sizes; `verdict` says why its figures don't count, if they don't."""

    name: str
    store: str
    guard: str
    settings: QueueSettings
    runs: tuple[MeasuredRun, ...]
    verdict: str

    @property
    def server(self) -> str:
        """The server that its store needs; empty if it is embedded."""
        spec = STORES.get(self.store)
        return spec.server if spec else ""


@dataclass(frozen=True)
class GrowthEvidence:
    """The runs of one growth sweep: `truth` is engine and model, `change_bytes` the bytes of a change as columns.

    `truth_server` is the server that the source of truth needs; empty if its engine is embedded.
    """

    folder: str
    truth: str
    truth_server: str
    seed: int
    projections: tuple[MeasuredProjection, ...]
    change_bytes: float | None
    changes_per_command: float
    records_per_change: float

    @property
    def runs(self) -> tuple[MeasuredRun, ...]:
        """Every run once."""
        return self.projections[0].runs

    @property
    def said(self) -> str:
        """Say what the figures come from."""
        sizes = [run.changes for run in self.runs]
        rate = max(run.rate for run in self.runs)
        return (
            f"{self.folder}: {len(sizes)} runs of {min(sizes):,.0f} to {max(sizes):,.0f} changes, "
            f"{rate:,.0f} a second at the most"
        )


def settings_of(made: Plan, item: ProjectionPlan, outages: bool = True) -> QueueSettings:
    """Return how a projection of a scenario is fed; without outages, as it is at all other times."""
    channel = made.scenario.channel if item.by_messages else None
    if channel is not None and not outages:
        channel = channel.model_copy(update={"outages": ()})
    return QueueSettings(item.pace, made.scenario.catch_up.page, channel)


def gathered(name: str, scenario: str, folders: Sequence[Path], root: Path = HOME) -> list[GrowthEvidence]:
    """Return the evidence in these folders; without any, in the newest one of the scenario of this name below `root`.

    `scenario` is what it was asked for by. Raises BadInput if there is none: it says what to run first.
    """
    chosen = [load_sweep(folder, root) for folder in folders] or _newest(name, scenario, root)
    return [evidence_of(sweep) for sweep in chosen]


def first_run(scenario: str) -> str:
    """Return the command that measures what a plan needs."""
    return f"measure it first: lab grow {scenario} --sizes 1e4,3e4,1e5 --repeat 3"


def _newest(name: str, scenario: str, root: Path) -> list[Sweep]:
    made = [Sweep(file.parent) for file in root.glob(f"*/{DOCUMENT}")]
    mine = [each for each in made if each.document["scenario"]["name"] == name and _grown(each)]
    mine = [each for each in mine if each.done]
    if not mine:
        what = f"no growth of `{name}` has been measured below {root}/, and nothing is told without"
        raise BadInput([Problem(scenario, what, first_run(scenario))])
    return [max(mine, key=lambda each: (each.path / DOCUMENT).stat().st_mtime_ns)]


def _grown(sweep: Sweep) -> bool:
    return SIZE in sweep.keys and sweep.document["clock"] == "wall"


def evidence_of(sweep: Sweep) -> GrowthEvidence:
    """Read a sweep of measured runs at one number of commands or more. Raises BadInput if it tells nothing."""
    folder = str(sweep.path)
    if not _grown(sweep):
        what = "a sweep, but not of measured runs at several numbers of commands"
        raise BadInput([Problem(folder, what, first_run("SCENARIO"))])
    document = sweep.document["scenario"]
    source = Source(Path(f"{document['name']}.toml"), tuple(document["overrides"]), None, document["text"])
    made = plan(source)
    frame = sweep.frame
    known = frame if frame.is_empty() else frame.drop_nulls("value")
    if known.is_empty():
        raise BadInput([Problem(folder, "no run of it came to anything", "run `lab grow` again")])
    found = tuple(_projections(made, known))
    if not found:
        what = "its runs don't say how many changes were committed: they are of an older version of the lab"
        raise BadInput([Problem(folder, what, first_run(document["name"]))])
    commands = _mean(known, "committed", SIZE)
    records = (made.scenario.domain.records or 0) / made.scenario.workload.commands / commands
    engine = made.scenario.truth.engine
    model = made.scenario.truth.model
    truth, server = f"{engine}.{model}", truth_class(engine, model).server
    return GrowthEvidence(folder, truth, server, made.scenario.seed, found, change_bytes(made), commands, records)


def _mean(frame: pl.DataFrame, quantity: str, key: str) -> float:
    rows = frame.filter(pl.col("quantity") == quantity)
    return float((rows["value"] / rows[key]).mean())  # type: ignore[arg-type]


def _projections(made: Plan, frame: pl.DataFrame) -> Iterator[MeasuredProjection]:
    for item in made.projections:
        mine = frame.filter(pl.col("projection") == item.name)
        runs, failed = [], 0.0
        for (name,), rows in mine.group_by("run", maintain_order=True):
            figures = dict(rows.select("quantity", "value").iter_rows())
            if {"committed", "span", "changes"} <= figures.keys() and figures["span"] > 0:
                failed += figures.get("failed", 0.0)
                runs.append(MeasuredRun(str(name), *_counts(figures), figures | _turned(figures)))
        if runs:
            why = f"its verdict is fail in {failed:.0f} of {len(runs)} runs" if failed else ""
            settings = settings_of(made, item)
            yield MeasuredProjection(item.name, item.table.store, item.table.guard, settings, tuple(runs), why)


def _counts(figures: dict[str, float]) -> tuple[float, float, float]:
    return figures["committed"], figures["changes"], figures["span"]


def _turned(figures: dict[str, float]) -> dict[str, float]:
    """The seconds of a write, from the rate of writing."""
    return {"write_seconds": 1 / figures["writes_per_second"]} if figures.get("writes_per_second") else {}


def change_bytes(made: Plan) -> float | None:
    """Return the mean bytes of a change as columns in memory, of a small workload; None of histories that are read."""
    if made.domain.has_trace:
        return None
    options = replace(made.options, commands=min(_SAMPLE, made.options.commands))
    commands = list(made.domain.workload(options, stream(made.scenario.seed, "workload")))
    frames = Oracle.of_commands(made.domain, commands).revisions.values()
    rows = sum(frame.height for frame in frames)
    return sum(frame.estimated_size() for frame in frames) / rows if rows else None
