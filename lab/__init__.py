"""Polyglot persistence lab: one source of truth, many projected read models, broken messages, honest measurement."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lab.runs import Run, load_run

__all__ = ["Run", "load_run"]


def __getattr__(name: str) -> Any:
    # Loaded when it is first used: a command must be able to end before Polars is there.
    if name in __all__:
        from lab import runs

        return getattr(runs, name)
    raise AttributeError(f"module `lab` has no attribute `{name}`")
