"""The projector that is to be checked: found by its name, made anew for each trial, looked at before anything is tried.

Whatever is wrong with it is told in one line: what, where, and the way out.
"""

from __future__ import annotations

import contextlib
import copy
import inspect
import pkgutil
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from lab.base import BadInput, LabError, nearest
from lab.kit.check import TrialOptions
from lab.kit.declared import bad, shape_of, sourced
from lab.kit.driver import Consumer, Driver
from lab.kit.history import Shape
from lab.kit.polling import Poller
from lab.kit.properties import PROPERTIES
from lab.kit.property import POLLED
from lab.kit.rows import listed
from lab.kit.styles import VERBS, Settled
from lab.kit.telling import told
from lab.kit.views import BY_THE_END
from lab.kit.watch import WATCH


@dataclass(frozen=True)
class Subject:
    """A projector by its name. `make` makes a fresh one, and `restarts` says whether it has `reopen()`.

    `twins` says whether it has `twin()`, `checkpoints` whether it has `checkpoint()`, and `polls` whether it has
    `poll(source)` and nothing is delivered to it.
    """

    name: str
    make: Callable[[], Any]
    shape: Shape
    restarts: bool
    twins: bool = False
    checkpoints: bool = False
    polls: bool = False

    def under(self, delivery: str) -> Callable[[], Consumer]:
        """Return what makes a fresh projector with a driver that delivers to it, as a feed with this promise does."""
        if self.polls:
            return lambda: Poller(self.make(), self.shape)
        return lambda: Driver(self.make(), delivery == "in-order", self.shape)

    def options(
        self, seed: int, histories: int | None, properties: Sequence[str], delivery: str, seconds: float | None = None
    ) -> TrialOptions:
        """Return what it is tried with. Raises BadInput for a property that can't be told of it."""
        if self.polls and delivery != "out-of-order":
            raise bad(self.name, "has poll(source): nothing is delivered to it", "leave --delivery out")
        promise = POLLED if self.polls else delivery
        for name in properties:
            if promise not in PROPERTIES[name].families:
                raise bad(f"property {name}", "can't be told of a projector that polls", "leave it out")
            if self.shape.view and name not in BY_THE_END:
                raise bad(f"property {name}", "can't be told of groups or of a join", "leave it out")
        return TrialOptions(
            seed, histories, tuple(properties), self.shape, restarts=self.restarts, twins=self.twins,
            checkpoints=self.checkpoints, delivery=promise, seconds=seconds,
        )  # fmt: skip


def load(target: str) -> Subject:
    """The subject called MODULE:OBJECT; a module in the current folder is found. Raises BadInput."""
    module_name, colon, name = target.partition(":")
    if module_name.endswith(".py") or "/" in module_name:
        dotted = module_name.removesuffix(".py").strip("./").replace("/", ".")
        raise bad(target, "a module is wanted, not a file", f"`lab check {dotted}:{name or 'OBJECT'}`")
    if not colon or not module_name or not name:
        raise bad(target, "MODULE:OBJECT is wanted", "for example `lab check package.module:Projector`")
    found: Any = _module(module_name)
    for part in name.split("."):
        if not hasattr(found, part):
            own = [item for item in vars(found) if not item.startswith("_")] if hasattr(found, "__dict__") else []
            raise bad(target, f"`{module_name}` has no `{part}`", nearest(part, own))
        found = getattr(found, part)
    return subject(found, target)


def _module(name: str) -> ModuleType:
    folder = str(Path.cwd())
    if sys.path[:1] != [folder]:
        sys.path.insert(0, folder)
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if name != missing and not name.startswith(f"{missing}."):
            raise bad(name, f"can't be imported: it needs `{missing}`, which is not installed", "install it") from None
        parent, _, last = missing.rpartition(".")
        siblings = list(_siblings(parent))
        way_out = nearest(last, siblings) if siblings else "go to the folder that the module is in, or install it"
        raise bad(name, f"there is no module `{missing}`, here or among what is installed", way_out) from None
    except LabError:
        raise
    except BaseException as error:
        if WATCH.passes(error):
            raise
        raise bad(name, f"can't be imported: {_where(error)}", "mend the module first") from None


def _where(error: BaseException) -> str:
    if isinstance(error, SyntaxError):
        return f"SyntaxError: {error.msg} ({Path(error.filename or '').name}:{error.lineno})"
    return told(error)


def _siblings(parent: str) -> Iterable[str]:
    """The modules that stand where the missing one was looked for."""
    if not parent:
        return [item.name for item in pkgutil.iter_modules([str(Path.cwd())])]
    return [item.name for item in pkgutil.iter_modules(getattr(sys.modules.get(parent), "__path__", []))]


def subject(found: Any, name: str = "") -> Subject:
    """The subject that a class, a function that makes a projector, a decorated function or an object stands for."""
    name = name or getattr(found, "__name__", type(found).__name__)
    make, settled = _maker(found, name), Settled()
    try:
        one = make()
    except LabError:
        raise
    except BaseException as error:
        if WATCH.passes(error):
            raise
        raise bad(name, f"can't be made: {told(error)}", "it must be possible to call it without arguments") from None
    verbs = [verb for verb in VERBS if callable(getattr(one, verb, None))]
    lacks = "apply" if not verbs else "" if callable(getattr(one, "rows", None)) else "rows"
    if lacks:
        raise bad(
            name,
            f"has no `{lacks}`",
            "a projector has `rows()` and one of `apply(changes)`, `handle(change)`, `when_created(change)` and so"
            " on, or `poll(source)`; a plain function on a connection takes the decorator lab.testing.on_sqlite or"
            " lab.testing.on_duckdb",
        )
    shape = shape_of(one, name)
    try:
        rows = listed(settled.content(one.rows()), shape, set())
    except BadInput:
        raise
    except BaseException as error:
        if WATCH.passes(error):
            raise
        raise bad(name, f"rows() of a fresh projector raises {told(error)}", "let it give an empty list") from None
    finally:
        _close(one, name, settled)
    if rows:
        raise bad(
            name,
            f"a fresh projector has {len(rows)} rows already",
            "let every new one begin empty: files and globals of its own are shared by all trials",
        )
    sourced(one, name)
    restarts, twins, checkpoints = (callable(getattr(one, verb, None)) for verb in ("reopen", "twin", "checkpoint"))
    return Subject(name, make, shape, restarts, twins, checkpoints, verbs == ["poll"])


def _close(one: Any, name: str, settled: Settled) -> None:
    try:
        if hasattr(one, "close"):
            settled(one.close())
    except BaseException as error:
        if WATCH.passes(error):
            raise
        raise bad(name, f"close() of a fresh projector raises {told(error)}", "mend it first") from None
    finally:
        settled.close()


def _maker(found: Any, name: str) -> Callable[[], Any]:
    if isinstance(found, type):
        return found
    if hasattr(found, "lab_projector"):
        maker: Callable[[], Any] = found.lab_projector
        return maker
    if hasattr(found, "rows") and any(hasattr(found, verb) for verb in VERBS):
        try:
            copy.deepcopy(found)
        except Exception:
            raise bad(
                name, "is an object that can't be copied", "name its class, or a function that makes it"
            ) from None
        return lambda: copy.deepcopy(found)
    if not callable(found):
        kind = type(found).__name__
        raise bad(name, f"is a {kind}", "name a class with `apply(changes)` and `rows()`, or a function that makes one")
    with contextlib.suppress(TypeError, ValueError):
        empty = inspect.Parameter.empty
        given = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
        needs = [item for item in inspect.signature(found).parameters.values() if item.default is empty]
        if any(item.kind not in given for item in needs):
            raise bad(
                name,
                f"is a function of {', '.join(item.name for item in needs)}",
                "a function on a connection takes the decorator lab.testing.on_sqlite or lab.testing.on_duckdb",
            )
    return lambda: found()
