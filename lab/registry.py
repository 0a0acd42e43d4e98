"""Registries of the names in a scenario: this package's objects, and those of other packages by entry points.

A package adds a store, a domain or a channel without a change here: its `pyproject.toml` has an entry point in the
group of that kind, for instance `[project.entry-points."lab.stores"]`, whose name is the name in scenarios.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, TypeVar

from lab.base import Problem, nearest
from lab.formatting import one_line

HERE = "polyglot-lab"
T = TypeVar("T")


class Registry(Mapping[str, T], Generic[T]):
    """A mapping from names to objects: the shipped ones, in their order, then those of other packages, by name.

    `shipped` are objects, or lazy strings `module:object`. `check(name, object)` returns what is wrong with an object
    of another package, or "". What can't be loaded, is no such object, or has a name that is taken is not in the
    mapping; `broken` says why, in one line each.
    """

    def __init__(self, group: str, shipped: Mapping[str, T | str], check: Callable[[str, Any], str]) -> None:
        self.group = group
        self._shipped = dict(shipped)
        self._check = check

    def __getitem__(self, name: str) -> T:
        found = self._shipped.get(name)
        if found is None:
            return self._added[name]
        return _object(found) if isinstance(found, str) else found

    def __contains__(self, name: object) -> bool:
        # Looking for entry points reads a folder for each installed package: not needed for what is shipped.
        return name in self._shipped or name in self._added

    def __iter__(self) -> Iterator[str]:
        return iter([*self._shipped, *self._added])

    def __len__(self) -> int:
        return len(self._shipped) + len(self._added)

    @property
    def broken(self) -> dict[str, str]:
        """Why objects of other packages can't be used, by their names."""
        return self._found[1]

    def package(self, name: str) -> str:
        """The distribution package that registered a name."""
        return HERE if name in self._shipped else _package(self._points[name][0])

    def unknown(self, name: str, where: str) -> Problem:
        """A name that is not in the mapping: what is wrong with its package, or the nearest valid name."""
        kind = self.group.removeprefix("lab.").removesuffix("s")
        if name in self.broken:
            return Problem(where, f"the {kind} `{name}` can't be used: {self.broken[name]}", "mend or uninstall it")
        return Problem(where, f"no {kind} is called `{name}`", nearest(name, self))

    @property
    def _added(self) -> dict[str, T]:
        return self._found[0]

    @cached_property
    def _points(self) -> dict[str, list[EntryPoint]]:
        points: dict[str, list[EntryPoint]] = {}
        for point in sorted(entry_points(group=self.group), key=lambda one: (one.name, _package(one), one.value)):
            same = points.setdefault(point.name, [])
            # One package may be found twice: installed, and in the current folder.
            if not any((one.value, _package(one)) == (point.value, _package(point)) for one in same):
                same.append(point)
        return points

    @cached_property
    def _found(self) -> tuple[dict[str, T], dict[str, str]]:
        added: dict[str, T] = {}
        broken: dict[str, str] = {}
        for name, points in self._points.items():
            owners = [*([HERE] if name in self._shipped else []), *map(_package, points)]
            if len(owners) > 1:
                broken[name] = f"the name `{name}` is taken: registered by {' and by '.join(owners)}"
                continue
            try:
                found = points[0].load()
                wrong = self._check(name, found)
            except (Exception, SystemExit, GeneratorExit) as error:
                # Another package's import may do anything, `sys.exit()` included.
                wrong = f"can't be loaded: {one_line(error)}"
            if wrong:
                broken[name] = f"`{points[0].value}` of the package {owners[0]}: {wrong}"
            else:
                added[name] = found
        return added, broken


def _package(point: EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist else "an unknown package"


def _object(path: str) -> Any:
    module, _, attribute = path.partition(":")
    return getattr(import_module(module), attribute)
