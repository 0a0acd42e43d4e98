"""The store in Elasticsearch keeps the contract of every store, against an emulator."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from effort import examples

pytest.importorskip("elasticsearch", reason="pip install 'polyglot-lab[elasticsearch]'")

from reachable import emulated_search

from lab.stores import store_class
from lab.testing.contracts import store_cases
from lab.testing.promises import Case

CASES = list(store_cases(store_class("elasticsearch.search")))


@pytest.fixture(scope="module", autouse=True)
def emulator() -> Iterator[Any]:
    """An emulator of this module's own."""
    with emulated_search("elasticsearch") as one:
        yield one


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_store_in_elasticsearch_keeps_the_contract(case: Case, tmp_path: Path) -> None:
    case.run(tmp_path, examples(6))
