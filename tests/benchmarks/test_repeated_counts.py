"""What `benchmarks.repeated` counts over pairs of runs, its targets, and its exit status."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from repeated import noisy

from benchmarks.repeated import __main__ as command
from benchmarks.repeated.counting import REACHED, Figure, called, counted, of, targets
from lab.report import compare
from lab.report.judged import DIFFERENT, NO_DIFFERENCE, NOT_JUDGED
from lab.runs import Run


def comparison(verdicts: dict[str, str], ratio: float = 1.1) -> dict[str, Any]:
    """A comparison of two stores: the verdict on each quantity that is named, and no difference elsewhere."""

    def row(projection: str, quantity: str, **more: str) -> dict[str, Any]:
        verdict = verdicts.get(f"{projection} {quantity}", NO_DIFFERENCE)
        return {"projection": projection, "verdict": verdict, "ratio": ratio, "says": f"{ratio} times"} | more

    names = ("planted", "directory")
    return {
        "control": {"ratio": 1.0, "moved": False},
        "lag": [{"projection": name, "p50": row(name, "lag p50"), "p99": row(name, "lag p99")} for name in names],
        "rebuild": [row(name, "rebuild") for name in names],
        "disk": [row(name, "disk") for name in names],
        "stores": [
            row(name, f"queries {temperature}", temperature=temperature)
            for name in names
            for temperature in ("hot", "cold")
        ],
        "queries": [
            row(name, f"query p50 {temperature}", query=query, temperature=temperature)
            for name in names
            for query in ("by_id", "by_department")
            for temperature in ("hot", "cold")
        ],
        "queries_p99": [],
    }


FOUND = {f"planted {quantity}": DIFFERENT for quantity in REACHED}


def met(what: str, results: list[dict[str, Any]], factor: float = 1.1, repetitions: int = 10) -> list[bool]:
    return [one.met for one in targets(what, factor, repetitions, counted(results))]


def test_each_figure_is_counted_by_its_name() -> None:
    some = comparison({"planted rebuild": DIFFERENT, "directory query p50 hot": NOT_JUDGED})
    found = counted([some, comparison({})])
    assert (found[Figure("planted", "rebuild")].different, found[Figure("planted", "rebuild")].judged) == (1, 2)
    hot = found[Figure("directory", "query p50 hot", "by_id")]
    assert (hot.compared, hot.judged, hot.different) == (2, 1, 0)
    assert called(some) == ["planted rebuild: 1.1 times"]
    assert called(comparison({"planted query p50 cold": DIFFERENT})) == [
        "planted query p50 cold by_id: 1.1 times",
        "planted query p50 cold by_department: 1.1 times",
    ]


def test_more_than_5_percent_called_different_miss_the_target_of_runs_that_do_not_differ() -> None:
    # 20 figures in each comparison: two of 20 is 10 %, two of 40 are 5 %.
    one = comparison({"directory rebuild": DIFFERENT, "planted disk": DIFFERENT})
    assert met("same", [one]) == [False]
    assert met("same", [one, comparison({})]) == [True]
    assert met("same", []) == [False]


def test_each_figure_that_the_slowdown_reaches_has_a_target_of_its_own() -> None:
    assert met("planted", [comparison(FOUND)] * 19 + [comparison({})]) == [True] * 3
    for place, quantity in enumerate(REACHED):
        missing = comparison({name: verdict for name, verdict in FOUND.items() if not name.endswith(quantity)})
        assert met("planted", [comparison(FOUND)] * 18 + [missing] * 2) == [place != nth for nth in range(3)]


def test_what_is_called_faster_or_could_not_be_judged_is_not_found() -> None:
    assert met("planted", [comparison(FOUND, 0.9)]) == [False, False, True]
    untold = dict.fromkeys(FOUND, NOT_JUDGED)
    assert met("planted", [comparison(FOUND), comparison(untold)]) == [False, False, True]
    false = comparison(FOUND | {"directory disk": DIFFERENT})
    assert met("planted", [false]) == [True, True, False]


def test_a_smaller_slowdown_and_fewer_repetitions_have_no_target() -> None:
    assert met("planted", [comparison({})], factor=1.05) == []
    assert met("planted", [comparison({})], repetitions=5) == []
    assert met("planted", [comparison(FOUND)], factor=1.2, repetitions=20) == [True] * 3


def test_a_share_has_its_interval() -> None:
    assert of(38, 40) == "38 of 40, 95.0 % (83.5 to 98.6)"
    assert of(0, 0) == "nothing was compared"


@pytest.mark.parametrize(("factor", "status"), [(1.0, 1), (1.5, 0)])
def test_the_exit_status_says_whether_the_targets_are_met(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], factor: float, status: int
) -> None:
    """Real comparisons of made-up runs; `directory` plays the planted store."""
    pairs = [
        (noisy(tmp_path, f"a{number}"), noisy(tmp_path, f"b{number}", slower={"directory": factor}))
        for number in range(2)
    ]

    def made(*_: object) -> list[tuple[Run, Run]]:
        return pairs

    monkeypatch.setattr(command, "pairs", made)
    monkeypatch.setattr("benchmarks.repeated.counting.PROJECTION", "directory")
    assert command.main(["planted"]) == status
    said = capsys.readouterr().out
    assert said.count("so far: ") == 2
    assert f"{'met' if status == 0 else 'MISSED'}: directory queries hot found slower: at least 95 %: " in said
    shown = json.loads(said[said.index("{\n") : said.index("\n}\n") + 2])
    assert shown["figures"]["directory queries hot"]["different"] == (2 if status == 0 else 0)
    assert command.main(["same"]) == 1 - status
    assert command.main(["planted", "--repeat", "5"]) == 0
    assert "no target" in capsys.readouterr().out


@pytest.mark.parametrize("words", [["--runs", "1"], ["--repeat", "1"], ["--factor", "0.9"], ["--factor", "nan"]])
def test_what_compares_nothing_is_one_clear_error(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        command.main(["planted", *words])
    assert ended.value.code == 2
    assert "is not valid: a number" in capsys.readouterr().err


def test_a_compared_run_really_has_the_figures_with_targets(tmp_path: Path) -> None:
    found = counted([compare(noisy(tmp_path, "before"), noisy(tmp_path, "after"))])
    assert set(REACHED) <= {figure.quantity for figure in found}
