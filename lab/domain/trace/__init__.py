"""`trace`: the user's own data. Files become histories; the rest works as with the lab's own domains.

Each row of a table is one change of one record; a change log also has deletions. No command is decided, since the
changes in the files were accepted when they happened.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import polars as pl

from lab.base import META, BadInput, Entity, Problem, Totals
from lab.domain import model
from lab.domain.model import Command, Contract, Event, EventType, Options, Rejection, Trace, View
from lab.domain.trace.counting import distinct
from lab.domain.trace.files import digest, format_of, read
from lab.domain.trace.frame import Prepared, check_columns, entity, entity_names, prepare, renamed
from lab.domain.trace.links import link_column, link_problems, linked_entity, on_one_clock
from lab.domain.trace.questions import link_questions, questions
from lab.domain.trace.raw import AT, PLACE, TURN, Raw, SourceCount, refuse_bad
from lab.domain.trace.reading import CsvReading
from lab.scenario import DomainTable, EntityTable
from lab.spill import ROWS, Spill, here, spilling, widened
from lab.statistics.grouped import blocks, by_blocks, in_order

SKIP = "mend them, or leave them out by skip_bad_rows = true"


class Traced:
    """The domain of a scenario's [[domain.entity]] tables, whose files are relative to the scenario's folder."""

    name = "trace"
    has_trace = True
    contracts: Mapping[str, Contract] = MappingProxyType({})

    def __init__(self, table: DomainTable, scenario: Path) -> None:
        self.tables = {item.name: item for item in table.entity}
        self.file, self.folder = scenario.name, scenario.parent
        problems = []
        for name in sorted({item.name for item in table.entity}):
            if sum(item.name == name for item in table.entity) > 1:
                problems.append(Problem(self._where(name), f"two entities are called `{name}`", "rename one"))
        for item in table.entity:
            problems += self._wrong(item)
        if all(item.columns is not None for item in table.entity):
            declared = {name: dict(item.columns or {}) for name, item in self.tables.items()}
            problems += link_problems(self.tables, declared, self._where)
        if problems:
            raise BadInput(problems)

    def _where(self, name: str) -> str:
        return f"{self.file}: domain.entity.{name}"

    def _wrong(self, item: EntityTable) -> list[Problem]:
        where = self._where(item.name)
        try:
            format_of(item.file, self.folder, item.format)
        except BadInput as error:
            return [Problem(f"{where}.file", f"{one.where}: {one.what}", one.way_out) for one in error.problems]
        return check_columns(item, item.columns, where) if item.columns is not None else []

    def _read(self, item: EntityTable) -> Raw:
        return read(item.file, self.folder, item.format, CsvReading.of(item), item.key)

    def _kinds(self, item: EntityTable, raw: Raw | None = None) -> dict[str, str]:
        """Return the columns with their kinds, as declared in the scenario or else as found in the file."""
        if item.columns is not None:
            return dict(item.columns)
        raw = raw or self._read(item)
        if problems := check_columns(item, raw.kinds, self._where(item.name)):
            raise BadInput(problems)
        return raw.kinds

    @cached_property
    def entities(self) -> Mapping[str, Entity]:
        """Return an entity for each table; a file is read only if the scenario doesn't declare its columns."""
        with _spilling_aside():
            kinds = {name: self._kinds(item) for name, item in self.tables.items()}
        if problems := link_problems(self.tables, kinds, self._where):
            raise BadInput(problems)
        return {name: linked_entity(name, self.tables, kinds) for name in self.tables}

    @cached_property
    def fingerprints(self) -> Mapping[str, str]:
        """Return a digest of each file, by the name that the scenario gives it."""
        return {item.file: digest(item.file, self.folder, item.format) for item in self.tables.values()}

    @property
    def events(self) -> Mapping[str, Mapping[str, EventType]]:
        """Return the events `written` and `deleted`, which set every column."""
        return {
            name: {
                "written": EventType(tuple(item.columns)),
                "deleted": EventType(tuple(item.columns), deletes=True),
            }
            for name, item in self.entities.items()
        }

    totals: Mapping[str, Totals] = MappingProxyType({})

    @cached_property
    def queries(self) -> tuple[Mapping[str, Any], ...]:
        """Return queries that suit any data; unused if the scenario declares queries."""
        found: list[Mapping[str, Any]] = []
        every = {}
        with _spilling_aside():
            for name, item in self.tables.items():
                raw = self._read(item)
                every[name] = kinds = self._kinds(item, raw)
                frame = prepare(raw, item, kinds, self._where(name)).frame
                names = entity_names(kinds)
                key = [names[column] for column in item.key]
                found += questions(entity(item, kinds), frame, key, names.get(item.time or ""))
        for name, item in self.tables.items():
            links = [(link_column(one, every[name]), one.to) for one in item.link]
            found += link_questions(self.entities[name], links, self.entities)
        return tuple(found)

    def decide(self, view: View, command: Command) -> tuple[Event, ...] | Rejection:
        """Reject every command: the history is complete."""
        return Rejection((f"`{command.entity}` is a history from a file, and takes no commands",))

    evolve = staticmethod(model.evolve)

    def workload(self, options: Options, rng: np.random.Generator) -> Iterator[Command]:
        """Raise BadInput: the user's own data takes no commands."""
        raise BadInput([Problem("[workload]", "your own data takes no commands", "leave the table out")])

    def trace(self, options: Options) -> Trace:
        """Read the files as change frames. Raises BadInput for malformed rows, unless the scenario skips them."""
        prepared, every = {}, {}
        notes = []
        for name, item in self.tables.items():
            raw = self._read(item)
            raw = replace(raw, frame=here().kept(raw.frame))
            every[name] = kinds = self._kinds(item, raw)
            prepared[name] = made = prepare(raw, item, kinds, self._where(name))
            del raw
            if not item.skip_bad_rows:
                refuse_bad(made.bad, item.file, SKIP)
            elif made.bad.bad_count:
                first = "; ".join(map(str, made.bad.bad))
                notes.append(f"{item.file}: {made.bad.bad_count:,} malformed rows were skipped ({first}).")
            notes += [*renamed(kinds), *made.notes]
            del made
        frames, assumed = on_one_clock(prepared, self.tables, every)
        frames = _limited(frames, options)
        if not any(frame.height for frame in frames.values()):
            raise BadInput([Problem(f"{self.file}: domain", "no row of these files can be used")])
        source = [row for name, made in prepared.items() for row in _source(name, made, frames[name])]
        # What is on disk is free once it is not known here any more.
        prepared.clear()
        return Trace(self._positioned(frames, options.time_scale or 1.0), (*notes, *assumed), tuple(source))

    def _positioned(self, prepared: dict[str, pl.DataFrame], scale: float) -> dict[str, pl.DataFrame]:
        """Assign positions in commit order over all entities; the run's clock starts with the first change."""
        at, begin = here().empty(sum(frame.height for frame in prepared.values()), np.float64), 0
        for frame in prepared.values():
            for block in blocks(frame.height):
                at[begin + block.start : begin + block.stop] = frame[AT][block].to_numpy()
            begin += frame.height
        positions = by_blocks(here(), at.size, np.int64, lambda block: np.arange(block.start + 1, block.stop + 1))
        logged = any(TURN in frame.columns or PLACE in frame.columns for frame in prepared.values())
        if logged or not in_order(at):
            # Changes of one time stay together by the transactions of their log, and in its order.
            every = (TURN, PLACE)
            turn, place = (np.concatenate([_logged(frame, name) for frame in prepared.values()]) for name in every)
            positions[np.lexsort((place, turn, at))] = np.arange(1, at.size + 1)
        first, begin, frames = float(at.min()), 0, {}
        for name in list(prepared):
            frame = prepared.pop(name)
            mine = positions[begin : begin + frame.height]
            begin += frame.height
            schema = {**self.entities[name].schema, "event": pl.String()}
            frames[name] = _written(_timed(frame, mine, first, scale, schema), frame, schema)
        return frames


@contextmanager
def _spilling_aside() -> Iterator[None]:
    """Spill what is read in the block, also before there is a run: a scenario is planned before it has a folder."""
    if here().folder is not None:
        yield
        return
    with tempfile.TemporaryDirectory(prefix="lab-") as folder, spilling(Spill(Path(folder))):
        yield


def _source(name: str, made: Prepared, used: pl.DataFrame) -> list[dict[str, Any]]:
    """Return the rows of the table `source` for an entity: what was read, and what became of it."""
    counts = [
        SourceCount("", "rows", made.frame.height + made.bad.bad_count),
        SourceCount("", "malformed rows", made.bad.bad_count),
        SourceCount("", "changes", used.height),
        SourceCount("", "records", distinct(used["key"])),
        SourceCount("", "deletions", int(used["deleted"].sum())),
        *made.bad.counts,
    ]
    return [{"entity": name, "column": one.column or None, "what": one.what, "count": one.count} for one in counts]


def _logged(frame: pl.DataFrame, name: str) -> np.ndarray:
    """Return a column that only changes of a log have; 0 for others, which keep the order of the entities."""
    return frame[name].to_numpy() if name in frame.columns else np.zeros(frame.height, np.int64)


def _timed(
    prepared: pl.DataFrame, positions: np.ndarray, first: float, scale: float, schema: dict[str, pl.DataType]
) -> Iterator[pl.DataFrame]:
    """Yield the changes with their positions and events, a part at a time, on a clock that starts at `first`."""
    event = pl.when("deleted").then(pl.lit("deleted")).otherwise(pl.lit("written")).alias("event")
    for begin in range(0, prepared.height, ROWS):
        part = prepared[begin : begin + ROWS].with_columns(
            pl.Series("position", positions[begin : begin + ROWS]), ((pl.col(AT) - first) / scale).alias("committed_at")
        )
        yield part.with_columns(event).select(pl.col(column).cast(dtype) for column, dtype in schema.items())


def _written(pieces: Iterator[pl.DataFrame], prepared: pl.DataFrame, schema: dict[str, pl.DataType]) -> pl.DataFrame:
    """Return the changes on disk; what can be told from another column takes no room there.

    That is the key, which most often is a column of the file, and the event, where nothing is ever deleted.
    """
    twin = _twin(prepared, schema)
    left_out = {"key"} if twin else set()
    if prepared.height and not prepared["deleted"].any():
        left_out.add("event")
    columns = {name: dtype for name, dtype in schema.items() if name not in left_out}
    frame = here().frame((piece.select(list(columns)) for piece in pieces), columns)
    beside = [frame[twin].alias("key")] if twin else []
    if "event" in left_out:
        # The parts of one series that stands in memory once.
        lengths = frame["deleted"].chunk_lengths()
        part = pl.Series("event", ["written"]).new_from_index(0, max(lengths))
        beside.append(pl.concat([part[:length] for length in lengths]))
    return widened(frame, beside, list(schema))


def _twin(prepared: pl.DataFrame, schema: dict[str, pl.DataType]) -> str | None:
    """Return the column that has the keys, if there is one."""
    own = [name for name, dtype in schema.items() if name not in META and dtype == schema["key"]]
    key = prepared["key"]
    return next(
        (
            name
            for name in own
            if name in prepared.columns
            and all(prepared[name][block].equals(key[block], check_dtypes=True) for block in blocks(key.len()))
        ),
        None,
    )


def _limited(frames: dict[str, pl.DataFrame], options: Options) -> dict[str, pl.DataFrame]:
    """Limit to the first `records` records of each table, or to the changes of the first `days` days of all."""
    if options.days is not None:
        first = min((float(frame[AT][0]) for frame in frames.values() if frame.height), default=0.0)
        frames = {name: frame.filter(pl.col(AT) < first + 86_400.0 * options.days) for name, frame in frames.items()}
    if options.records is not None:
        keys = {name: frame["key"].unique(maintain_order=True).head(options.records) for name, frame in frames.items()}
        frames = {name: frame.filter(pl.col("key").is_in(keys[name].implode())) for name, frame in frames.items()}
    return frames
