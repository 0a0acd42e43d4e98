"""Contracts of what other packages add, as tests: each promise is a small check with a sentence for a name.

    from lab.testing import store_contract

    test_my_store = store_contract(MyStore)

pytest then runs one test for each promise and for each of the contents that the store can keep.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from lab.base import MissingDriver
from lab.stores import Store
from lab.testing.promises import EXAMPLES, PROMISES, Case


def store_cases(store: type[Store]) -> Iterator[Case]:
    """Every promise of the store contract, with everything that this store can keep."""
    try:
        # They add to PROMISES.
        from lab.testing import (  # noqa: F401
            store_answers,
            store_lookups,
            store_partitions,
            store_refreshes,
            store_trials,
            store_writes,
        )  # fmt: skip
    except ModuleNotFoundError as error:
        raise MissingDriver(f"{error}; get it with: pip install 'polyglot-lab[test]'") from None
    for one in PROMISES:
        for keeps in one.tried_with(store):
            yield Case(one, store, keeps)


def store_contract(store: type[Store], examples: int = EXAMPLES) -> Callable[..., None]:
    """Make a pytest function that tries every promise of the store port on a store: `test_mine = store_contract(Mine)`.

    Promises about generated content are tried on so many `examples`. Raises MissingDriver without pytest or hypothesis.
    """
    cases = list(store_cases(store))
    return parametrized(cases, lambda case, folder: case.run(folder, examples))


def parametrized(
    cases: Sequence[Any], run: Callable[[Any, Path], None], name: Callable[[Any], str] = str
) -> Callable[..., None]:
    """Make a pytest function with a test for each case, which is run in a folder of its own."""
    import pytest

    @pytest.mark.parametrize("case", cases, ids=name)
    def test_contract(case: Any, tmp_path: Path) -> None:
        run(case, tmp_path)

    found: Callable[..., None] = test_contract
    return found
