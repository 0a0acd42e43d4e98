"""Pages made of several stores: theory of pollers, policies, planted faults, by hand, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from running import run_text, shipped

from lab.base import BadInput, Entity, stream
from lab.feed.published import Published
from lab.live.run import run_live
from lab.measure.cuts import RecordsShown, ShownCut, Tokens
from lab.measure.pages import PagePart, PageReads, PageVisits
from lab.measure.windows import Window
from lab.report import render
from lab.running.journal import Journal
from lab.running.theory import one_cut, one_cut_in_step
from lab.runs import Run
from lab.scenario import PageStepTable, PageTable, Source
from lab.wiring import Plan, plan

# Reports have tests of their own, but for the one below.
pytestmark = pytest.mark.usefixtures("quick")

RATE = 20.0
BARE = Entity("bare", "int", {})
INF = float("inf")

HEAD = """
schema = 1
name = "mine"
seed = 7
[domain]
name = "employees"
records = 300
[workload]
commands = 1_500
rate = 20.0
deletes = 0.1
[truth]
model = "history"
[time]
service = "modelled"
[measure]
samples = 1
blocks = 0
rebuild = false
trials = false
truth = false
"""
STEP = 'step = [{ projection = "quick", query = "named" }, { projection = "slow", query = "employee" }]'
PAGE = f"""
[[page]]
name = "people"
visits = 1_000
finds = "newest"
wait = 10.0
{STEP}
"""


def projections(quick: str, slow: str, keeps: str = "revisions") -> str:
    """Two projections in memory, with more keys of each."""
    return "".join(
        f'[[projection]]\nname = "{name}"\nstore = "memory"\nkeeps = "{keeps}"\n{keys}\n'
        for name, keys in (("quick", quick), ("slow", slow))
    )


POLLS = 'subscribe = "catch-up"\nevery = '


def published(at: np.ndarray, records: int | None = None, deleted: int = 0) -> Published:
    """Changes that are committed at these times, of so many records in turn; the last so many are tombstones."""
    number = np.arange(1, at.size + 1)
    of = at.size if records is None else records
    columns = {"position": number, "key": (number - 1) % of, "revision": 1 + (number - 1) // of}
    columns |= {"deleted": number > at.size - deleted, "committed_at": at}
    return Published.of({"bare": pl.DataFrame(columns, schema=BARE.schema)})


def part(found: Published, visible: np.ndarray, name: str = "p", past: bool = True) -> PagePart:
    """A part that shows each change from these times on, and moves its checkpoint with them."""
    journal = Journal()
    reached = np.maximum.accumulate(visible)
    times = np.unique(reached[np.isfinite(reached)])
    positions = np.searchsorted(reached, times, side="right")
    journal.checkpoints += zip(times.tolist(), ["bare"] * times.size, positions.tolist(), strict=True)
    writes = pl.DataFrame({"record": found.record, "index": np.arange(visible.size), "at": visible})
    writes = writes.filter(pl.col("at").is_finite())
    cut = ShownCut([Window(0.0, INF, visible)], np.arange(visible.size))
    shown = RecordsShown(writes.sort("at", "index"), found, writes.sort("record", "index"))
    return PagePart(name, "q", cut, Tokens(journal, ("bare",)), shown, past)


def page(visits: int = 1_000, **keys: object) -> PageTable:
    step = (PageStepTable(projection="p", query="q"),) * 2
    return PageTable.model_validate({"name": "mine", "step": step, "visits": visits, "finds": "newest"} | keys)


def polled(at: np.ndarray, every: float) -> np.ndarray:
    """When each change is visible that the next poll reads."""
    found: np.ndarray = np.ceil(at / every) * every
    return found


def follow(visits: PageVisits, policy: str) -> PageReads:
    reads = visits.follow(policy)
    assert isinstance(reads, PageReads), reads
    return reads


def within_error(mixed: np.ndarray, expected: float, groups: int = 50) -> None:
    """The share is the expected one within four standard errors, by the means of successive groups of visits."""
    means = np.array([group.mean() for group in np.array_split(mixed.astype(float), groups)])
    error = means.std(ddof=1) / np.sqrt(groups)
    assert mixed.mean() == pytest.approx(expected, abs=4 * error + 1e-9)
    assert error < 0.02


# --- theory ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pair", [(0.0207, 0.2031), (0.0207, 2.0), (0.2031, 2.0)])
def test_two_independent_pollers_show_one_cut_as_often_as_the_closed_form_says(pair: tuple[float, float]) -> None:
    at = np.cumsum(stream(1, "commits").exponential(1 / RATE, 100_000))
    found = published(at)
    visits = PageVisits(page(20_000), [part(found, polled(at, every)) for every in pair], found, seed=3)
    within_error(follow(visits, "none").mixed, 1 - one_cut(RATE, *pair))


@given(st.floats(0.01, 5.0), st.floats(0.01, 5.0), st.floats(0.1, 50.0))
def test_the_closed_form_is_the_mean_over_both_ages(one: float, other: float, rate: float) -> None:
    ages = (np.arange(400) + 0.5) / 400
    apart = np.abs(one * ages[:, None] - other * ages)
    assert one_cut(rate, one, other) == pytest.approx(np.exp(-rate * apart).mean(), abs=0.02)
    assert one_cut(rate, one, other) == one_cut(rate, other, one)


def test_three_pollers_in_step_in_a_whole_run(tmp_path: Path) -> None:
    """20 ms, 200 ms and 2 s: each poll of a slower one coincides with one of a quicker."""
    keys = ("projection.cards.faults.crashes=[]", "workload.commands=6_000", "page.people.visits=20_000")
    keys += ("page.people.delay.mean=0", "time.model={ per_batch = 0.0, per_row = 0.0 }")
    finished = shipped("pages", tmp_path, *keys, "measure.trials=false", "measure.truth=false", "page.people.wait=5.0")
    rate = finished.manifest["changes"] / finished.manifest["duration_seconds"]
    rows = {row["policy"]: row for row in finished.table("pages").filter(page="people").to_dicts()}
    times = finished.table("page_times").filter(page="people", policy="none")
    shares = (times["mixed"] / times["answered"]).to_numpy()
    error = shares.std(ddof=1) / np.sqrt(shares.size)
    assert rows["none"]["mixed_share"] == pytest.approx(1 - one_cut_in_step(rate, 0.02, 2.0), abs=4 * error)
    # Both policies bring it to 0: one costs waiting, the other age.
    assert rows["slowest"]["mixed"] == rows["each"]["mixed"] == 0
    assert rows["slowest"]["dangling"] == rows["each"]["dangling"] == 0
    assert rows["slowest"]["wait_p99_seconds"] == 0 < rows["each"]["wait_p50_seconds"]
    assert rows["each"]["age_p50_seconds"] < rows["slowest"]["age_p50_seconds"]
    assert rows["none"]["dangling"] > 0


# --- by hand ---------------------------------------------------------------------------------------------------------


def test_a_page_by_hand() -> None:
    # Record 0 is created at 1 s and changed at 2 s; the first part shows both at once, the second 3 s later.
    at = np.array([1.0, 2.0])
    found = published(at, records=1)
    visits = PageVisits(page(400), [part(found, at), part(found, at + 3.0)], found, seed=1)
    reads = follow(visits, "none")
    # All visits are within the run, which ends at 2 s: from 1 s on the id dangles.
    late = visits.begun_at >= 1.0
    assert np.array_equal(reads.mixed, late)
    assert np.array_equal(reads.dangling, late.astype(int))
    assert visits.row("none", reads)["versions_apart"] is None
    # As of the lowest checkpoint nothing is there yet; reading again waits until 5 s.
    past, again = follow(visits, "slowest"), follow(visits, "each")
    assert not past.mixed.any()
    assert not past.dangling.any()
    assert visits.ages(past)[late].min() >= 0.0
    assert again.answered[~late].all()
    assert not again.answered[late].any()
    longer = PageVisits(page(400, wait=5.0), [part(found, at), part(found, at + 3.0)], found, seed=1)
    waited = follow(longer, "each")
    assert waited.answered.all()
    assert not waited.mixed.any()
    assert waited.read_at[late].min() >= 5.0


def test_revisions_apart_and_deleted_records_by_hand() -> None:
    at = np.array([1.0, 2.0, 3.0])
    found = published(at, records=1, deleted=1)
    slow = np.array([1.0, 9.0, 9.0])
    visits = PageVisits(page(3_000), [part(found, at), part(found, slow)], found, seed=1)
    reads = follow(visits, "none")
    between = (visits.begun_at >= 2.0) & (visits.begun_at < 3.0)
    assert np.array_equal(reads.mixed, between)
    assert set(reads.apart(found.revision)) == {0, 1}
    assert not reads.dangling.any()
    # A deleted record is no id, and one that only the second part shows as deleted dangles.
    turned = PageVisits(page(3_000), [part(found, slow), part(found, at)], found, seed=1)
    assert follow(turned, "none").dangling.sum() == 0
    assert follow(turned, "none").mixed[between].all()


def test_what_runs_ahead_is_no_cut_of_its_own() -> None:
    # The second change is shown before the first one: no position says what is there.
    at = np.array([1.0, 2.0])
    found, visible = published(at), np.array([9.0, 2.0])
    cut = ShownCut([Window(0.0, INF, visible)], np.arange(2))
    assert cut.highest(np.array([0.5, 2.5, 9.5])).tolist() == [-1, 1, 1]
    assert cut.missing(np.array([0.5, 2.5, 9.5])).tolist() == [0, 0, 2]
    visits = PageVisits(page(), [part(found, visible), part(found, visible)], found, seed=1)
    assert not follow(visits, "none").mixed.any()
    later = np.array([2.5])
    assert cut.highest(later)[0] >= cut.missing(later)[0]


def test_an_older_revision_that_is_shown_again_is_no_cut() -> None:
    shown = pl.DataFrame({"record": [1, 1, 1, 1], "at": [1.0, 2.0, 3.0, 4.0], "revision": [1, 2, 1, 2]})
    cut = ShownCut([Window(0.0, INF, np.array([1.0, 2.0]))], np.arange(2), shown)
    assert cut.missing(np.array([0.5, 1.5, 2.5, 3.5, 4.5])).tolist() == [0, 1, 2, 0, 2]


def test_after_it_was_thrown_away_nothing_is_shown() -> None:
    windows = [Window(0.0, 5.0, np.array([1.0, 2.0])), Window(5.0, INF, np.array([6.0, 7.0]))]
    cut = ShownCut(windows, np.arange(2))
    assert cut.highest(np.array([4.0, 5.5, 6.5, 7.5])).tolist() == [1, -1, 0, 1]
    assert cut.missing(np.array([4.0, 5.5, 6.5, 7.5])).tolist() == [2, 0, 1, 2]


# --- whole runs, and planted faults ----------------------------------------------------------------------------------


def policies(finished: Run) -> dict[str, dict[str, object]]:
    return {row["policy"]: row for row in finished.table("pages").to_dicts()}


def test_messages_that_run_ahead_of_the_checkpoint_are_seen(tmp_path: Path) -> None:
    """The same checkpoint says nothing of what messages have brought beyond it; as of it, all is one cut."""
    messages = '[channel]\ndelay = { kind = "exponential", mean = 0.5 }\n'
    both = 'subscribe = "both"\nevery = 1.0'
    found = policies(run_text(tmp_path, HEAD + messages + projections(both, both) + PAGE))
    assert found["each"]["mixed"] > 0
    assert found["slowest"]["mixed"] == 0


def test_a_checkpoint_that_says_too_much_is_seen_under_each_policy(tmp_path: Path) -> None:
    """Planted: the checkpoint is moved before the data, and a crash comes between."""
    crashes = 'checkpoint = "before-data"\nexpect = "fail"\nfaults = { crashes = [{ at = 20.0 }] }\n'
    finished = run_text(tmp_path, HEAD + projections(POLLS + "0.02", f"{crashes}{POLLS}0.2") + PAGE)
    found = policies(finished)
    assert found["slowest"]["mixed"] > 0
    assert found["each"]["mixed"] > 0
    assert "all up to position" in str(found["slowest"]["witness"])


def test_what_keeps_no_revisions_and_what_has_no_checkpoint_is_told(tmp_path: Path) -> None:
    messages = '[channel]\ndelay = { kind = "exponential", mean = 0.1 }\n'
    alone = projections(POLLS + "0.02", 'subscribe = "channel"', keeps="records")
    found = policies(run_text(tmp_path, HEAD + messages + alone + PAGE))
    assert "keeps no revisions" in str(found["slowest"]["reason"])
    assert "tells no checkpoint" in str(found["each"]["reason"])
    assert found["slowest"]["answered"] is found["each"]["mixed_share"] is None
    assert "is at revision" in str(found["none"]["witness"])


def test_a_page_counts_as_its_queries(tmp_path: Path) -> None:
    made = plan_of(tmp_path, HEAD + projections(POLLS + "0.02", POLLS + "0.2") + PAGE + "weight = 40.0\n")
    plain = plan_of(tmp_path, HEAD + projections(POLLS + "0.02", POLLS + "0.2"))
    before, after = ({query.name: query.weight for query in one.queries} for one in (plain, made))
    assert {name: after[name] - before[name] for name in after if after[name] != before[name]} == {
        "named": 40.0,
        "employee": 40.0,
    }


def test_the_report_and_the_claims_tell_of_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    finished = run_text(tmp_path, HEAD + projections(POLLS + "0.02", POLLS + "2.0") + PAGE)
    html = render(finished)
    assert 'id="pages"' in html
    assert 'id="page_times"' in html
    assert "One visit with mixed cuts: people, policy none" in html


def plan_of(root: Path, text: str) -> Plan:
    (root / "mine.toml").write_text(text)
    return plan(Source(root / "mine.toml"))


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ('step = [{ projection = "quik", query = "named" }, { projection = "slow", query = "employee" }]', "quick"),
        ('step = [{ projection = "quick", query = "namd" }, { projection = "slow", query = "employee" }]', "named"),
        ('step = [{ projection = "quick", query = "named" }]', "at least 2"),
        (STEP + "\nretry = 1e-5\nwait = 100.0", "at most 10,000 times"),
        (STEP + "\nvisits = 1_000_000", "visits times steps times ids"),
    ],
)
def test_what_a_page_can_t_be_is_refused(keys: str, said: str, tmp_path: Path) -> None:
    text = HEAD + projections(POLLS + "0.02", POLLS + "0.2") + f'[[page]]\nname = "people"\n{keys}\n'
    with pytest.raises(BadInput, match=said):
        plan_of(tmp_path, text)


def test_a_claim_about_a_page_that_is_not_there_is_refused(tmp_path: Path) -> None:
    claim = '[[claim]]\nthat = "mixed_cuts(peple, none) > 0"\n'
    with pytest.raises(BadInput, match="people"):
        plan_of(tmp_path, HEAD + projections(POLLS + "0.02", POLLS + "0.2") + PAGE + claim)
    with pytest.raises(BadInput, match="page"):
        plan_of(tmp_path, HEAD + projections(POLLS + "0.02", POLLS + "0.2") + claim)


def test_pages_of_a_live_run_mix_moments_until_they_wait_for_each_other(tmp_path: Path) -> None:
    text = HEAD.replace("rate = 20.0", "rate = 300.0").replace("commands = 1_500", "commands = 900")
    text = text.replace('service = "modelled"', 'mode = "live"')
    text += projections(POLLS + "0.02", POLLS + "0.5").replace('"memory"', '"sqlite.table"') + PAGE
    text = text.replace('store = "sqlite.table"\nkeeps = "revisions"', 'store = "sqlite.search"', 1)
    made = plan_of(tmp_path, text)
    finished = run_live(made, tmp_path / "runs", report=False)
    rows = {row["policy"]: row for row in finished.table("pages").to_dicts()}
    assert rows["none"]["mixed"] > 0
    assert rows["none"]["ids"] > 0
    assert rows["each"]["answered"] > 0
    assert (rows["each"]["mixed"], rows["each"]["dangling"]) == (0, 0)
    assert finished.table("page_times")["visits"].sum() == 2 * rows["none"]["visits"]
    assert finished.manifest["clocks"]["pages"] == "wall, live"
