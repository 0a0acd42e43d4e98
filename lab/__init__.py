"""Polyglot persistence lab: one source of truth, many projected read models, broken messages, honest measurement."""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lab.notebook import advise, check, compare, load_run, run, runs, scenarios, stores
    from lab.notebook.results import ShownRun as Run
    from lab.sweeps import Sweep, load_sweep, sweep

    __version__: str

__all__ = [
    "Run", "Sweep", "__version__", "advise", "check", "compare", "load_run", "load_sweep", "run", "runs", "scenarios",
    "stores", "sweep",
]  # fmt: skip

_SWEEPS = ("Sweep", "load_sweep", "sweep")
# What is a room of the lab and a function of a notebook: a module that can be called.
_BOTH = ("runs", "stores")


class _CallableRoom(ModuleType):
    def __call__(self, *args: Any, **keys: Any) -> Any:
        return getattr(import_module("lab.notebook"), self.__name__.rpartition(".")[2])(*args, **keys)


class _Lab(ModuleType):
    def __setattr__(self, name: str, value: Any) -> None:
        # A module is put here when it is first imported, from wherever that is.
        if name in _BOTH and isinstance(value, ModuleType):
            value.__class__ = _CallableRoom
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Lab


def __getattr__(name: str) -> Any:
    # Loaded when it is first used: a command must be able to end before Polars is there.
    if name == "__version__":
        from importlib.metadata import version

        return version("polyglot-lab")
    if name in _BOTH:
        return import_module(f"lab.{name}")
    if name == "Run":
        return import_module("lab.notebook.results").ShownRun
    if name in __all__:
        return getattr(import_module("lab.sweeps" if name in _SWEEPS else "lab.notebook"), name)
    raise AttributeError(f"module `lab` has no attribute `{name}`")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
