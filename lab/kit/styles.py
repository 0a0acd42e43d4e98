"""How a projector takes changes: in batches, one by one, or by a method for each kind of event; at once or awaited."""

from __future__ import annotations

import asyncio
import inspect
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from lab.kit.history import Change

# Kinds of event; a projector by kind has a method `when_created` and so on.
EVENTS = ("created", "changed", "deleted")
# What one of these is enough for.
VERBS = ("apply", "handle", *(f"when_{event}" for event in EVENTS), "poll")


class Settled:
    """Carries a call to its end: awaits what is to be awaited, and goes through generators."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None

    def __call__(self, value: Any) -> Any:
        """Return a value, or what a coroutine returns; of a generator, None when it is at its end."""
        if value is None or isinstance(value, list):
            return value
        if inspect.isgenerator(value):
            deque(value, maxlen=0)
            return None
        if inspect.isasyncgen(value):
            return self._run(_through(value))
        if inspect.isawaitable(value):
            return self._run(_awaited(value))
        return value

    def content(self, value: Any) -> Any:
        """Return what `rows()` gave, or will give; of a generator, all that it yields."""
        if inspect.isgenerator(value):
            return list(value)
        if inspect.isasyncgen(value):
            return self._run(_all(value))
        return self(value)

    def _run(self, work: Any) -> Any:
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
        return self._loop.run_until_complete(work)

    def close(self) -> None:
        """Close the event loop, if there was something to await."""
        if self._loop is not None:
            self._loop.close()


async def _awaited(value: Any) -> Any:
    return await value


async def _all(value: Any) -> list[Any]:
    return [item async for item in value]


async def _through(value: Any) -> None:
    async for _ in value:
        pass


def taker(projector: Any, settled: Settled) -> Callable[[Iterable[Change]], None]:
    """Return what hands changes to a projector in the way that it takes them."""
    if callable(getattr(projector, "apply", None)):
        return lambda changes: settled(projector.apply(changes))
    single = projector.handle if callable(getattr(projector, "handle", None)) else _by_kind(projector)

    def one_by_one(changes: Iterable[Change]) -> None:
        for change in changes:
            settled(single(change))

    return one_by_one


def _by_kind(projector: Any) -> Callable[[Change], Any]:
    """What calls `when_created`, `when_changed` or `when_deleted`; raises AttributeError for one that isn't there."""
    return lambda change: getattr(projector, f"when_{change['event']}")(change)
