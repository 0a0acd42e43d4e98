"""How many connections a live run needs, by its feeds; and how many of a server's a user may have."""

from __future__ import annotations

from pathlib import Path

import pytest
from streamed import own_server

from lab.engines.dsn import Dsn
from lab.engines.postgres import Session, connect
from lab.live.connections import needed
from lab.scenario import Source
from lab.servers.postgres import SERVER
from lab.wiring import plan

# Of each feed: what it has beside a projection that polls.
MORE = {"poll": 0, "outbox": 1, "log": 3}


@pytest.mark.server("mariadb")
def test_a_feed_that_streams_has_connections_of_its_own() -> None:
    source = Path(__file__).parents[2] / "scenarios" / "feeds-mariadb.toml"
    with own_server("mariadb"):
        made = plan(Source(source))
    whole = needed(made)["mariadb"]
    of_polls = sum(2 if item.table.store.startswith("mariadb") else 1 for item in made.projections)
    writers = made.scenario.writers.count if made.scenario.writers else 1
    assert {item.feed for item in made.projections} == set(MORE)
    assert whole == writers + of_polls + sum(MORE[item.feed] for item in made.projections) + 4


@pytest.mark.server("postgres")
def test_reserved_connections_are_taken_off_for_those_who_may_not_have_them_and_replicas_are_not_counted() -> None:
    with own_server("postgres") as own, pytest.MonkeyPatch.context() as patch:
        root = connect(Dsn(own.url))
        Session(root).execute("CREATE ROLE plain LOGIN")
        most, reserved, used = SERVER.connections()
        assert (most, reserved) == (200, 0)
        replica = connect(Dsn(own.url), replication="database")
        assert SERVER.connections() == (most, 0, used)
        other = connect(Dsn(own.url))
        assert SERVER.connections() == (most, 0, used + 1)
        patch.setenv("LAB_POSTGRES", own.url.replace("postgres@", "plain@"))
        assert SERVER.connections() == (most, 3, used + 1)
        for one in (other, replica, root):
            one.close()
