"""Every scenario that ships makes claims that carry its message; they hold in a small form, their opposites do not."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from lab.claims import INCONCLUSIVE, REFUTED, VERIFIED, judge, read
from lab.experiment import run
from lab.measure.figures import figures
from lab.scenario import ClaimTable, Source
from lab.wiring import plan

SCENARIOS = sorted((Path(__file__).parents[2] / "scenarios").glob("*.toml"))
# Modelled stores and few samples: what the claims count or simulate is the same, and takes a second.
QUICK = ("repeat=1", "time.service=modelled", "measure.samples=2", "measure.blocks=0", "measure.warm_up=0")
QUICK += ("measure.trials=false", "measure.truth=false")
# Of the largest only a part, which is enough for what they claim.
SMALLER = {
    "flights": ("domain.records=20_000",),
    "families": ("workload.commands=4_000", "domain.records=400"),
    "marketing": ("workload.commands=20_000", "domain.records=1_000"),
    "torture": ("workload.commands=3_000", "domain.records=100"),
}
OPPOSITE = {"<": ">=", "<=": ">", ">": "<=", ">=": "<", "=": ">"}


def opposite(text: str) -> str:
    """A claim that is refuted where this one is verified."""
    if "~" in text:
        left, right = re.split(r"~|within", text)[:2]
        return f"{left} > 2 * ({right})"
    return re.sub(r"<=|>=|==|<|>|=", lambda sign: OPPOSITE[sign[0]], text, count=1)


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_its_claims_hold_in_a_small_form_and_their_opposites_are_refuted(path: Path, tmp_path: Path) -> None:
    claims = plan(Source(path)).scenario.claim
    assert claims, "a scenario carries a message: what its run should show"
    assert all(claim.name and claim.why for claim in claims)
    done = run(plan(Source(path, [*QUICK, *SMALLER.get(path.stem, ())])), tmp_path, report=False)
    told = figures(done)
    once = [claim.model_copy(update={"repeat": None}) for claim in claims]
    found = judge(once, done, told)
    measured = {
        claim.name for claim in claims if any(call.quantity.origin != "counted" for call in read(claim.that).calls)
    }
    for name, verdict, reason in found.select("claim", "verdict", "reason").iter_rows():
        assert verdict in ((VERIFIED, INCONCLUSIVE) if name in measured else (VERIFIED,)), (name, reason)
    planted = [claim.model_copy(update={"that": opposite(claim.that)}) for claim in once]
    refuted = judge(planted, done, told)["verdict"].to_list()
    for row, verdict in zip(found.to_dicts(), refuted, strict=True):
        assert verdict == (REFUTED if row["verdict"] == VERIFIED else INCONCLUSIVE), row["claim"]


def test_a_claim_about_measured_times_asks_for_repetitions() -> None:
    for path in SCENARIOS:
        made = plan(Source(path)).scenario
        modelled = made.time.service == "modelled"
        for claim in made.claim:
            if any(
                call.quantity.origin == "measured" or (call.quantity.origin == "simulated" and not modelled)
                for call in read(claim.that).calls
            ):
                assert made.repeat >= 3, f"{path.stem}: {claim.name}"
        assert "claim" in tomllib.loads(path.read_text(encoding="utf-8"))


def test_the_opposite_of_a_claim_is_one() -> None:
    claim = ClaimTable(that=opposite("consistent_at_once() ~ 43.9 % within 5 %"))
    assert read(claim.that).comparison == ">"
    assert opposite("violations(a) = 0") == "violations(a) > 0"
