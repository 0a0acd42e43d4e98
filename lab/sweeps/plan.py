"""Plan a sweep: its points, and a name for each run, which is the hash of what it runs.

Equal runs have equal names, on every machine that has the same code and engines: so a sweep that was interrupted knows
what is left, one that is repeated has nothing left to do, and shards fit together.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from lab.base import BadInput, Problem
from lab.experiment.repeating import seeds
from lab.measure.machine import versions
from lab.scenario import Source
from lab.sweeps.design import DESIGNS, GRID, MORRIS, SOBOL, points
from lab.sweeps.inputs import inputs
from lab.sweeps.task import RunTask
from lab.sweeps.varying import Varied, override, read_all
from lab.wiring import plan

FORMAT = 1
NAME_DIGITS = 16
# What says nothing of modelled times, and takes most of a short run: left out of those, unless the scenario is told to.
LEFT_OUT = ("measure.trials=false", "measure.rebuild=false", "measure.truth=false", "measure.samples=1",
            "measure.blocks=0", "measure.warm_up=0")  # fmt: skip


@lru_cache(maxsize=1)
def code_version() -> str:
    """Return the SHA-256 of the package's source, whether it is installed or a working copy."""
    total = hashlib.sha256()
    root = Path(__file__).parent.parent
    for file in sorted(root.rglob("*.py")):
        total.update(f"{file.relative_to(root).as_posix()}\0".encode())
        total.update(file.read_bytes())
    return total.hexdigest()


@dataclass(frozen=True)
class SweepPlan:
    """A scenario, what is varied of it, and the points that are run `repeat` times, each time with another seed.

    All points have the same seeds: two points of one repetition are given the same draws, as far as they draw alike.
    """

    source: Source
    varied: tuple[Varied, ...]
    points: tuple[tuple[Any, ...], ...]
    repeat: int
    design: str
    samples: int | None
    name: str
    seed: int
    wall: bool
    own: tuple[str, ...] = field(default=())
    inputs: tuple[tuple[str, str], ...] = field(default=())

    @classmethod
    def of(
        cls, source: Source, vary: Sequence[str] = (), repeat: int = 1, samples: int | None = None, design: str = GRID
    ) -> SweepPlan:
        """Read what is to be varied, make the points, and validate the scenario at the first of them.

        Raises BadInput with every problem of what is varied, or of the scenario.
        """
        if design not in DESIGNS:
            raise BadInput([Problem("--design", f"`{design}` is none", f"one of {', '.join(DESIGNS)}")])
        base, problems = source.validate()
        if base is None:
            raise BadInput(problems)
        varied = read_all(vary, base.vary)
        made = points(varied, samples, design, base.seed)
        if design in (SOBOL, MORRIS):
            made = _whole(source, varied, made)
        keys = [each.key for each in varied]
        ready = plan(Source(source.path, (*source.overrides, *_set(keys, made[0])), source.seed, source.text))
        first = ready.scenario
        wall = first.time.mode == "live" or first.time.service == "measured" or "time.service" in keys
        own = () if wall else tuple(item for item in LEFT_OUT if item.partition("=")[0] not in keys)
        own = tuple(item for item in own if not _says(source, item.partition("=")[0]))
        read = tuple(inputs(source, ready, (value for point in made for value in point)))
        return cls(source, tuple(varied), tuple(made), repeat, design, samples, first.name, first.seed, wall, own, read)

    @cached_property
    def identity(self) -> str:
        """What is common to all runs, beside the scenario: the code, the engines, and the content of what is read."""
        return json.dumps([FORMAT, code_version(), sorted(versions().items()), self.inputs])

    @cached_property
    def tasks(self) -> tuple[RunTask, ...]:
        """Every run, in the order of points and repetitions; points that are equal have one run."""
        found: dict[str, RunTask] = {}
        keys = [each.key for each in self.varied]
        for point in self.points:
            for repetition, seed in enumerate(seeds(self.seed, self.repeat), 1):
                overrides = (*self.source.overrides, *self.own, *_set(keys, point), "repeat=1")
                name = self._named(overrides, seed)
                columns = tuple(zip(keys, self._columns(point), strict=True))
                path = str(self.source.path.absolute())
                found.setdefault(
                    name, RunTask(name, path, self.source.text, overrides, seed, repetition, columns, self.wall)
                )
        return tuple(found.values())

    def _columns(self, point: tuple[Any, ...]) -> list[Any]:
        return [float(value) if each.numeric else str(value) for each, value in zip(self.varied, point, strict=True)]

    def _named(self, overrides: Sequence[str], seed: int) -> str:
        what = [self.identity, self.source.text, list(overrides), seed]
        return hashlib.sha256(json.dumps(what).encode()).hexdigest()[:NAME_DIGITS]

    @cached_property
    def names(self) -> list[list[str]]:
        """The names of each point's runs, in the order of the points."""
        keys = [each.key for each in self.varied]
        return [
            [
                self._named((*self.source.overrides, *self.own, *_set(keys, point), "repeat=1"), seed)
                for seed in seeds(self.seed, self.repeat)
            ]
            for point in self.points
        ]

    def document(self) -> dict[str, Any]:
        """Return what `sweep.json` has: equal for equal sweeps, and all that the report needs."""
        return {
            "format": FORMAT,
            "scenario": {"name": self.name, "text": self.source.text, "overrides": list(self.source.overrides)},
            "seed": self.seed,
            "repeat": self.repeat,
            "design": self.design,
            "samples": self.samples,
            "clock": "wall" if self.wall else "modelled",
            "code": code_version(),
            "versions": versions(),
            "inputs": [list(each) for each in self.inputs],
            "vary": [
                {"key": each.key, "values": list(each.values), "low": each.low, "high": each.high,
                 "logarithmic": each.logarithmic, "numeric": each.numeric}
                for each in self.varied
            ],
            "points": [self._columns(point) for point in self.points],
            "runs": self.names,
        }  # fmt: skip

    @cached_property
    def folder_name(self) -> str:
        """What the folder is called, if the user says nothing else: the scenario, and the hash of the sweep."""
        text = json.dumps(self.document(), sort_keys=True)
        return f"{self.name}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def _set(keys: Sequence[str], point: Sequence[Any]) -> list[str]:
    return [override(key, value) for key, value in zip(keys, point, strict=True)]


def _says(source: Source, key: str) -> bool:
    """Whether the user has set a key of `[measure]` on the command line: then it is left as it is."""
    return any(item.partition("=")[0].strip() == key for item in source.overrides)


def whole_keys(source: Source, varied: Sequence[Varied]) -> list[bool]:
    """Return which of the keys take whole numbers alone; each has a range."""
    found = []
    for each in varied:
        assert each.low is not None
        between = override(each.key, int(each.low) + 0.5)
        problems = Source(source.path, (*source.overrides, between), source.seed, source.text).validate()[1]
        found.append(any("whole" in item.what or "integer" in item.what for item in problems))
    return found


def _whole(source: Source, varied: Sequence[Varied], made: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Round the values of keys that take whole numbers alone."""
    whole = whole_keys(source, varied)
    return [
        tuple(round(value) if integer else value for value, integer in zip(point, whole, strict=True)) for point in made
    ]
