"""The engines that can hold a source of truth, one file and one line each."""

from __future__ import annotations

from importlib import import_module

from lab.base import BadInput, Problem, nearest
from lab.domain.model import Domain
from lab.place import FolderPlace
from lab.truth.port import Change, Truth, one_process

ENGINES: dict[str, str] = {
    "sqlite": "lab.truth.sqlite:MODELS",
    "duckdb": "lab.truth.duckdb:MODELS",
}


def truth_class(engine: str, model: str) -> type[Truth]:
    """The class of a write model in an engine. Raises BadInput for an engine that there is none of."""
    if engine not in ENGINES:
        raise BadInput([Problem("truth.engine", f"no engine is called `{engine}`", nearest(engine, ENGINES))])
    module, _, attribute = ENGINES[engine].partition(":")
    models: dict[str, type[Truth]] = getattr(import_module(module), attribute)
    return models[model]


def make_truth(engine: str, model: str, place: FolderPlace, domain: Domain, durability: str) -> Truth:
    """The source of truth, not yet open. Raises BadInput for an engine that there is none of."""
    return truth_class(engine, model)(place, domain, durability)


def open_truth(engine: str, model: str, place: FolderPlace, domain: Domain, durability: str) -> Truth:
    """The source of truth, open for writing. Raises BadInput for an engine that there is none of."""
    truth = make_truth(engine, model, place, domain, durability)
    truth.open()
    return truth


__all__ = ["ENGINES", "Change", "Truth", "make_truth", "one_process", "open_truth", "truth_class"]
