"""Find a crossover by running what is needed for it: each value that is looked at is a small sweep in its own folder.

So it goes on where it was interrupted, as every sweep does, and the results of each value stay.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import polars as pl

from lab.base import BadInput, Problem, nearest
from lab.experiment.progress import Progress
from lab.scenario import Source
from lab.sweeps.crossover import Crossover, crossover
from lab.sweeps.executors import LOCAL
from lab.sweeps.folder import Sweep, begin
from lab.sweeps.plan import SweepPlan, whole_keys
from lab.sweeps.running import carry_on
from lab.sweeps.task import RunResult, RunTask, carry_out
from lab.sweeps.varying import Varied, override, read_all


def find_crossover(
    source: Source,
    vary: Sequence[str],
    pair: tuple[str, str],
    quantity: str,
    root: Path,
    repeat: int = 5,
    executor: str = LOCAL,
    progress: Progress | None = None,
    run: Callable[[RunTask], RunResult] = carry_out,
) -> tuple[str, Crossover]:
    """Return the varied key, and where two projections change places in a quantity. Raises BadInput.

    Exactly one key is varied, over a range. `root` is where the folders of the values go.
    """
    varied = _ranged(source, vary)
    whole = whole_keys(source, [varied])[0]
    assert varied.low is not None
    assert varied.high is not None

    low, high = (float(round(end)) if whole else end for end in (varied.low, varied.high))

    def measure(value: float) -> tuple[list[float | None], list[float | None]]:
        plan = SweepPlan.of(source, [override(varied.key, value)], repeat)
        sweep = begin(plan, None, root)
        carry_on(plan, sweep, executor, progress, run=run)
        return _values(sweep, pair[0], quantity, repeat), _values(sweep, pair[1], quantity, repeat)

    return varied.key, crossover(low, high, measure, varied.logarithmic, whole=whole)


def _ranged(source: Source, vary: Sequence[str]) -> Varied:
    scenario = source.validate()[0]
    varied = read_all(vary, scenario.vary if scenario else ())
    if len(varied) != 1 or varied[0].low is None:
        what = "a crossover is looked for along one key, over a range"
        raise BadInput([Problem("--find-crossover", what, "--vary domain.records=1000..100000:log")])
    return varied[0]


def _values(sweep: Sweep, projection: str, quantity: str, repeat: int) -> list[float | None]:
    """What a projection came to in every repetition; None where it came to nothing. Raises BadInput for what isn't."""
    frame = sweep.frame
    known = frame.drop_nulls("projection")
    if known.is_empty():
        raise BadInput([Problem(str(sweep.path), f"no run came to anything: {frame['error'][0]}")])
    if projection not in known["projection"]:
        names = known["projection"].unique()
        raise BadInput(
            [Problem("--find-crossover", f"no projection is called `{projection}`", nearest(projection, names))]
        )
    mine = known.filter(pl.col("projection") == projection)
    if quantity not in mine["quantity"]:
        names = mine["quantity"].unique()
        raise BadInput([Problem("--quantity", f"{projection} has no `{quantity}`", nearest(quantity, names))])
    found = dict(mine.filter(pl.col("quantity") == quantity).select("repetition", "value").iter_rows())
    return [found.get(number) for number in range(1, repeat + 1)]
