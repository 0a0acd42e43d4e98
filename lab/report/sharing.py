"""What two runs share: which of their figures only the machine can have moved.

It is read from both scenarios, with their overrides: the same commands were executed if the tables that they are drawn
from are the same, and the same questions were asked if queries and measurements are. What can't be told is not shared.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.base import TRUTH, BadInput
from lab.runs import Run
from lab.scenario import Scenario, Source

CLOCK = "clock"
# The controls of one kind count as one, whatever their number.
KINDS = {"rate": "commands of the source of truth", "query_p50": "queries of the source of truth", "rebuild": "null"}
# The tables of a scenario that decide on each: on what is committed, what is asked of it, what a rebuild reads.
_COMMITTED = ("domain", "workload", "truth", "writers")
_ASKED = (*_COMMITTED, "query", "measure")
_REBUILT = (*_COMMITTED, "catch_up")
# Query times of single calls depend on the other stores, whose data the calls between leave in the caches.
_COLD = "cold"


@dataclass(frozen=True)
class Sharing:
    """What differs between two runs: tables of their scenarios, and other facts in words.

    `same` has the projections that both runs have with the same settings, `alike` whether that is all of them; `nulls`
    has those whose store discards what it is given, in both.
    """

    tables: frozenset[str]
    facts: tuple[str, ...]
    same: frozenset[str]
    alike: bool
    nulls: frozenset[str]

    def changed(self, quantity: str, projection: str, temperature: str | None) -> list[str] | None:
        """Return what was changed between the runs that a figure depends on; empty if nothing was, so it is a control.

        None for a figure that is a control in no run.
        """
        if quantity == "rebuild" and projection in self.nulls:
            mine = [] if projection in self.same else [f"[[projection]] {projection}"]
            return [*self._facts_and(_REBUILT), *mine]
        if (quantity, projection) == ("rate", ""):
            return self._facts_and(_COMMITTED)
        if (quantity, projection) == ("query_p50", TRUTH):
            beside = ["[[projection]]"] if temperature == _COLD and not self.alike else []
            return [*self._facts_and(_ASKED), *beside]
        return None

    def _facts_and(self, tables: tuple[str, ...]) -> list[str]:
        return [*self.facts, *(_headed(name) for name in tables if name in self.tables)]


def _headed(table: str) -> str:
    return f"[[{table}]]" if table in ("query", "projection") else f"[{table}]"


def sharing(a: Run, b: Run) -> Sharing:
    """Return what two runs share."""
    nulls = frozenset(name for name, store in _stores(a).items() if store == _stores(b).get(name) == "null")
    facts = tuple(what for what, of in _FACTS.items() if of(a) != of(b))
    one, other = _scenario(a), _scenario(b)
    if one is None or other is None:
        # It may be of another version of the lab. The same text says the same all the same.
        if facts or _written(a) != _written(b):
            return Sharing(frozenset(), (*facts, "scenario"), frozenset(), alike=False, nulls=nulls)
        return Sharing(frozenset(), (), frozenset(_stores(a)), alike=True, nulls=nulls)
    if one.domain.entity and not all(run.manifest.get("data") for run in (a, b)):
        facts += ("data",)
    differs = frozenset(name for name in Scenario.model_fields if getattr(one, name) != getattr(other, name))
    before, after = ({each.name: each for each in scenario.projection} for scenario in (one, other))
    same = frozenset(name for name, table in before.items() if after.get(name) == table)
    return Sharing(differs, facts, same, not differs & {"projection", "projections"}, nulls)


def _stores(run: Run) -> dict[str, str]:
    return {str(entry["name"]): str(entry.get("store")) for entry in run.manifest["projections"]}


# What is known of a run beside its scenario, and must be the same for anything to be shared.
_FACTS: dict[str, Callable[[Run], Any]] = {
    "versions": lambda run: run.manifest.get("versions"),
    "data": lambda run: run.manifest.get("data") or None,
    "domain": lambda run: run.manifest.get("domain"),
    "committed changes": lambda run: run.manifest.get("changes"),
    "durability": lambda run: run.manifest.get("durability"),
    "source of truth": lambda run: [run.manifest["truth"].get(part) for part in ("model", "engine")],
}


def _written(run: Run) -> list[Any]:
    return [run.manifest["scenario"].get(part) for part in ("text", "overrides")]


def _scenario(run: Run) -> Scenario | None:
    """The scenario of a run with its overrides; None if it is none that this version reads without a problem."""
    told = run.manifest["scenario"]
    try:
        source = Source(Path(str(told.get("file"))), told.get("overrides") or (), text=str(told.get("text")))
        scenario, problems = source.validate()
    except BadInput:
        return None
    return None if problems else scenario


def machine_alike(a: Run, b: Run) -> bool:
    """Return whether the calibration loop is the same program in both: the same Python and the same NumPy."""
    parts = [[(run.manifest.get("versions") or {}).get(name) for name in ("python", "numpy")] for run in (a, b)]
    return parts[0] == parts[1]
