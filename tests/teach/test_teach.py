"""The course's own room: rides, corners, advice, sliders and the tidying of notebooks, each against a plain account."""

from __future__ import annotations

import builtins
import tomllib
from typing import Any

import nbformat
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure

from lab.base import BadInput
from lab.errors import NotReadable
from lab.teach import (
    animation,
    books,
    choosing,
    desk,
    experiments,
    onetable,
    output,
    queueing,
    racing,
    widgets,
)
from lab.teach.ride import ride
from lab.teach.scale import VARIABLE, scaled


@pytest.mark.parametrize(("text", "count"), [("1", 100), ("0.5", 50), ("2", 200), ("0.05", 5)])
def test_the_scale_is_one_factor(text: str, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, text)
    assert scaled(100) == count


@pytest.mark.parametrize("text", ["", "much", "0", "-1", "1e9"])
def test_a_scale_that_is_none_is_refused(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, text)
    with pytest.raises(BadInput, match=VARIABLE):
        scaled(100)


PLAIN = st.one_of(st.booleans(), st.integers(-1_000, 1_000), st.floats(0, 1, allow_nan=False), st.text(max_size=8))
TABLES = st.recursive(
    PLAIN, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3)
)


@given(st.dictionaries(st.from_regex(r"[a-z_]{1,8}", fullmatch=True), TABLES, max_size=4))
def test_tables_are_read_back_as_they_were_written(raw: dict[str, Any]) -> None:
    assert tomllib.loads(experiments.scenario_text(raw)) == raw


def test_the_same_experiment_is_run_once_and_another_seed_is_another() -> None:
    one = experiments.experiment(experiments.projection("a"), commands=60, readers={"sessions": 0})
    assert experiments.experiment(experiments.projection("a"), commands=60, readers={"sessions": 0}) is one
    assert experiments.experiment(experiments.projection("a"), commands=60, seed=2, readers={"sessions": 0}) is not one
    assert not (one.path / "report.html").exists()
    with pytest.raises(BadInput, match="guard"):
        experiments.experiment(experiments.projection("a", guard="revisions"))


@settings(max_examples=12)
@given(st.integers(1, 500), st.sampled_from([0.0, 0.3]), st.sampled_from([0.0, 0.5]), st.sampled_from([0.0, 0.3]))
def test_a_ride_shows_what_plain_rules_say(seed: int, duplicate: float, reorder: float, lose: float) -> None:
    taken = ride(12, 3, duplicate, lose, reorder, seed=seed)
    states = {row["position"]: row for row in taken.changes.iter_rows(named=True)}
    arrived = taken.journal.filter(pl.col("arrives_at").is_not_null()).sort("arrives_at", maintain_order=True)
    assert arrived["arrives_at"].to_list() == list(taken.times)
    highest: dict[int, tuple[int, bool]] = {}
    last: dict[int, tuple[int, bool]] = {}
    for step, message in enumerate(arrived["message"].to_list(), start=1):
        row = states[taken.changes["position"][message]]
        found = (row["revision"], not row["deleted"])
        last[row["key"]] = found
        highest[row["key"]] = max(highest.get(row["key"], found), found)
        assert taken.shown["none"][step] == last
        assert taken.shown["revision"][step] == highest
    assert taken.went_back("revision") == 0
    if lose == 0.0:
        assert taken.wrong_at_the_end("revision") == 0


def test_an_animation_has_a_picture_for_every_moment() -> None:
    taken = ride(8, 2, 0.3, 0.2, 0.4, seed=3)
    for part in (0.0, 0.3, 1.0, 2.0):
        assert isinstance(animation.moments(taken, taken.end * part), Figure)


def test_a_rebuild_by_hand_reads_everything_and_changes_nothing() -> None:
    grown = desk.growth(["memory", "sqlite.table"], [50, 120], times=1)
    assert grown["same"].all()
    assert grown["changes"].to_list() == [50, 50, 120, 120]


def test_a_weight_of_nothing_takes_a_question_away() -> None:
    stores = [experiments.projection("rows", "sqlite.table"), experiments.projection("index", "sqlite.search")]
    measured = {"samples": 3, "truth": False}
    run = experiments.experiment(*stores, commands=200, measure=measured, readers={"sessions": 0})
    asked = choosing.question(run)
    assert set(choosing.kept(choosing.advice(asked))) == {"rows", "index"}
    assert choosing.kept(choosing.advice(asked, {"named": 0})) == ("rows",)
    assert choosing.advice(asked, lag_p99=1e-9).binding is not None
    with pytest.raises(KeyError):
        choosing.advice(asked, {"nobody_asks": 1})


def test_the_queue_comes_near_the_formula() -> None:
    curve = queueing.curve(100_000).pivot("quantile", index="utilisation", values="seconds")
    low = curve.filter(pl.col("utilisation") <= 0.8)
    assert low["mean"].to_list() == pytest.approx(low["theory: mean"].to_list(), rel=0.1)


def nothing(**values: Any) -> tuple[Figure, str]:
    """A figure, and what it was drawn with."""
    return Figure(figsize=(1, 1)), str(sorted(values.items()))


def shown(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What is displayed from now on."""
    bundles: list[dict[str, Any]] = []
    monkeypatch.setattr(widgets, "display", bundles.append)
    return bundles


def test_without_ipywidgets_there_is_a_picture_and_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    bundles, real = shown(monkeypatch), builtins.__import__

    def missing(name: str, *rest: Any) -> Any:
        if name == "ipywidgets":
            raise ModuleNotFoundError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", missing)
    widgets.explore(nothing, share=widgets.share(0.1), store=widgets.choice("a", ["a", "b"]))
    assert [set(bundle) for bundle in bundles] == [{"image/png", "text/markdown", "text/plain"}]
    assert bundles[0]["text/markdown"] == "[('share', 0.1), ('store', 'a')]"


def test_a_moved_slider_draws_again_and_a_mistake_is_told_in_its_place() -> None:
    ipywidgets = pytest.importorskip("ipywidgets")

    def draw(**values: Any) -> tuple[Figure, str]:
        if values["size"] == 3:
            raise BadInput([NotReadable("here", "three is none").problems[0]])
        return nothing(**values)

    controls = {"size": widgets.slider(1, 1, 3), "moment": widgets.film(0, 0, 5)}
    box = widgets._box(ipywidgets, draw, controls, b"", "")
    slider, played, _, sentence = box.children
    slider.value = 2
    assert "(&#x27;size&#x27;, 2)" in sentence.value
    played.children[0].value = 4
    assert "(&#x27;moment&#x27;, 4)" in sentence.value
    slider.value = 3
    assert "three is none" in sentence.value


def test_a_claim_about_figures_is_judged_by_the_run(capsys: pytest.CaptureFixture[str]) -> None:
    both = [experiments.projection("polled", subscribe="catch-up", every=0.1), experiments.projection("told")]
    channel = experiments.messages(delay=0.001, reorder=0.0)
    run = experiments.experiment(*both, channel=channel, commands=3_000, repeat=3)
    output.claim("messages are quicker", "lag_p50(told) < lag_p50(polled) / 3", run)
    with pytest.raises(output.ClaimFailed, match="not so: polls are quicker"):
        output.claim("polls are quicker", "lag_p50(told) > lag_p50(polled)", run)
    output.claim("who knows", "rebuild(told) < rebuild(polled)", run.first)
    told = capsys.readouterr().out
    assert "✓ messages are quicker: " in told
    assert "? who knows: not certain: one repetition shows nothing" in told
    for text, said in (
        ("skipped(pulled) = 0", r"at 9, `pulled\) = 0`: no projection is called `pulled` \(did you mean `polled`\?\)"),
        ("query(polled, nothing) < 1 s", "`nothing`"),
        ("lag_p50(told) = 0", "never equal to the last digit"),
        ("skipped(told)", "nothing is compared here"),
    ):
        with pytest.raises(BadInput, match=said):
            output.claim("a slip of the pen", text, run)


def test_a_claim_that_does_not_hold_is_raised(capsys: pytest.CaptureFixture[str]) -> None:
    output.claim("two is two", holds=True)
    assert "two is two" in capsys.readouterr().out
    with pytest.raises(output.ClaimFailed, match="not so: two is three"):
        output.claim("two is three", holds=False)


def test_a_tidy_notebook_has_pictures_in_place_of_widgets() -> None:
    data = {books.WIDGET: {"model_id": "1"}, "image/png": "cGljdHVyZQ==", "text/markdown": "so", "text/plain": "so"}
    cell = nbformat.v4.new_code_cell("1", outputs=[nbformat.v4.new_output("display_data", data)])
    cell.metadata["execution"] = {"iopub.status.busy": "now"}
    book = nbformat.v4.new_notebook(cells=[cell], metadata={"widgets": {"state": {}}})
    picture, sentence = books.tidy(book).cells[0].outputs
    assert set(picture.data) == {"image/png", "text/plain"}
    assert sentence.data["text/markdown"] == "so"
    assert "widgets" not in book.metadata
    assert book.cells[0].metadata == {}


def test_a_table_of_departures_answers_counts_and_costs() -> None:
    with_none, with_four = (onetable.DepartureTable(2_000, indexes) for indexes in (0, 4))
    assert with_none.rows == 2_000
    report = with_none.ask(onetable.REPORT)
    assert sum(int(str(row[1])) for row in report) == 2_000
    assert report == with_four.ask(onetable.REPORT)
    assert with_four.size_bytes() > 1.5 * with_none.size_bytes()
    with_four.insert(10)
    with_none.journal("delete")
    assert with_none.ask("PRAGMA journal_mode") == [("delete",)]
    assert not with_none.commits_while_read()
    with_none.journal("wal")
    assert with_none.commits_while_read()
    slowest = with_none.slowest(rounds=2, count=1)
    assert {name: len(took) for name, took in slowest.items()} == {"alone": 2, "beside": 2}
    assert with_none.ask("SELECT count(*) FROM departure") == [(2_005,)]
    assert with_four.ask("SELECT count(*) FROM departure") == [(2_010,)]
    for each in (with_none, with_four):
        each.close()
        assert not each.path.exists()


def test_a_factor_is_told_with_its_interval_or_as_a_tie() -> None:
    clear = racing.longer([4.0, 4.2, 3.9], [1.0, 1.0, 1.0])
    assert racing.by_more_than(3, clear)
    assert not racing.by_more_than(4.1, clear)
    assert racing.told_longer(clear).startswith("4 times as long (95 %: ")
    same = racing.longer([1.0, 1.2, 0.9], [1.1, 1.0, 1.0])
    assert "a tie" in racing.told_longer(same)
    assert not racing.by_more_than(0.99, same)
    assert racing.told_longer(racing.longer([1.0], [1.0])) == "not known (one repetition)"


def test_work_is_done_in_turns_and_the_first_round_is_not_counted() -> None:
    done: list[str] = []
    times = racing.in_turns({"a": lambda: done.append("a"), "b": lambda: done.append("b")}, rounds=2)
    assert "".join(done) == "ababab"
    assert {name: len(took) for name, took in times.items()} == {"a": 2, "b": 2}
