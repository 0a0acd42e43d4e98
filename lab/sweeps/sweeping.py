"""`lab.sweep(...)`: a sweep from Python, in a notebook or a script."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lab.experiment.progress import Progress
from lab.scenario import Source
from lab.shipped import scenario_file
from lab.sweeps.design import GRID
from lab.sweeps.executors import LOCAL
from lab.sweeps.folder import HOME, Sweep, begin
from lab.sweeps.plan import SweepPlan
from lab.sweeps.running import carry_on
from lab.sweeps.varying import override


def sweep(
    scenario: str | Path | Source,
    vary: Mapping[str, Sequence[Any] | str],
    repeat: int = 1,
    *,
    settings: Mapping[str, Any] | None = None,
    seed: int | None = None,
    samples: int | None = None,
    design: str = GRID,
    executor: str = LOCAL,
    out: str | Path | None = None,
    root: str | Path = HOME,
    progress: Progress | None = None,
) -> Sweep:
    """Run a scenario at every point of what is varied, and return the sweep; what was done before is not done again.

    `vary` has the values of each key, or a range as a text ("0..1:5"). `settings` are set for all runs. The results are
    the sweep's `frame`, a row for each run, projection and quantity. Raises BadInput with every problem.
    """
    sets = [override(key, value) for key, value in (settings or {}).items()]
    if isinstance(scenario, Source):
        source = Source(
            scenario.path, (*scenario.overrides, *sets), scenario.seed if seed is None else seed, scenario.text
        )
    else:
        source = Source(scenario_file(scenario), sets, seed)
    items = [
        f"{key}={values}" if isinstance(values, str) else f"{key}=" + ",".join(_text(key, value) for value in values)
        for key, values in vary.items()
    ]
    plan = SweepPlan.of(source, items, repeat, samples, design)
    found = begin(plan, None if out is None else Path(out), Path(root))
    carry_on(plan, found, executor, progress)
    return found


def _text(key: str, value: Any) -> str:
    return override(key, value).partition("=")[2]
