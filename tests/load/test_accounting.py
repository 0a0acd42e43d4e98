"""Load: every request that was offered is answered, failed or censored, and none is forgotten."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving import waited

from lab.experiment.progress import Progress, Quiet
from lab.live.judging import lag_summary
from lab.load import events as log
from lab.load import run as loading
from lab.load.driving import Order
from lab.load.ledger import NOT_SENT, RequestLedger
from lab.load.run import load
from lab.runs import Run
from lab.scenario import Source
from lab.tables import TABLES
from lab.wiring import Plan, plan

EMPLOYEES = Path(__file__).parents[2] / "scenarios" / "employees.toml"
SMALL = ("workload.commands=4000", "domain.records=300", "measure.samples=3", "measure.rebuild=false")
DRAIN = 2.0
PATIENCE = 300.0


class Dropper(RequestLedger):
    """A client that forgets what is under way at the end."""

    def give_up(self) -> None:
        """Forget it."""
        self.under_way.clear()


def arrivals(ledger: RequestLedger, fates: list[str]) -> None:
    """Offer a query for each of these fates, and let it come true."""
    for fate in fates:
        ledger.observe("SCHEDULE", 0.0)
        request = ledger.offer("QUERY/a/q", time.time())
        if fate == "answered":
            ledger.conclude(request, service=0.01)
        elif fate == "failed":
            ledger.conclude(request, "503: gone")
        elif fate == "not sent":
            ledger.withdraw(request)
        elif fate == "answered twice":
            ledger.conclude(request, service=0.01)
            ledger.conclude(request, "too late")


FATES = ("answered", "failed", "not sent", "under way", "answered twice")


@given(fates=st.lists(st.sampled_from(FATES), max_size=40))
def test_what_is_offered_is_what_is_answered_failed_and_censored(
    fates: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder, told = tmp_path_factory.mktemp("log"), Counter[str]()
    ledger = RequestLedger(0, folder, lambda row, _, __: told.update([row]))
    arrivals(ledger, fates)
    ledger.close()
    found = log.read(folder, 1)
    assert log.unaccounted(found) is None
    many = Counter(fates)
    # Locust is told of as many as are in the log.
    assert told == dict(found.events.group_by("row").len().iter_rows())
    assert told[NOT_SENT] == many["not sent"]
    rows = {row["row"]: row for row in log.table(found, TABLES["lag_summary"].frame()).to_dicts()}
    if asked := rows.get("QUERY/a/q"):
        assert asked["offered"] == asked["answered"] + asked["failed"] + asked["censored"]
        assert asked["answered"] == many["answered"] + many["answered twice"]
        assert (asked["failed"], asked["censored"]) == (many["failed"], many["under way"])


@given(fates=st.lists(st.sampled_from(FATES), max_size=40))
def test_a_client_that_forgets_what_is_under_way_makes_the_load_void(
    fates: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("log")
    ledger = Dropper(0, folder, lambda *_: None)
    arrivals(ledger, [*fates, "under way"])
    ledger.close()
    why = log.void(log.read(folder, 1), 1.0, 1.0)
    assert why is not None
    assert why.startswith("requests are missing: QUERY/a/q")


def test_an_arrival_that_became_nothing_makes_the_load_void(tmp_path: Path) -> None:
    ledger = RequestLedger(0, tmp_path, lambda *_: None)
    arrivals(ledger, ["answered"] * 20)
    ledger.observe("SCHEDULE", 0.0)
    ledger.close()
    assert log.void(log.read(tmp_path, 1), 20.0, 1.0) == "requests are missing: 21 arrivals, 20 accounted for"


def test_times_of_queries_are_from_the_intended_start_and_count_what_was_not_answered() -> None:
    # In an order in which they don't depend on their neighbours.
    places = np.random.default_rng(1).permutation(np.arange(1, 101)).tolist()
    rows: list[dict[str, Any]] = [
        {"row": "QUERY/a/q", "seconds": 0.1 * place, "service": 0.01, "rows": 2, "began": float(at)}
        for at, place in enumerate(places)
    ]
    lost: list[dict[str, Any]] = [{"row": "QUERY/a/q", "seconds": 0.001, "failed": "503"}] * 5
    lost += [{"row": "QUERY/a/q", "seconds": 2.0, "censored": True}] * 5
    rows += [row | {"began": 9.5 * place} for place, row in enumerate(lost, 1)]
    events = pl.DataFrame([dict.fromkeys(log.COLUMNS) | row for row in rows], schema=log.COLUMNS)
    asked = dict.fromkeys(TABLES["queries"].types) | {"projection": "a", "query": "q", "answer_ok": True}
    [found] = log.queries(events, TABLES["queries"].frame([asked])).to_dicts()
    assert found["samples"] == 110
    # The 55th and the 99th of 110.
    assert found["p50_us"] == pytest.approx(5.5e6)
    assert found["p90_us"] == pytest.approx(9.9e6)
    assert (found["p99_us"], found["p99_high_us"]) == (None, None)
    assert found["p50_low_us"] < found["p50_us"] < found["p50_high_us"]
    assert found["rows"] == 2.0


# --- a projection that is stopped past the end -----------------------------------------------------------------------


def process_of(part: str) -> psutil.Process | None:
    """The process of a part of the service that this process has started."""
    with suppress(psutil.Error):
        for one in psutil.Process().children(recursive=True):
            with suppress(psutil.Error):
                if f'"part": "{part}"' in " ".join(one.cmdline()):
                    return one
    return None


def stopping(part: str, root: Path, problems: list[str]) -> Callable[[], None]:
    """Stop a part (SIGSTOP) a second after requests have come, and let it go on once Locust has ended."""

    def found(pattern: str) -> Any:
        return [one for one in root.glob(f"*/.*/work/events/{pattern}") if one.stat().st_size]

    def run() -> None:
        try:
            waited(lambda: found("events-0.ndjson"), PATIENCE)
            time.sleep(1.0)
            victim = waited(lambda: process_of(part), PATIENCE)
            victim.suspend()
            try:
                waited(lambda: found("stats.json"), PATIENCE)
            finally:
                victim.resume()
        except BaseException as error:
            problems.append(repr(error))

    return run


@pytest.fixture(scope="module")
def judged_twice() -> Iterator[list[pl.DataFrame]]:
    """The lag of each load that is judged, as it is told without judging it: a search for the knee goes by that."""
    found: list[pl.DataFrame] = []
    whole = loading._judged

    def judged(made: Plan, order: Order, seen: loading.LoadResult, work: Path, progress: Progress) -> Any:
        found.append(lag_summary(made, work / "served", seen.began))
        return whole(made, order, seen, work, progress)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loading, "_judged", judged)
        yield found


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory, judged_twice: list[pl.DataFrame]) -> Run:
    """A load of a few seconds whose `directory` is stopped from its first second on to past its end."""
    root, problems = tmp_path_factory.mktemp("stopped"), list[str]()
    thread = threading.Thread(target=stopping("directory", root, problems))
    thread.start()
    source = Source(EMPLOYEES, SMALL)
    arguments = [str(EMPLOYEES), *(word for item in SMALL for word in ("--set", item))]
    order = Order(rate=40.0, seconds=4.0, processes=1, drain=DRAIN, probe_timeout=DRAIN)
    try:
        run = load(plan(source), arguments, order, root, Quiet())
    finally:
        thread.join(PATIENCE)
    assert not problems
    return run


def test_with_a_projection_stopped_every_row_adds_up(stopped: Run) -> None:
    for row in stopped.load.to_dicts():
        assert row["offered"] == row["answered"] + row["failed"] + row["censored"], row
    void = stopped.manifest["load"]["why"]
    # A projection that is stopped keeps nothing from being offered; a busy machine may.
    assert void is None or void.startswith("the generator ")


def test_what_a_stopped_projection_owed_is_censored_and_its_p99_is_not_small(stopped: Run) -> None:
    events = pl.read_parquet(stopped.path / "events.parquet")
    asked = events.filter(pl.col("row").str.starts_with("QUERY/directory/"))
    censored = asked.filter("censored")
    assert censored.height > asked.height / 10
    # Each was waited for until the end and beyond it.
    assert censored["seconds"].min() >= DRAIN
    assert np.quantile(log.times(asked, "seconds"), 0.99, method="inverted_cdf") == np.inf
    told = stopped.queries.filter(projection="directory")
    assert told["samples"].sum() == asked.height
    assert (stopped.load.filter(row="RYW/directory")["censored"] > 0).all()


def test_the_neighbours_of_a_stopped_projection_have_their_whole_lag(stopped: Run) -> None:
    rows = {row["row"]: row for row in stopped.load.to_dicts()}
    for one in stopped.lag_summary.to_dicts():
        row = rows[f"LAG/{one['projection']}"]
        # A command whose answer did not come in time may have been committed.
        unsure = rows["COMMAND"]["failed"] + rows["COMMAND"]["censored"]
        assert 0 <= one["changes"] - stopped.writes["accepted"][0] <= unsure
        assert (row["offered"], row["answered"]) == (one["changes"], one["visible"])
        assert row["p50_seconds"] == one["p50_seconds"]
        # A very busy machine may take more than a minute to catch up.
        assert one["never_visible"] == 0 or not stopped.manifest["load"]["caught_up"]
    directory = stopped.lag_summary.filter(projection="directory").row(0, named=True)
    assert directory["never_visible"] or directory["max_seconds"] > DRAIN


def test_a_search_for_the_knee_goes_by_the_same_lag(stopped: Run, judged_twice: list[pl.DataFrame]) -> None:
    [found] = judged_twice
    assert found.equals(stopped.lag_summary)
