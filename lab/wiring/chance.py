"""Read the files that random quantities are drawn from: values of empirical delays, and the work of a measured run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl

from lab.base import LabError, Problem, nearest
from lab.formatting import first_line
from lab.running.service_times import RecordedWork
from lab.runs import load_run
from lab.scenario import DelayLaw, Scenario
from lab.scenario.limits import DELAY_VALUES_MAX, SECONDS_MAX
from lab.scenario.values import ScenarioTable


def with_values(scenario: Scenario, folder: Path, file: str) -> tuple[Scenario, list[Problem]]:
    """The scenario with the values of its delays' files in place of the files, and what is wrong with those.

    Paths are relative to `folder`, that of the scenario. The source of truth, channels and processes draw from values.
    """
    problems: list[Problem] = []
    found = _replaced(scenario, folder, f"{file}: ", "", problems)
    assert isinstance(found, Scenario)
    return found, problems


def _replaced(table: ScenarioTable, folder: Path, file: str, where: str, problems: list[Problem]) -> ScenarioTable:
    if isinstance(table, DelayLaw) and table.file is not None:
        try:
            values = _values(folder / table.file, table.column)
        except _Unusable as error:
            problems.append(Problem(f"{file}{where}.{error.key}", error.what, error.way_out))
            return table
        return table.model_copy(update={"values": values, "file": None, "column": None})
    changed = {}
    for name in type(table).model_fields:
        value, inner = getattr(table, name), f"{where}.{name}" if where else name
        if isinstance(value, ScenarioTable):
            new: object = _replaced(value, folder, file, inner, problems)
        elif isinstance(value, tuple) and value and isinstance(value[0], ScenarioTable):
            named = [f"{inner}.{getattr(item, 'name', f'#{number + 1}')}" for number, item in enumerate(value)]
            new = tuple(
                _replaced(item, folder, file, place, problems) for item, place in zip(value, named, strict=True)
            )
        else:
            continue
        if new != value:
            changed[name] = new
    return table.model_copy(update=changed) if changed else table


class _Unusable(Exception):
    """A file without usable values: at which key, what is wrong, and the way out."""

    def __init__(self, what: str, way_out: str = "", key: str = "file") -> None:
        super().__init__(what)
        self.what, self.way_out, self.key = what, way_out, key


def _values(path: Path, column: str | None) -> tuple[float, ...]:
    """The seconds in a column of a CSV or Parquet file; evenly spaced quantiles of them if there are too many."""
    readers: dict[str, Callable[[Path], pl.DataFrame]] = {".csv": pl.read_csv, ".parquet": pl.read_parquet}
    if (reader := readers.get(path.suffix.lower())) is None:
        raise _Unusable(f"`{path.name}` is neither a .csv nor a .parquet file")
    if path.is_dir():
        raise _Unusable(f"`{path.name}` in {path.parent} is a folder", "name a file in it")
    if path.exists() and not path.is_file():
        raise _Unusable(f"`{path.name}` in {path.parent} is a pipe or a device, not a file")
    if not path.is_file():
        near = [other.name for other in path.parent.glob("*") if other.suffix.lower() in readers and other.is_file()]
        raise _Unusable(f"there is no file `{path.name}` in {path.parent}", nearest(path.name, near) if near else "")
    try:
        frame = reader(path)
    except (OSError, pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise _Unusable(f"`{path.name}` can't be read: {first_line(error)}") from None
    if column is None and len(frame.columns) != 1:
        raise _Unusable(f"`{path.name}` has {len(frame.columns)} columns", "say which with `column`")
    name = frame.columns[0] if column is None else column
    if name not in frame.columns:
        raise _Unusable(f"`{path.name}` has no column `{name}`", nearest(name, frame.columns), "column")
    if not frame.height:
        raise _Unusable(f"`{path.name}` has no row", "seconds, a row each")
    if not frame[name].dtype.is_numeric():
        raise _Unusable(f"column `{name}` of `{path.name}` is no number", "seconds, a row each", "column")
    seconds = frame[name].cast(pl.Float64).to_numpy()
    if not (np.isfinite(seconds) & (seconds >= 0) & (seconds <= SECONDS_MAX)).all():
        what = f"column `{name}` of `{path.name}` has a value that is no delay: negative, missing, or endless"
        raise _Unusable(what, "seconds, a row each", "column")
    if seconds.size > DELAY_VALUES_MAX:
        places = (np.arange(DELAY_VALUES_MAX) + 0.5) / DELAY_VALUES_MAX * seconds.size
        seconds = np.sort(seconds)[places.astype(np.int64)]
    return tuple((seconds + 0.0).tolist())


class RecordedRuns:
    """The work of measured runs that modelled times are drawn from; each run is read once. Paths are from `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._read: dict[str, pl.DataFrame | LabError] = {}

    def work(
        self, run: str, projection: str | None, name: str, where: str
    ) -> tuple[dict[str, RecordedWork] | None, list[Problem]]:
        """The work of a projection of a run, by source, and what is wrong; by default of the one called `name`."""
        if run not in self._read:
            try:
                self._read[run] = load_run(self.folder / run).table("work")
            except LabError as error:
                self._read[run] = error
        if isinstance(work := self._read[run], LabError):
            return None, [Problem(f"{where}.run", str(work))]
        if not work.height:
            what = f"the run `{run}` has no times of single batches: its work was modelled, or it is an older run"
            return None, [Problem(f"{where}.run", what, 'run its scenario again with time.service = "measured"')]
        wanted = projection or name
        mine = work.filter(pl.col("projection") == wanted)
        if not mine.height:
            what = f"the run `{run}` has no work of a projection called `{wanted}`"
            way_out = f"set `projection`: {nearest(wanted, work['projection'].unique().sort().to_list())}"
            return None, [Problem(f"{where}.projection" if projection else f"{where}.run", what, way_out)]
        parts = mine.partition_by("source", as_dict=True, maintain_order=True)
        return {
            str(source): RecordedWork(part["rows"].to_numpy(), part["seconds"].to_numpy())
            for (source,), part in parts.items()
        }, []
