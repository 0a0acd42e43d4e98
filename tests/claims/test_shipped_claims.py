"""Every scenario that ships makes claims that carry its message; they hold in a small form, their opposites do not."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from reachable import emulated_aws, emulated_mongodb, emulated_search, logical_server, small_cache
from streamed import own_server

from lab.claims import INCONCLUSIVE, REFUTED, VERIFIED, judge, read
from lab.experiment import run
from lab.live.run import run_live
from lab.measure.figures import figures
from lab.scenario import ClaimTable, Source
from lab.wiring import plan
from lab.wiring.needed import servers

SCENARIOS = sorted((Path(__file__).parents[2] / "scenarios").glob("*.toml"))
# Modelled stores and few samples: what the claims count or simulate is the same, and takes a second.
MODELLED = "time.service=modelled"
QUICK = (MODELLED, "measure.samples=2", "measure.blocks=0", "measure.warm_up=0")
QUICK += ("measure.trials=false", "measure.truth=false")
# Claims about the wall clock, which no test asserts: one repetition must leave them undecided. `lab run` of the
# scenario as it ships verifies them.
MEASURED = {("columnar-truth", "rows-are-its-worst-case")}
# Of the largest only a part, which is enough for what they claim.
SMALLER = {
    "flights": ("domain.records=20_000",),
    "families": ("workload.commands=4_000", "domain.records=400"),
    "marketing": ("workload.commands=20_000", "domain.records=1_000"),
    "transfers": ("workload.commands=1_500", "domain.records=200"),
    "pages": ("workload.commands=1_600", "page.people.visits=500", "page.results.visits=500"),
    "tombstones": ("workload.commands=3_000",),
    "torture": ("workload.commands=3_000", "domain.records=100"),
    "flights-postgres": ("domain.days=7",),
    "feeds": ("workload.commands=400", "domain.records=100"),
    "feeds-mariadb": ("workload.commands=400", "domain.records=100"),
    "gaps-live": ("workload.commands=1_500", "domain.records=700"),
    "brokers-live": ("workload.commands=900", "domain.records=100"),
    "partitioned-live": ("workload.commands=3_600", "domain.records=100"),
    "evictions-live": ("workload.commands=1_000", "domain.records=900"),
    "polyglot": ("workload.commands=900", "domain.records=100"),
    "gaps-live-mariadb": ("workload.commands=1_500", "domain.records=700"),
}


@contextmanager
def emulators() -> Iterator[None]:
    with emulated_aws(), emulated_mongodb(), emulated_search("elasticsearch"):
        yield


# Those that need a server with settings of its own.
ON_ITS_OWN: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "feeds": logical_server,
    "feeds-mariadb": partial(own_server, "mariadb"),
    "evictions-live": small_cache,
    "polyglot": emulators,
}
# Servers that the tests start by themselves.
STARTED = {"polyglot": ("aws", "mongodb", "elasticsearch")}
# Lags without an interval within a repetition: in twenty seconds there are four polls of five, and all changes of one
# depend on each other.
REPEATED = {"catch-up-only"}
OPPOSITE = {"<": ">=", "<=": ">", ">": "<=", ">=": "<", "=": ">"}


def opposite(text: str) -> str:
    """A claim that is refuted where this one is verified."""
    if "~" in text:
        left, right = re.split(r"~|within", text)[:2]
        return f"{left} > 2 * ({right})"
    return re.sub(r"<=|>=|==|<|>|=", lambda sign: OPPOSITE[sign[0]], text, count=1)


def origins(claim: ClaimTable) -> set[str]:
    return {call.quantity.origin for call in read(claim.that).calls}


def times(path: Path, claims: Sequence[ClaimTable]) -> str:
    """As often as the scenario says, if a claim is about what has no interval within a repetition; else once."""
    if path.stem in REPEATED:
        return ""
    simulated = {call.quantity.name for claim in claims for call in read(claim.that).calls
                 if call.quantity.origin == "simulated"}  # fmt: skip
    return "repeat=1" if all(name.startswith("lag_") for name in simulated) else ""


def on_its_server(path: Path) -> Any:
    """The parameter of a test that runs this scenario: with the marks of the servers that it needs."""
    needs = dict.fromkeys(name for _, name in servers(plan(Source(path))))
    names = [name for name in needs if name not in STARTED.get(path.stem, ())]
    return pytest.param(path, marks=[pytest.mark.server(name) for name in names])


@pytest.mark.parametrize("path", [on_its_server(path) for path in SCENARIOS], ids=lambda path: path.stem)
def test_its_claims_hold_in_a_small_form_and_their_opposites_are_refuted(path: Path, tmp_path: Path) -> None:
    claims = plan(Source(path)).scenario.claim
    assert claims, "a scenario carries a message: what its run should show"
    assert all(claim.name and claim.why for claim in claims)
    live = plan(Source(path)).scenario.time.mode == "live"
    quick = [item for item in QUICK if not (live and item == MODELLED)]
    small = filter(None, (times(path, claims), *quick, *SMALLER.get(path.stem, ())))
    with ON_ITS_OWN.get(path.stem, nullcontext)():
        done = (run_live if live else run)(plan(Source(path, list(small))), tmp_path, report=False)
    found = judge(claims, done, figures)
    for name, verdict, reason in found.select("claim", "verdict", "reason").iter_rows():
        assert verdict == (INCONCLUSIVE if (path.stem, name) in MEASURED else VERIFIED), (name, reason)
    planted = [claim.model_copy(update={"that": opposite(claim.that)}) for claim in claims]
    refuted = judge(planted, done, figures)["verdict"].to_list()
    for row, verdict in zip(found.to_dicts(), refuted, strict=True):
        assert verdict == (REFUTED if row["verdict"] == VERIFIED else INCONCLUSIVE), row["claim"]


def test_claims_about_measured_times_are_known_and_ask_for_repetitions() -> None:
    measured = set()
    for path in SCENARIOS:
        made = plan(Source(path)).scenario
        assert "claim" in tomllib.loads(path.read_text(encoding="utf-8"))
        for claim in made.claim:
            if "measured" in origins(claim):
                measured.add((path.stem, claim.name))
            if "measured" in origins(claim) or ("simulated" in origins(claim) and made.time.service != "modelled"):
                assert made.repeat >= 3, f"{path.stem}: {claim.name}"
    assert measured == MEASURED


# Their claims are about the source of truth, and about the replicas together.
ABOUT_SOME = {"columnar-truth", "quorums"}


def test_each_projection_is_in_a_claim() -> None:
    for path in SCENARIOS:
        made = plan(Source(path)).scenario
        named = {call.argument("projection") for claim in made.claim for call in read(claim.that).calls}
        missing = {projection.name for projection in made.projection} - named
        assert not missing or path.stem in ABOUT_SOME, (path.stem, missing)


def test_the_opposite_of_a_claim_is_one() -> None:
    claim = ClaimTable(that=opposite("consistent_at_once() ~ 43.9 % within 5 %"))
    assert read(claim.that).comparison == ">"
    assert opposite("violations(a) = 0") == "violations(a) > 0"
