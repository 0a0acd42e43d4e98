"""The registry of systems: every system of the field has a row, and no row claims more than a contract test shows."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from documents import ROOT
from proofs import Proofs, claimed, unproven

from lab.base import LabError
from lab.channel import CHANNELS
from lab.queries.kinds import KINDS
from lab.servers import SERVERS
from lab.stores import STORES, embedded, store_class
from lab.systems import LEVELS, ROLES, SYSTEMS, System
from lab.systems.catalogue import answered, reached, systems
from lab.systems.system import PROVEN
from lab.testing.contracts import store_cases

NAMED = (
    "MySQL", "PostgreSQL", "SQL Server", "Oracle", "MongoDB", "CouchDB", "RavenDB", "DynamoDB", "Redis", "Memcached",
    "Cassandra", "HBase", "Vertica", "Redshift", "Neo4j", "HyperGraphDB", "InfiniteGraph", "Lucene", "Elasticsearch",
    "OpenSearch", "S3", "Kafka", "Kinesis", "ClickHouse",
)  # fmt: skip
each_system = pytest.mark.parametrize("one", SYSTEMS.values(), ids=lambda one: one.name)


def test_every_system_has_a_row() -> None:
    assert sorted(SYSTEMS) == sorted(NAMED)


@each_system
def test_a_row_says_what_stands_for_it_and_how_far_it_was_tried(one: System) -> None:
    assert one.level in LEVELS
    assert one.roles
    assert set(one.roles) <= set(ROLES)
    assert set(one.stands) <= set(embedded())
    assert one.stands or one.roles == ("channel",)
    assert one.consistency
    assert one.enumeration
    assert one.limits
    # What was not run on the system itself says why.
    assert one.why or one.level == "real"
    assert bool(one.proof) == (one.level in PROVEN)
    assert bool(one.runs) == (one.level in PROVEN)


@each_system
def test_a_system_is_used_by_names_that_there_are(one: System) -> None:
    for text in one.used_as:
        key, name = re.fullmatch(r'([\w.]+) = "([\w.]+)"', text).groups()  # type: ignore[union-attr]
        match key:
            case "store":
                # Some systems are of several families.
                assert STORES[name].family == one.family or one.name in ("PostgreSQL", "Redis")
            case "channel.broker":
                assert name in CHANNELS
            case _:
                assert (key, name) in {("truth.engine", "postgres"), ("truth.engine", "mariadb")}


def test_a_store_s_level_is_that_of_its_systems() -> None:
    """MariaDB stands for MySQL: the store itself is real, and the system only its dialect."""
    for one in SYSTEMS.values():
        for name in one.stores:
            if one.name != "MySQL":
                assert store_class(name).capabilities.level == one.level, name


def collected(nodes: list[str]) -> Counter[str]:
    """How many tests pytest finds for each of these functions; it fails for one that it doesn't find."""
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"]
    # The options of the project are for runs.
    found = subprocess.run([*command, "-o", "addopts=", *nodes], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert found.returncode == 0, found.stdout[-2_000:] + found.stderr[-2_000:]
    return Counter(line.partition("[")[0] for line in found.stdout.splitlines() if "::" in line)


def test_every_proof_is_a_whole_contract_that_is_collected() -> None:
    proofs = claimed(SYSTEMS.values())
    found = collected(list(proofs))
    for one in SYSTEMS.values():
        cases = sum(len(list(store_cases(store_class(name)))) for name in one.stores)
        of_stores = sum(found[node] for node in one.proof if node.startswith("tests/stores/"))
        assert of_stores >= cases, one.name
        assert all(found[node] for node in one.proof), one.name


def test_a_claim_that_nothing_ran_for_is_told() -> None:
    passed = Counter(claimed(SYSTEMS.values()))
    assert unproven(SYSTEMS.values(), dict.fromkeys(passed, 1), {}) == []
    node = SYSTEMS["Redis"].proof[0]
    (said,) = unproven(SYSTEMS.values(), dict.fromkeys(set(passed) - {node}, 1), {})
    assert "Redis" in said
    assert node in said
    # Skipped: it says what wasn't reached, and where servers are required that is a failure by itself.
    assert unproven(SYSTEMS.values(), dict.fromkeys(set(passed) - {node}, 1), {node: "no server"}) == []


@pytest.mark.parametrize("level", PROVEN)
def test_a_row_that_claims_without_a_proof_is_told(level: str) -> None:
    boasting = replace(SYSTEMS["Oracle"], level=level)
    assert unproven([boasting], {}, {}) == [f"Oracle: claims `{level}` without a proof"]


def report(node: str, outcome: str) -> Any:
    return SimpleNamespace(
        nodeid=f"{node}[a case]",
        when="call",
        passed=outcome == "passed",
        skipped=outcome == "skipped",
        longrepr=("", 0, "no server"),
    )


def ended(proofs: Proofs, **options: Any) -> Any:
    """A run of all tests that ended without a failure."""
    config = SimpleNamespace(args_source=pytest.Config.ArgsSource.TESTPATHS, getoption=options.get)
    session: Any = SimpleNamespace(config=config, exitstatus=0)
    proofs.pytest_sessionfinish(session)
    return session.exitstatus


def test_a_run_of_all_tests_fails_for_a_claim_that_it_did_not_show() -> None:
    shown, not_shown = Proofs(), Proofs()
    for node in claimed(SYSTEMS.values()):
        shown.pytest_runtest_logreport(report(node, "passed"))
        if node not in SYSTEMS["Memcached"].proof:
            not_shown.pytest_runtest_logreport(report(node, "passed"))
    assert ended(shown) == 0
    assert ended(not_shown) == pytest.ExitCode.TESTS_FAILED
    assert "Memcached" in not_shown.said[0]
    # A part of the tests shows a part of the claims.
    assert ended(not_shown, keyword="redis") == 0


def test_the_list_has_what_each_system_answers_and_the_version_that_was_reached() -> None:
    rows = {row["system"]: row for row in systems()}
    assert list(rows) == list(SYSTEMS)
    assert json.loads(json.dumps(rows)) == rows
    for name, row in rows.items():
        assert set(row["answers"]) <= set(KINDS)
        assert row["answers"] or SYSTEMS[name].roles == ("channel",)
        if SYSTEMS[name].level not in PROVEN:
            assert row["version"] == ""
    # A driver that is installed, with its version.
    assert rows["Kafka"]["version"] == reached("confluent-kafka") != ""


def test_what_is_not_there_has_no_version_and_answers_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_REDIS", "redis://127.0.0.1:1/0")
    assert "redis" in SERVERS
    assert reached("redis") == ""
    assert reached("no-such-package-at-all") == ""

    def missing(self: object) -> None:
        raise LabError("not installed")

    monkeypatch.setattr("lab.stores.spec.StoreSpec.load", missing)
    assert answered(["redis.keyvalue"]) == []
