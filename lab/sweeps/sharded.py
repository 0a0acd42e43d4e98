"""A rebuild of one projection on many workers, each with a range of keys, put together into one store.

Any executor of `concurrent.futures` carries it out, as it does the runs of a sweep: processes of this machine, a Dask
cluster. Workers read the same source of truth and leave a store each; both lie in a folder that all of them see. Each
reads the whole feed, since a feed is in the order of commits, and keeps what is of its keys: reading doesn't become
quicker by it, but finding the last revisions and writing them does, and each needs a part of the memory.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from lab.base import BadInput, Batch, Key, Problem
from lab.ending import stopping
from lab.experiment.progress import Progress, Quiet
from lab.feed.reader import ChangeReader
from lab.feed.source import TruthReader
from lab.mapped import breathe
from lab.place import FolderPlace
from lab.projection.rebuild import PAGE, rebuild
from lab.scenario import Source
from lab.spill import Spill, spilling
from lab.stores import STORES
from lab.stores.port import Store
from lab.sweeps.executors import LOCAL, at_work, workers
from lab.sweeps.running import end
from lab.wiring import Plan, ProjectionPlan, plan

# Seconds between two looks at whether it is to stop.
_LOOK = 0.2
# The bounds of a range of keys: from the first on, and below the second; None is no bound.
Bounds = tuple[Key | None, Key | None]


@dataclass(frozen=True)
class RangeTask:
    """A range of keys of a projection to rebuild: `bounds` by entity; `truth` and `place` are folders."""

    path: str
    text: str
    overrides: tuple[str, ...]
    seed: int | None
    projection: str
    truth: str
    place: str
    bounds: tuple[tuple[str, Bounds], ...]


@dataclass(frozen=True)
class RangeResult:
    """What came of it: changes that were read, and the last position of each entity's feed."""

    read: int
    heads: dict[str, int]


class _RangeReader(ChangeReader):
    """A subscription that shows the changes of a range of keys alone."""

    def __init__(self, reader: ChangeReader, bounds: dict[str, Bounds]) -> None:
        super().__init__(reader.truth, reader.before, reader.columns)
        self._bounds = bounds
        self.read, self.heads = 0, dict.fromkeys(bounds, 0)

    def pages(self, entity: str, limit: int) -> Iterator[pl.DataFrame]:
        """The changes of the range, in pages of at most `limit`; pages without any are left out."""
        first, last = self._bounds[entity]
        mine = pl.lit(value=True) if first is None else pl.col("key") >= first
        mine = mine if last is None else mine & (pl.col("key") < last)
        for page in super().pages(entity, limit):
            self.read += page.height
            self.heads[entity] = int(page["position"][-1])
            found = page.filter(mine)
            if found.height:
                yield found


def rebuild_range(task: RangeTask) -> RangeResult:
    """Rebuild a range of keys into a store of its own. Carried out by a worker."""
    made = plan(Source(Path(task.path), task.overrides, task.seed, task.text))
    item, place = _projection(made, task.projection), FolderPlace(Path(task.place))
    truth = made.truth_beside(FolderPlace(Path(task.truth)))
    if truth is None:
        raise BadInput([Problem(task.truth, "no source of truth is there", "load it before")])
    store = item.store(place)
    try:
        store.open()
        reader = _RangeReader(item.subscription(truth, before=False), dict(task.bounds))
        with spilling(Spill(Path(f"{task.place}.spill"))):
            rebuild(store, reader, item.table.guard)
        return RangeResult(reader.read, reader.heads)
    finally:
        store.close()
        truth.close()


def rebuild_sharded(
    made: Plan, projection: str, truth: Path, place: Path, ranges: int, executor: str = LOCAL,
    progress: Progress | None = None,
) -> str:  # fmt: skip
    """Rebuild a projection in so many ranges of keys, into a store at `place`; return the digest of its content.

    `truth` is the folder of the source of truth, which is open for writing nowhere. Raises BadInput for a projection
    that can't be divided: one of totals, of documents that embed others, or in a store on a server.
    """
    progress, item = progress or Quiet(), _projection(made, projection)
    _divisible(item)
    source = made.source
    beside = made.truth_beside(FolderPlace(truth))
    if beside is None:
        raise BadInput([Problem(str(truth), "no source of truth is there", "load it before")])
    try:
        cuts = {name: _cuts(beside, name, ranges) for name in item.layout.entities}
    finally:
        beside.close()
    tasks = [
        RangeTask(str(source.path.absolute()), source.text, source.overrides, source.seed, projection,
                  str(truth.absolute()), str((place.parent / f"{place.name}-range-{number}").absolute()),
                  tuple((name, (bounds[number], bounds[number + 1])) for name, bounds in cuts.items()))
        for number in range(ranges)
    ]  # fmt: skip
    results = _carried_out(tasks, executor, progress)
    return _merged(item, place, tasks, results, progress)


def _projection(made: Plan, name: str) -> ProjectionPlan:
    found = next((item for item in made.projections if item.name == name), None)
    if found is None:
        raise BadInput([Problem(name, "no projection of the scenario is called so", "one of its [[projection]]s")])
    return found


def _divisible(item: ProjectionPlan) -> None:
    why = ""
    if item.layout.totals is not None:
        why = "a running aggregate has groups of records of all keys"
    elif STORES[item.table.store].family == "document" and any(one.embeds for one in item.layout.entities.values()):
        why = "its documents embed records of other keys"
    elif STORES[item.table.store].server:
        why = "its store is on a server, where ranges would be in one another's way"
    if why:
        raise BadInput([Problem(item.name, f"can't be rebuilt in ranges of keys: {why}", "rebuild it as a whole")])


def _cuts(truth: TruthReader, entity: str, ranges: int) -> list[Key | None]:
    """Return the bounds of ranges with as many records each: one more than ranges, the outer ones None."""
    keys = pl.Series("key", [], None)
    for page in ChangeReader(truth, columns=()).pages(entity, PAGE):
        breathe()
        some = page["key"].unique()
        keys = some if not keys.len() else pl.concat([keys, some]).unique()
    ordered = keys.sort()
    inner: list[Key | None] = (
        [ordered[ordered.len() * number // ranges] for number in range(1, ranges)] if keys.len() else []
    )
    return [None, *(inner or [None] * (ranges - 1)), None]


def _carried_out(tasks: Sequence[RangeTask], executor: str, progress: Progress) -> list[RangeResult]:
    with workers(executor, wall=False) as found:
        progress.step(f"rebuilding {len(tasks)} ranges of keys by {found.said}", len(tasks))
        pool = found.make(min(found.width, len(tasks)))
        local = isinstance(pool, ProcessPoolExecutor)
        futures = [pool.submit(at_work, rebuild_range, task) if local else pool.submit(rebuild_range, task)
                   for task in tasks]  # fmt: skip
        try:
            left = set(futures)
            while left:
                left = wait(left, _LOOK, FIRST_COMPLETED).not_done
                stopping.check()
                progress.done(len(tasks) - len(left))
            return [future.result() for future in futures]
        finally:
            end(pool)


def _merged(
    item: ProjectionPlan, place: Path, tasks: Sequence[RangeTask], results: Sequence[RangeResult], progress: Progress
) -> str:
    """Write what the workers have left into one store, in the order of keys, and remove it."""
    progress.step("putting them together", len(tasks))
    store, parts = item.store(FolderPlace(place)), [item.store(FolderPlace(Path(task.place))) for task in tasks]
    store.open()
    try:
        for part in parts:
            part.open()
        for entity in item.layout.embedded_first():
            store.bulk(entity, _pages(parts, entity, results[0].heads[entity], item, progress))
        return digest_of(store)
    finally:
        for part in parts:
            part.drop()
        store.close()


def _pages(parts: Sequence[Store], entity: str, head: int, item: ProjectionPlan, progress: Progress) -> Iterator[Batch]:
    """Yield the rows of all parts, one page at a time, the last one with the checkpoint."""
    former = pl.DataFrame(schema=item.layout.schema(entity))
    for number, part in enumerate(parts):
        for page in part.pages(entity):
            breathe()
            if former.height:
                yield Batch(entity, former)
            former = page
        progress.done(number + 1)
    yield Batch(entity, former, head)


def digest_of(store: Store) -> str:
    """Return the digest of an open store's content, as the manifest of a run has it, page by page."""
    total = hashlib.sha256()
    for name in sorted(store.layout.entities):
        total.update(name.encode())
        shown = [column for column in store.layout.schema(name) if column not in ("position", "committed_at")]
        total.update(pl.DataFrame(schema=store.layout.schema(name)).select(shown).write_csv().encode())
        for page in store.pages(name):
            breathe()
            total.update(page.select(shown).write_csv(include_header=False).encode())
    return total.hexdigest()
