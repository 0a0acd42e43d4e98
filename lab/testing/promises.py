"""What a contract is made of: promises, each tried on a store in folders of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

from lab.conformance.listing import listing
from lab.place import FolderPlace
from lab.ports import Assignment, FencingStore
from lab.stores import Store
from lab.testing.sample import layout

if TYPE_CHECKING:
    import polars as pl

# Generated cases of one promise.
EXAMPLES = 10


@dataclass
class Trial:
    """One store on trial: opens it in folders of its own, and removes all that it opened."""

    store: type[Store]
    folder: Path
    keeps: str
    examples: int = EXAMPLES
    _opened: list[Store] = field(default_factory=list)
    _cases: int = 0
    _partitions: int = 0

    def open(self, memory: Mapping[str, pl.DataType] | None = None, at: str = "store", refresh: float = 0.0) -> Store:
        """Open a store in the folder `at`; two at one place share it, as a process and its successor do.

        With `refresh`, queries see what is written once `Store.refresh` was called.
        """
        kept = replace(layout(self.keeps, dict(memory or {})), refresh=refresh)
        store = listing(self.store)(FolderPlace(self.folder / at), kept)
        store.open()
        self._opened.append(store)
        return store

    def shared(self, partitions: int) -> Store:
        """Open a store whose records are written in so many partitions, as the one that owns none of them."""
        self._partitions = partitions
        store = self._partitioned()
        store.open()
        return store

    def owner(self, assignment: Assignment) -> Store:
        """Open that store again as the owner of a partition. Raises Fenced."""
        store = self._partitioned()
        cast(FencingStore, store).claim(assignment)
        store.open()
        return store

    def _partitioned(self) -> Store:
        made = replace(layout(self.keeps), partitions=self._partitions)
        store = self.store(FolderPlace(self.folder / "shared"), made)
        self._opened.append(store)
        return store

    def fresh(self) -> Store:
        """Open a store in a folder where there has been none, for one of many cases; closes the former."""
        self.close()
        self._cases += 1
        return self.open(at=f"case-{self._cases}")

    def close(self) -> None:
        """Close every store, and remove what it made."""
        while self._opened:
            store = self._opened.pop()
            store.close()
            store.drop()


Check = Callable[[Trial], None]


@dataclass(frozen=True)
class Promise:
    """One sentence of a contract. Tried with each of `keeps` that the store can keep; with its first one if empty.

    `durable` promises are those of stores that outlive their process, those that `fences` or `refreshes` of stores that
    do.
    """

    check: Check
    keeps: tuple[str, ...]
    durable: bool
    fences: bool = False
    refreshes: bool = False

    @property
    def sentence(self) -> str:
        """What is promised."""
        return self.check.__name__.replace("_", " ")

    def tried_with(self, store: type[Store]) -> list[str]:
        """What the store is to keep when this is tried; nothing where the promise is not for it."""
        if self.durable and store.capabilities.durability == "memory":
            return []
        if (self.fences and not store.capabilities.fences) or (self.refreshes and store.capabilities.refresh is None):
            return []
        return [keeps for keeps in self.keeps if keeps in store.holds] if self.keeps else [store.holds[0]]


@dataclass(frozen=True)
class Case:
    """One promise, tried on one store."""

    promise: Promise
    store: type[Store]
    keeps: str

    def __str__(self) -> str:
        return f"{self.promise.sentence}, {self.keeps}"

    def run(self, folder: Path, examples: int = EXAMPLES) -> None:
        """Try it in this folder. Raises AssertionError where the promise is broken."""
        trial = Trial(self.store, folder, self.keeps, examples)
        try:
            self.promise.check(trial)
        finally:
            trial.close()


PROMISES: list[Promise] = []


def promise(
    *keeps: str, durable: bool = False, fences: bool = False, refreshes: bool = False
) -> Callable[[Check], Check]:
    """Make a function on a `Trial` a promise of the store contract."""

    def kept(check: Check) -> Check:
        PROMISES.append(Promise(check, keeps, durable, fences, refreshes))
        return check

    return kept
