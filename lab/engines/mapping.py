"""Raise the lab's errors in place of a driver's: each engine says which is which, and here it is done."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from lab.base import LabError


class WithSecrets(Protocol):
    """Where a server is, with what must not be told of it."""

    def without_secrets(self, text: str) -> str:
        """Return a text in which no password occurs."""


class Mapped(Protocol):
    """What `mapping` returns."""

    def __call__(self, what: str, address: WithSecrets | None = None) -> AbstractContextManager[None]:
        """Translate what the driver raises in the block. With an `address`, its password is in no message."""


def mapping(caught: tuple[type[Exception], ...], translated: Callable[[str, Exception], LabError | None]) -> Mapped:
    """Return the context manager that replaces errors of these classes.

    `translated` is given what was done, in words, and the error; where it returns None, the error is raised as it is.
    """

    @contextmanager
    def mapped(what: str, address: WithSecrets | None = None) -> Iterator[None]:
        try:
            yield
        except caught as error:
            found = translated(what, error)
            if found is None:
                raise
            if address is not None:
                found = type(found)(address.without_secrets(str(found)))
            raise found from None

    return mapped
