"""The kit for tests of your own: does a projector survive duplicates, reordering, loss, late commits and crashes?

    from lab.testing import assert_converges

    def test_my_projector():
        assert_converges(MyProjector)

A projector has `apply(changes)` and `rows()`, and `reopen()` if it can be restarted. The strategies for hypothesis are
there for properties of your own. `store_contract`, `domain_contract` and `channel_contract` are the tests that a store,
a domain and a channel of your own must pass.
"""

from __future__ import annotations

from lab.kit.history import live
from lab.kit.sql import on_duckdb, on_sqlite
from lab.testing.channels import channel_contract
from lab.testing.contracts import store_contract
from lab.testing.converging import assert_converges, check, deliveries, histories
from lab.testing.domains import domain_contract

__all__ = [
    "assert_converges",
    "channel_contract",
    "check",
    "deliveries",
    "domain_contract",
    "histories",
    "live",
    "on_duckdb",
    "on_sqlite",
    "store_contract",
]
