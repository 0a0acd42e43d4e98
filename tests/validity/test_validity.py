"""The lab against theory in its small form, planted faults that the cases must exclude, and the page of results."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from documents import text

from benchmarks.validity import __main__ as validity
from benchmarks.validity.queues import bounded, loses, random_service
from benchmarks.validity.replicas import Setting, fresh, reads_fresh
from benchmarks.validity.section import QUICK, SECTIONS, Case, Effort, Findings, hold, section, told
from benchmarks.validity.wars import LNKD_DISK
from lab.statistics.student import t_quantile

# So many that the interval excludes a planted fault, of which each leads a tenth or more away.
PLANTED = Effort(seeds=12, size=2_000)
PAGE = text("docs/validity.md")


def parts() -> dict[str, str]:
    """The generated parts of the page by the names of their sections."""
    return dict(re.findall(r"<!-- validity: (\w+) -->(.*?)<!-- end: \1 -->", PAGE, re.S))


@pytest.mark.parametrize("name", SECTIONS)
def test_a_small_form_of_each_section_holds_and_the_page_has_its_rows(name: str) -> None:
    findings = section(name).run(QUICK)
    assert findings.rows
    assert not findings.outside
    found = [line.split(" | ")[0].removeprefix("| ") for line in parts()[name].splitlines() if line.startswith("| ")]
    assert found == [findings.columns[0], "---", *(row[0] for row in findings.rows)]


def test_no_row_of_the_page_lies_outside() -> None:
    assert "**outside**" not in PAGE


def test_each_section_is_on_the_page_and_no_other() -> None:
    assert list(parts()) == list(SECTIONS)


@pytest.mark.parametrize("name", SECTIONS)
def test_the_page_was_made_with_the_full_effort(name: str) -> None:
    full = section(name).full
    assert f"--only {name} --seeds {full.seeds} --size {full.size}`" in parts()[name]


@pytest.mark.parametrize(
    "words", [["--seeds", "1"], ["--seeds", "0"], ["--size", "0"], ["--seeds", "x"], ["--quick", "--seeds", "4"]]
)
def test_an_effort_without_an_interval_is_one_clear_error(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        validity.main(words)
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert "or more" in said or "leave out --seeds" in said
    assert "Traceback" not in said


def test_the_small_form_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    right = replace(section("polling"), run=lambda effort: Findings(["case"], [["right"]], []))
    monkeypatch.setattr(validity, "section", lambda name: right)
    assert validity.main(["--quick", "--only", "polling", "--page", str(tmp_path / "page.md")]) == 0
    assert not (tmp_path / "page.md").exists()


# --- what must be seen -----------------------------------------------------------------------------------------------


def test_a_queue_with_a_place_too_many_is_seen() -> None:
    planted = replace(bounded(1.2, 2), measure=loses(1.2, 3))
    assert not hold(planted, PLANTED).holds


def test_a_service_of_another_mean_is_seen() -> None:
    assert not hold(random_service("M/M/1", 0.5, 1.0, planted=1.25, distribution="exponential"), PLANTED).holds


def test_a_service_of_another_law_is_seen() -> None:
    assert not hold(random_service("constant, said to be M/M/1", 0.8, 1.0), PLANTED).holds


def test_replicas_that_share_one_draw_are_seen() -> None:
    planted = replace(fresh(LNKD_DISK, 1, 1, 0.0, ""), measure=reads_fresh(Setting(LNKD_DISK, 1, 1, shared=True), 0.0))
    assert not hold(planted, PLANTED).holds


# --- the frame -------------------------------------------------------------------------------------------------------


def test_a_case_without_spread_must_give_the_value_itself() -> None:
    def right(seed: int, size: int) -> float:
        return 0.25

    assert hold(Case("exact", 0.25, "", right), QUICK).holds
    assert not hold(Case("off", 0.250_001, "", right), QUICK).holds


@pytest.mark.parametrize(
    ("freedom", "share", "table"),
    [(1, 0.975, 12.7062047), (4, 0.975, 2.7764451), (11, 0.9995, 4.4369793), (30, 0.975, 2.0422725)],
)
def test_quantiles_of_student_s_t_are_those_of_the_tables(freedom: int, share: float, table: float) -> None:
    assert t_quantile(freedom, share) == pytest.approx(table, rel=1e-7)


def test_a_part_is_written_in_its_place_and_the_rest_is_kept(tmp_path: Path) -> None:
    findings = Findings(["case", "verdict"], [["one", "holds"]], [])
    new = validity.part("queues", findings, QUICK)
    page = validity.written("# Page\n", "queues", new)
    other = validity.written(f"{page}\nend\n", "queues", new.replace("one", "two"))
    assert other == page.replace("one", "two") + "\nend\n"
    assert told(findings) in page.lower()


def test_a_row_that_does_not_hold_decides_the_exit_status(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# Page\n")
    planted = replace(section("queues"), run=lambda effort: Findings(["case"], [["wrong"]], ["wrong"]))
    monkeypatch.setattr(validity, "section", lambda name: planted)
    assert validity.main(["--only", "queues", "--page", str(page)]) == 1
    assert "wrong" in page.read_text()
