"""Ask a projection's store: rows, or the problem that says why there are none; and rows that waiting readers share."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any

from lab.base import NotAnswered, Unavailable
from lab.ending import say
from lab.formatting import printable
from lab.queries.answers import Row
from lab.queries.model import Query
from lab.service.problems import encoded, problem
from lab.service.values import named
from lab.service.wire import Reply
from lab.stores import Store

# Records that readers wait for at the same time, with their answers.
KEPT_MAX = 256


def rows_of(
    store: Store, query: Query, parameters: Sequence[Any], name: str, unfit: Callable[[BaseException], Reply | None]
) -> list[Row] | Reply:
    """Ask the store. `unfit` answers in its place if an error says that its files can't be gone on with."""
    try:
        return store.query(query, tuple(parameters))
    except NotAnswered as error:
        return problem(422, str(error))
    except Unavailable as error:
        return problem(503, str(error))
    except BaseException as error:
        if (refusal := unfit(error)) is not None:
            return refusal
        if not isinstance(error, Exception):
            raise
        said = f"{name}: {query.name} failed: {type(error).__name__}: {error}"
        say(printable(said), err=True)
        return problem(500, "the query failed")


def told(query: Query, rows: list[Row], limit: int, position: int, age_seconds: float | None) -> Reply:
    """Return the answer: the first `limit` rows with the names of their columns, and what they stand for."""
    found = {"rows": named(query, rows[:limit]), "more": len(rows) > limit}
    return Reply(200, encoded({**found, "position": position, "age_seconds": age_seconds}), position)


class Latest:
    """Answers that are kept until something is written: readers who wait for the same record ask once per batch.

    At the most `KEPT_MAX` are kept; the oldest goes first.
    """

    def __init__(self) -> None:
        self._state: object = None
        self._kept: dict[Hashable, list[Row] | Reply] = {}

    def read(self, state: object, question: Hashable, ask: Callable[[], list[Row] | Reply]) -> list[Row] | Reply:
        """Return what is kept of this state, or else what `ask` returns, and keep it. A refusal is not kept."""
        if state != self._state:
            self._state, self._kept = state, {}
        if (found := self._kept.get(question)) is None:
            found = ask()
            if not isinstance(found, Reply):
                self._kept[question] = found
                if len(self._kept) > KEPT_MAX:
                    del self._kept[next(iter(self._kept))]
        return found
