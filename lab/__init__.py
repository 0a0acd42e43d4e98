"""Polyglot persistence lab: one source of truth, many projected read models, broken messages, honest measurement."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lab.runs import Run, load_run
    from lab.sweeps import Sweep, load_sweep, sweep

__all__ = ["Run", "Sweep", "load_run", "load_sweep", "sweep"]

_SWEEPS = ("Sweep", "load_sweep", "sweep")


def __getattr__(name: str) -> Any:
    # Loaded when it is first used: a command must be able to end before Polars is there.
    if name in _SWEEPS:
        from lab import sweeps

        return getattr(sweeps, name)
    if name in __all__:
        from lab import runs

        return getattr(runs, name)
    raise AttributeError(f"module `lab` has no attribute `{name}`")
