"""Pollers that are handed a table on a real server: a right one passes, the gap bug is caught, no server is said."""

from __future__ import annotations

import pytest
import zoo

from lab.base import BadInput, Unavailable
from lab.servers.postgres import SERVER
from lab.testing import check

NAMED = ["converged", "no_skipped_gap"]


@pytest.mark.server("postgres")
def test_a_poller_that_waits_at_gaps_is_right_on_postgresql() -> None:
    result = check(zoo.WaitsAtGapsOnPostgres, histories=5, properties=NAMED)
    assert result.verdict == "pass", result.text()


@pytest.mark.server("postgres")
def test_one_that_reads_after_its_last_row_is_caught_there() -> None:
    (found,) = check(zoo.ReadsAfterLastOnPostgres, histories=60, properties=["no_skipped_gap"]).verdicts
    assert found.verdict == "fail"
    assert found.deliveries <= 12
    assert "asks SELECT * FROM changes WHERE position > %s ORDER BY position, 0: 1 row" in found.witness


def test_where_no_server_is_there_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(self: object) -> None:
        raise Unavailable("nobody answers")

    monkeypatch.setattr(type(SERVER), "connect", away)
    with pytest.raises(BadInput, match="PostgreSQL: nobody answers"):
        check(zoo.WaitsAtGapsOnPostgres, histories=1)


def test_an_engine_that_is_none_is_refused() -> None:
    class Elsewhere(zoo.WaitsAtGaps):
        lab_source = "oracle"

    with pytest.raises(BadInput, match="no source `oracle`"):
        check(Elsewhere, histories=1)
