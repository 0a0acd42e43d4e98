"""The engines that can hold a source of truth, one file and one line each; and whose source of truth a place holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from importlib import import_module
from types import MappingProxyType

from lab import identity
from lab.base import BadInput, MissingDriver, Problem, SourceLost, nearest
from lab.domain.model import Domain
from lab.identity import Identity, Trait
from lab.place import FolderPlace
from lab.truth.deciding import Answered, Change
from lab.truth.outlets import NO_OUTLETS, FeedOutlets
from lab.truth.port import Truth
from lab.truth.timeline import Opening, follows

ENGINES: dict[str, str] = {
    "sqlite": "lab.truth.sqlite:MODELS",
    "duckdb": "lab.truth.duckdb:MODELS",
    "postgres": "lab.truth.postgres:MODELS",
    "mariadb": "lab.truth.mariadb:MODELS",
}
# The extra of this package that brings an engine's driver, if that isn't always there.
EXTRAS = {"postgres": "postgresql", "mariadb": "mysql"}
NOTHING: Mapping[str, Trait] = MappingProxyType({})


def truth_class(engine: str, model: str) -> type[Truth]:
    """The class of a write model in an engine. Raises BadInput for one that there is none of, and MissingDriver."""
    if engine not in ENGINES:
        raise BadInput([Problem("truth.engine", f"no engine is called `{engine}`", nearest(engine, ENGINES))])
    module, _, attribute = ENGINES[engine].partition(":")
    try:
        models: dict[str, type[Truth]] = getattr(import_module(module), attribute)
    except ModuleNotFoundError as error:
        way_out = f"pip install 'polyglot-lab[{EXTRAS[engine]}]'" if engine in EXTRAS else "install it"
        raise MissingDriver(f"`{engine}` needs {error.name}, which is not installed; get it with: {way_out}") from None
    return models[model]


def make_truth(engine: str, model: str, place: FolderPlace, domain: Domain, durability: str) -> Truth:
    """The source of truth, not yet open. Raises BadInput and MissingDriver."""
    return truth_class(engine, model)(place, domain, durability)


def truth_identity(engine: str, model: str, domain: Domain, more: Mapping[str, Trait] = NOTHING) -> Identity:
    """Return what makes a source of truth another one: engine, model, domain and entities, and `more` traits."""
    traits: dict[str, Trait] = {"domain.name": domain.name, "truth.engine": engine, "truth.model": model}
    for name, entity in domain.entities.items():
        columns = (f"{column} {entity.told(column)}" for column in entity.columns)
        traits[f"entity {name}"] = (f"key {entity.key}", *columns)
    if model == "events":
        # An event is kept as the columns that it sets, and folded by what its name means.
        for name, events in domain.events.items():
            traits[f"events of {name}"] = tuple(
                f"{event} ({' '.join(['deletes' if kind.deletes else 'sets', *kind.sets])})"
                for event, kind in events.items()
            )
    return Identity("a source of truth", traits | dict(more))


def open_truth(
    engine: str,
    model: str,
    place: FolderPlace,
    domain: Domain,
    durability: str,
    more: Mapping[str, Trait] = NOTHING,
    epoch: str | None = None,
    indexed: bool = False,
    outlets: FeedOutlets = NO_OUTLETS,
) -> Truth:
    """Open a source of truth for writing, and claim its place: `more` traits are those of the scenario.

    With an epoch only the source of truth that has it is opened, and none is made. `indexed`: readers have the indexes
    of the entities; else those that are there are dropped. `outlets` is for readers that don't poll. Raises
    BadInput for a place that holds anything else, and SourceLost for one whose data are gone or another's.
    """
    truth = make_truth(engine, model, place, domain, durability)
    truth.indexed, truth.outlets = indexed, outlets
    wanted = truth_identity(engine, model, domain, more)
    if epoch is not None:
        _confirm_epoch(place, epoch)
    truth.identity = identity.claim(place, wanted)
    truth.open()
    if not truth.identity.begun:
        # Which version made the data is noted once, with the fact that they were made.
        try:
            library = {engine: str(truth.settings().get("library", ""))}
            truth.identity = identity.begin(place, replace(truth.identity, notes={**truth.identity.notes, **library}))
        except BaseException:
            truth.close()
            raise
    return truth


def open_beside(
    engine: str, model: str, place: FolderPlace, domain: Domain, durability: str, gaps: str = "naive"
) -> Truth | None:
    """Open a source of truth for reading while another process writes it; None if there is nothing to read yet.

    What it must be for its content to be understood is confirmed; what the scenario adds is the writer's business.
    `gaps` is the reader's strategy. Raises BadInput and SourceLost as `open_truth` does.
    """
    found = _understood(engine, model, place, domain)
    if found is None:
        return None
    truth = make_truth(engine, model, place, domain, durability)
    truth.identity, truth.gaps = found, gaps
    return truth if truth.open_shared() else None


def join_truth(
    engine: str,
    model: str,
    place: FolderPlace,
    domain: Domain,
    durability: str,
    gaps: str = "naive",
    outlets: FeedOutlets = NO_OUTLETS,
) -> Truth:
    """Open a source of truth for writing beside other writers; with `gaps` "serialise" they take turns.

    What it must be is confirmed as for a reader. Raises BadInput as `open_truth` does, and for an engine that has one
    process; SourceLost where there is no source of truth to join.
    """
    found = _understood(engine, model, place, domain)
    truth = make_truth(engine, model, place, domain, durability)
    truth.identity, truth.gaps, truth.outlets = found, gaps, outlets
    truth.join()
    return truth


def _understood(engine: str, model: str, place: FolderPlace, domain: Domain) -> Identity | None:
    """Whose source of truth a place holds, if its content is what is asked for; None for a place without one."""
    found, wanted = identity.read(place), truth_identity(engine, model, domain)
    if found is None:
        return None
    kept = {name: trait for name, trait in found.traits.items() if name in wanted.traits or name.startswith("entity ")}
    identity.agree(place, replace(found, traits=kept), wanted)
    return found


def _confirm_epoch(place: FolderPlace, epoch: str) -> None:
    found = identity.read(place)
    if found is None:
        raise SourceLost(f"{place.shown()}: the source of truth that was here is gone, and none is begun in its place")
    if found.epoch != epoch:
        raise SourceLost(f"{place.shown()}: another source of truth was put in the place of the one that was here")


__all__ = [
    "ENGINES", "Answered", "Change", "Opening", "Truth", "follows", "join_truth", "make_truth", "open_beside",
    "open_truth", "truth_class", "truth_identity",
]  # fmt: skip
