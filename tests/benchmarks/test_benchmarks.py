"""The benchmark itself: every row runs and is verified, a wrong contestant is caught, figures are what they must be."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from benchmarks.bench import __main__ as bench_main
from benchmarks.bench import (
    apply,
    asked,
    by_hand,
    catch_up,
    channel,
    partitioned,
    peer,
    rebuild,
    redis_store,
    report,
    server_stores,
    server_writes,
    writes,
)
from benchmarks.bench.data import ENTITY, QUICK, Bench, History
from benchmarks.bench.harness import Contestant, Row, attempt, differs, measure, misses, result
from lab.domain.employees import EMPLOYEES
from lab.feed.fold import fold
from lab.measure.machine import machine
from lab.projection.projector import Projector
from lab.queries.kinds import KINDS
from lab.statistics.quantiles import median
from lab.stores import STORES
from lab.truth import Truth

PROMISED = {"row", "lab", "peer", "limit", "unit", "vs_peer", "vs_limit", "low", "high", "target_met"}
EVERY = {
    "execute_full", "execute_normal", "catch_up", "apply_sqlite", "apply_duckdb", "rebuild_duckdb", "rebuild_sqlite",
    "rebuild_parquet", "rebuild_lmdb", "rebuild_search", "rebuild_graph", "rebuild_events", "channel", "run_modelled",
    "query_overhead", "neighbour", "verdict", "memory", "growth", "alternating", "judge",
    *(f"query_{kind}" for kind in KINDS),
}  # fmt: skip


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """Hardly any work, one round."""
    return Bench(tmp_path_factory.mktemp("bench"), replace(QUICK.scaled(0.01), rounds=1), seed=7)


# --- every row -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def results(bench: Bench) -> list[dict[str, Any]]:
    """Every row, measured once; two writers are as good as many where no figure counts, and each is a process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(server_writes, "WRITERS", 2)
        return [measure(row, 1, 7, bench.root / f"row{n}", False) for n, row in enumerate(bench_main.every_row(bench))]


def test_every_row_runs_and_every_contestant_s_final_state_is_right(results: list[dict[str, Any]]) -> None:
    grouped = {"execute_grouped"} if hasattr(Truth, "execute_together") else set()
    servers = {"postgres_commands", partitioned.NAME, *server_stores.NAMES, *redis_store.NAMES} - set(
        server_writes.left_out() | partitioned.left_out() | server_stores.left_out() | redis_store.left_out()
    )
    assert {row["row"] for row in results} == EVERY | grouped | servers
    assert [(row["row"], row["missed"]) for row in results if not row["verified"]] == []
    for row in results:
        assert set(row) >= PROMISED
        assert row["lab"] is not None
        assert row["peer"] is None or row["vs_peer"] == pytest.approx(row["lab"] / row["peer"])
        assert row["limit"] is None or row["vs_limit"] == pytest.approx(row["lab"] / row["limit"])
        assert row["low"] <= row["high"]


def test_every_row_with_a_durability_is_compared_at_an_equal_one(results: list[dict[str, Any]]) -> None:
    # By default the peer is at FULL already; memory and reading have no class of durability.
    without = {"execute_full", "rebuild_events", "channel"}
    assert {row["row"] for row in results if row["peer"] and not row["peer_equal"]} == without


def test_every_row_and_every_key_is_explained(results: list[dict[str, Any]]) -> None:
    page = (report.FOLDER / "README.md").read_text()
    for name in {*(row["row"] for row in results), "execute_grouped", *results[0], "machine"}:
        assert f"\n| `{name}` |" in page, name


def test_what_is_left_out_is_said(bench: Bench) -> None:
    said = bench_main.left_out(bench)
    assert ("execute_grouped" in said) == (not hasattr(Truth, "execute_together"))
    assert {"memory, rebuild of ten times the changes", "growth beyond full size"} <= set(said)


# --- the data --------------------------------------------------------------------------------------------------------


def test_the_history_is_one_that_the_lab_s_own_fold_agrees_with() -> None:
    history = History(3_000, 300, seed=1)
    types = EMPLOYEES.events[ENTITY]
    setting = {
        name: [event for event, kind in types.items() if name in kind.sets]
        for name in EMPLOYEES.entities[ENTITY].columns
    }
    bare = history.frame.with_columns(
        pl.when(pl.col("event").is_in(names)).then(pl.col(name)).alias(name) for name, names in setting.items()
    )
    folded = fold(bare, EMPLOYEES.entities[ENTITY], types).sort("position")
    assert folded.equals(history.frame)
    assert history.last.height == 300
    assert history.frame["event"].n_unique() == 5


# --- figures ---------------------------------------------------------------------------------------------------------


def row(**targets: tuple[str, float]) -> Row:
    """A row of rates without contestants."""
    return Row("made_up", "", "things/s", 10, targets=targets)


def test_medians_and_ratios_by_hand() -> None:
    assert median([3.0, 1.0, 2.0]) == 2.0
    assert median([4.0, 1.0, 2.0, 3.0]) == 2.0
    samples = {"lab": [90.0, 100.0, 110.0], "peer": [10.0, 20.0, 30.0], "limit": [200.0, 100.0, 400.0]}
    found = result(row(vs_peer=("least", 5.0), vs_limit=("least", 0.5)), samples, 3, 1)
    assert (found["lab"], found["peer"], found["limit"]) == (100.0, 20.0, 200.0)
    assert (found["vs_peer"], found["vs_limit"], found["target_met"]) == (5.0, 0.5, True)
    assert found["missed"] == []


def test_each_compared_store_has_its_engine_by_hand() -> None:
    compared = {name for name, spec in STORES.items() if spec.compared and not spec.server}
    assert {*by_hand.STORES, *by_hand.UNMEASURED} == compared
    assert not {*by_hand.STORES} & {*by_hand.UNMEASURED}


def test_the_target_of_a_call_goes_by_how_long_it_takes_by_hand() -> None:
    asked_row = replace(row(), unit="us", targets_by=asked.most)
    for limit, missed in ((19.0, []), (21.0, ["vs_limit 1.5, must be at most 1.3"])):
        found = result(asked_row, {"lab": [1.5 * limit], "limit": [limit]}, 1, 1)
        assert found["missed"] == missed


def test_a_pair_beside_the_figure_is_told_for_information() -> None:
    samples = {"lab": [1.0], "limit": [1.0], "cold_lab": [6.0], "cold_limit": [2.0], "size": [40.0]}
    found = result(replace(row(), size=0), samples, 1, 1)
    assert (found["others"], found["size"], "size" in found["samples"]) == ({"cold": 3.0}, 40, False)


def test_a_missed_target_is_said_in_words() -> None:
    figures = {"vs_peer": 1.5, "vs_limit": 1.03, "lab": None}
    assert misses(figures, {"vs_peer": ("least", 1.5), "vs_limit": ("most", 1.03)}) == []
    assert misses(figures, {"vs_peer": ("least", 2.0)}) == ["vs_peer 1.5, must be at least 2"]
    assert misses(figures, {"vs_limit": ("most", 1.02)}) == ["vs_limit 1.03, must be at most 1.02"]
    assert misses(figures, {"lab": ("most", 1.0)}) == ["lab was not measured, must be at most 1"]


def test_equal_durability_is_a_ratio_of_its_own() -> None:
    samples = {"lab": [100.0], "peer": [10.0], "lab_equal": [12.0], "peer_equal": [8.0], "peer_processes": [5.0]}
    found = result(row(), samples, 1, 1)
    assert found["peer_equal"] == {"lab": 12.0, "peer": 8.0, "vs_peer": 1.5}
    assert found["others"] == {"vs_peer_processes": 20.0}
    assert (found["vs_peer"], found["interval_of"]) == (10.0, "vs_peer")


# --- a wrong contestant is caught ------------------------------------------------------------------------------------


def only(bench: Bench, group: Any, name: str) -> Row:
    """The first row of that name."""
    return next(found for found in group.rows(bench) if found.row == name)


def caught(bench: Bench, found: Row, who: str, folder: Path) -> None:
    """The row is invalid, and says who was wrong."""
    found = Row(**vars(found) | {"contestants": [one for one in found.contestants if one.name == who]})
    entry = measure(found, 1, 7, folder, False)
    assert (entry["verified"], entry["target_met"]) == (False, False)
    assert entry["missed"][0].startswith(f"invalid: {who}: ")


def test_a_lab_that_loses_a_change_is_caught(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    right = Projector.apply
    monkeypatch.setattr(Projector, "apply", lambda self, entity, frame, at: right(self, entity, frame[:-1], at))
    caught(bench, only(bench, apply, "apply_sqlite"), "lab", tmp_path)
    caught(bench, only(bench, apply, "apply_duckdb"), "lab", tmp_path)


def test_a_limit_that_spares_itself_a_row_is_caught(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = rebuild._read
    monkeypatch.setattr(rebuild, "_read", lambda *given: whole(*given)[1:])
    for name in ("rebuild_parquet", "rebuild_lmdb", "rebuild_search", "rebuild_graph"):
        caught(bench, only(bench, rebuild, name), "limit", tmp_path)


def test_a_limit_that_looks_at_one_column_less_is_caught(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catch_up, "AGGREGATE", [*catch_up.AGGREGATE[:-1], "SUM(revision)"])
    caught(bench, only(bench, catch_up, "catch_up"), "limit", tmp_path)


def test_a_peer_that_is_used_wrongly_is_caught(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(peer._SETS, "RaiseGiven", ())
    caught(bench, only(bench, apply, "apply_sqlite"), "peer", tmp_path)


def test_a_command_that_is_not_committed_is_caught(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = Truth.execute
    skipped = "give_raise"
    seen: list[Any] = []

    def forgetful(self: Truth, command: Any) -> Any:
        seen.append(command)
        return right(self, seen[-2] if command.name == skipped and len(seen) == 5 else command)

    monkeypatch.setattr(Truth, "execute", forgetful)
    caught(bench, only(bench, writes, "execute_full"), "lab", tmp_path)


def test_a_queue_that_serves_too_soon_is_caught(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel, "single_server", lambda arrives, seconds: arrives + seconds)
    caught(bench, only(bench, channel, "channel"), "lab", tmp_path)


def test_a_channel_without_duplicates_is_caught(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel, "OPTIONS", channel.OPTIONS.model_copy(update={"duplicate": 0.0}))
    caught(bench, only(bench, channel, "channel"), "lab", tmp_path)


def test_rows_that_differ_in_one_value_differ() -> None:
    right = History(100, 20, seed=2).last
    assert differs(right.sort("salary"), right) is None
    wrong = right.with_columns(pl.when(pl.col("key") == 3).then(1).otherwise("salary").alias("salary"))
    assert "digest" in str(differs(wrong, right))
    assert differs(right[1:], right) == "19 rows, must be 20"
    assert "columns" in str(differs(right.drop("name"), right))


def test_a_contestant_leaves_nothing_behind(tmp_path: Path, bench: Bench) -> None:
    found = only(bench, apply, "apply_sqlite").contestants[0]
    assert attempt(Contestant(found.name, found.work, found.prepare), tmp_path / "one") > 0
    assert list(tmp_path.iterdir()) == []


# --- what is written -------------------------------------------------------------------------------------------------


def test_the_command_writes_both_files_and_fails_for_an_invalid_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["--quick", "--scale", "0.01", "--rounds", "2", "--only", "rebuild_parquet", "--out", str(tmp_path)]
    assert bench_main.main(words) == 0
    with pytest.raises(SystemExit):
        # Rows of smaller sizes never take the places of those in full.
        bench_main.main(words[:-2])
    (entry,) = json.loads((tmp_path / "results.json").read_text())
    assert (entry["row"], entry["rounds"], entry["verified"]) == ("rebuild_parquet", 2, True)
    assert "| `rebuild_parquet` |" in (tmp_path / "results.md").read_text()
    whole = rebuild._read
    monkeypatch.setattr(rebuild, "_read", lambda *given: whole(*given)[1:])
    assert bench_main.main(words) == 1
    (entry,) = json.loads((tmp_path / "results.json").read_text())
    assert entry["target_met"] is False
    assert "**no**: invalid: limit: " in (tmp_path / "results.md").read_text()


def test_rows_that_are_measured_again_take_their_places_and_no_others() -> None:
    old = [{"row": name, "variant": "", "lab": 1.0} for name in ("first", "gone", "last")]
    new = [{"row": name, "variant": "", "lab": 2.0} for name in ("last", "middle")]
    order = [(name, "") for name in ("first", "middle", "last", "never")]
    found = report.merged(old, new, order)
    assert [(row["row"], row["lab"]) for row in found] == [("first", 1.0), ("middle", 2.0), ("last", 2.0)]


def test_rows_of_another_machine_are_not_mixed_in(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = machine() | {"cpu": "a 6502", "load": 0.0}
    (tmp_path / "results.json").write_text(json.dumps([{"row": "channel", "variant": "", "machine": other}]))
    with pytest.raises(SystemExit) as stop:
        bench_main.main(["--quick", "--only", "rebuild_parquet", "--out", str(tmp_path)])
    assert stop.value.code == 2
    assert "is of another machine (cpu: a 6502" in capsys.readouterr().err


def test_the_headline_rows_go_between_the_marks_and_nowhere_else() -> None:
    samples = {"lab": [100.0], "peer": [10.0], "limit": [125.0], "lab_equal": [12.0], "peer_equal": [8.0]}
    entry = result(Row("rebuild_sqlite", "", "changes/s", 1), samples, 1, 1) | {"machine": machine() | {"load": 0.25}}
    page = report.PAGE.read_text()
    written = report.with_headlines(page, [entry])
    shown = "| `rebuild_sqlite` | 100 changes/s | 10.0x | 1.50x | 0.80x | 0.80 to 0.80 | yes |"
    assert shown in written
    assert f"Measured on {machine()['cores']} cores" in written
    assert report.with_headlines(written, [entry]) == written
    before, after = page.partition(report.BEGIN)[0], page.partition(report.END)[2]
    assert written.startswith(before)
    assert written.endswith(after)


def test_the_documented_rows_are_those_of_the_results() -> None:
    if report.RESULTS.exists():
        page = report.PAGE.read_text()
        assert report.with_headlines(page, report.read()) == page


def test_what_more_members_come_to_follows_from_amdahls_law() -> None:
    def row(variant: str, rate: float) -> dict[str, Any]:
        return {"row": partitioned.NAME, "variant": variant, "lab": rate, "verified": True, "size": 1}

    two, four = partitioned.foretold([row("1 member", 100.0), row("2 members", 160.0), row("4 members", 400.0)])
    assert "2 members are 1.60 times as fast as one: a serial share of 0.25" in two
    assert "8 members 2.91 times, never more than 4.00" in two
    assert "a serial share of 0.00; foretold: 8 members 8.00 times, never more than as many as there are" in four
    assert partitioned.foretold([row("2 members", 160.0)]) == []
