"""What is known of a store before its module is imported: all that tables, figures and `lab stores` say of it."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from lab.base import BadInput, MissingDriver, Problem
from lab.formatting import one_line
from lab.stores.port import Store


@dataclass(frozen=True)
class StoreSpec:
    """One store: `path` is the lazy string `module:Class` of its class.

    `packages` are the distribution packages whose versions a run records, its engine's first. `extra` is the optional
    dependency group of polyglot-lab that brings them, if they are not always there. `colour` (`#rrggbb`) is its colour
    in figures; without one, it is chosen by the name. A store that is not `compared` is for the lab itself. One that
    needs a `server` (see `lab.servers`) is left out where all stores are meant: it is asked for by its name.
    """

    name: str
    path: str
    family: str
    shape: str
    colour: str = ""
    extra: str = ""
    packages: tuple[str, ...] = ()
    compared: bool = True
    server: str = ""

    def load(self) -> type[Store]:
        """Import the store's class.

        Raises MissingDriver, which says how to get it, where its library is missing, and BadInput where it fails.
        """
        module, _, attribute = self.path.partition(":")
        try:
            found: type[Store] = getattr(import_module(module), attribute)
        except ModuleNotFoundError as error:
            raise MissingDriver(f"{self.name}: {error}; get it with: {self.install}") from None
        except (Exception, SystemExit, GeneratorExit) as error:
            # What another package raises when it is imported can be anything.
            raise BadInput([Problem(self.name, f"{self.path} can't be imported: {one_line(error)}")]) from None
        return found

    @property
    def install(self) -> str:
        """The command that installs its library."""
        wanted = f"'polyglot-lab[{self.extra}]'" if self.extra else " ".join(self.packages)
        return f"pip install {wanted}"

    @property
    def engine(self) -> str:
        """The engine and its version."""
        if not self.packages:
            return f"SQLite {sqlite3.sqlite_version}" if self.name.startswith("sqlite.") else "Python"
        try:
            return f"{self.packages[0]} {version(self.packages[0])}"
        except PackageNotFoundError:
            return self.packages[0]


def problem(name: str, spec: Any) -> str:
    """What is wrong with an object that another package registers as a store; "" for nothing."""
    if not isinstance(spec, StoreSpec):
        return f"is no lab.stores.StoreSpec but {type(spec).__name__}"
    return "" if spec.name == name else f"is called `{spec.name}` and registered as `{name}`"
