"""The lab in Python: scenarios in every form, results that show themselves, and the figures of the run's own tables."""

from __future__ import annotations

import doctest
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from documents import blocks

import lab
import lab.notebook
from lab.base import BadInput, NotReadable
from lab.notebook.results import ShownRun
from lab.runs import load_run
from lab.shipped import scenario_file, scenario_files

TABLES: dict[str, Any] = {
    "schema": 1,
    "name": "mine",
    "seed": 5,
    "domain": {"name": "employees", "records": 30},
    "workload": {"commands": 200, "rate": 100.0},
    "time": {"service": "modelled"},
    "channel": {"duplicate": 0.2, "lose": 0.05},
    "measure": {"samples": 1, "trials": False},
    "projection": [
        {"name": "rows", "store": "sqlite.table"},
        {"name": "sums", "store": "memory", "guard": "none", "subscribe": "channel", "expect": "fail"},
    ],
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> ShownRun:
    return lab.run(TABLES, runs=tmp_path_factory.mktemp("notebook") / "runs", progress=False)


def test_tables_a_text_a_file_and_keys_are_one_scenario(run: ShownRun, tmp_path: Path) -> None:
    text = (
        'schema = 1\nname = "mine"\nseed = 5\ntime = { service = "modelled" }\n'
        "measure = { samples = 1, trials = false }\n"
        'domain = { name = "employees", records = 30 }\nworkload = { commands = 10, rate = 100.0 }\n'
        'channel = { duplicate = 0.2, lose = 0.05 }\n[[projection]]\nname = "rows"\nstore = "sqlite.table"\n'
        '[[projection]]\nname = "sums"\nstore = "memory"\nguard = "none"\nsubscribe = "channel"\nexpect = "fail"\n'
    )
    file = tmp_path / "mine.toml"
    file.write_text(text)
    of_text = lab.run(text, {"workload.commands": 200}, runs=tmp_path, progress=False, report=False)
    of_file = lab.run(file, workload__commands=200, runs=tmp_path, progress=False, report=False)
    for other in (of_text, of_file):
        assert other.lag.equals(run.lag)
        assert other.verdicts.equals(run.verdicts)
    another = lab.run(file, workload__commands=200, seed=6, runs=tmp_path, progress=False, report=False)
    assert not another.lag.equals(run.lag)
    assert not (another.path / "report.html").exists()
    assert (run.path / "report.html").exists()


def test_a_fresh_report_names_the_run_by_the_folder_that_it_is_in(run: ShownRun) -> None:
    page = (run.path / "report.html").read_text(encoding="utf-8")
    assert run.name in page
    assert ".partial" not in page


def test_a_mistake_is_told_as_the_command_tells_it(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="did you mean `commands`"):
        lab.run(TABLES, workload__comands=3, runs=tmp_path, progress=False)
    with pytest.raises(NotReadable, match="no such file"):
        lab.run("employes", runs=tmp_path, progress=False)
    assert list(tmp_path.iterdir()) == []


def test_a_run_shows_its_verdicts_and_its_witness(run: ShownRun) -> None:
    assert run.verdict == "pass"
    shown = run._repr_html_()
    root = ElementTree.fromstring(shown.replace("<br>", "<br/>"))
    said = " ".join(root.itertext())
    assert "PASS" in said
    assert run.manifest["replay"] in said
    for name, verdict in (("rows", "pass"), ("sums", "fail")):
        row = next(row for row in root.iter("tr") if row[0].text == name and len(row) == 4)
        assert verdict in "".join(row[1].itertext())
    assert "PASS" in repr(run)
    assert {"lag", "queries", "plot", "explain"} <= set(dir(run))
    assert "no check failed" in run.explain("rows")
    failed = run.verdicts.filter(projection="sums", verdict="fail")["check"].to_list()
    assert failed
    assert all(f"{check}: " in run.explain("sums") for check in failed)
    with pytest.raises(KeyError, match="rows, sums"):
        run.explain("row")


def test_names_in_a_run_are_no_markup(tmp_path: Path) -> None:
    odd = lab.run(TABLES, runs=tmp_path, progress=False, report=False)
    manifest = odd.manifest
    manifest["projections"][0]["name"] = "<script>"
    manifest["replay"] = "<script>"
    assert "<script>" not in odd._repr_html_()
    assert "&lt;script&gt;" in odd._repr_html_()


def test_the_figures_are_vector_graphics_with_the_run_s_own_names(run: ShownRun) -> None:
    for drawn in (
        run.plot.lag(),
        run.plot.visibility(),
        run.plot.staleness(),
        run.plot.queries(),
        run.plot.timeline("sums"),
    ):
        shown = drawn._repr_html_()
        root = ElementTree.fromstring(shown)
        assert root[0].tag.endswith("svg")
        assert root[0].get("aria-label")
        assert "".join(root.itertext()).strip()
    assert "sums" in run.plot.lag().svg
    p50 = run.queries.filter(projection="rows")["p50_us"].drop_nulls()
    assert run.plot.grid()._repr_html_().count("<td") >= len(p50)
    with pytest.raises(KeyError, match="one of: sums"):
        run.plot.timeline("rows")


def test_runs_are_listed_the_newest_first_and_what_is_damaged_is_left_out(run: ShownRun, tmp_path: Path) -> None:
    assert lab.runs(tmp_path).is_empty()
    root = run.path.parent.parent
    listed = lab.runs(root)
    assert listed["path"].to_list() == [str(run.path)]
    assert listed.row(0, named=True)["verdict"] == "pass"
    broken = root / "mine" / "zz"
    broken.mkdir()
    (broken / "manifest.json").write_text("{")
    assert lab.runs(root).equals(listed)
    assert lab.load_run("mine", root).lag.equals(run.lag)
    assert lab.load_run(run.path).plot.lag()._repr_html_() == run.plot.lag()._repr_html_()


def test_comparison_and_advice_print_what_the_commands_print(run: ShownRun) -> None:
    shown = lab.compare(run, run.path)
    assert "compared with itself" in repr(shown)
    assert "&" not in repr(shown)
    assert shown._repr_html_().startswith("<pre")
    assert shown.document["verdict_changes"] == []
    advice = lab.advise(run)
    assert "rows" in repr(advice)
    assert advice.record().startswith("#")


def test_a_projector_is_checked() -> None:
    found = lab.check("lab.kit.examples.naive_insert:handle", histories=5)
    assert found.verdict == "fail"
    assert "no_double_effect" in repr(found)


def test_what_there_is_is_listed() -> None:
    shipped = lab.scenarios()
    assert shipped["name"].to_list() == list(scenario_files())
    assert all(shipped["about"].str.len_chars() > 10)
    assert {"sqlite.table", "duckdb.columnar"} <= set(lab.stores()["store"])
    assert {"run", "stores", "runs", "__version__"} <= set(dir(lab))


def test_rooms_that_are_functions_too_can_be_called_however_they_were_imported() -> None:
    code = """
import lab
from lab.stores import STORES
from lab.runs import Run
import lab.stores.catalogue
assert lab.stores.STORES is STORES and lab.runs.Run is Run
assert lab.stores().height >= 3 and lab.runs("nowhere").is_empty()
from lab import stores, runs
assert stores().height == lab.stores().height
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_shipped_scenario_is_found_by_its_name_unless_there_is_such_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert scenario_file("employees").read_text().splitlines()[0].startswith("#")
    assert scenario_file("employees.toml") == Path("employees.toml")
    assert scenario_file("./employees") == Path("./employees")
    (tmp_path / "employees").mkdir()
    assert scenario_file("employees").suffix == ".toml"
    (tmp_path / "employees").rmdir()
    (tmp_path / "employees").write_text("mine")
    assert scenario_file("employees") == Path("employees")


def test_ten_lines_of_the_readme_decide_between_two_stores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = (block for block in blocks("README.md", "python") if "lab.run(" in block)
    assert len([line for line in code.splitlines() if line.strip()]) <= 10
    monkeypatch.chdir(tmp_path)
    small = code.replace("20_000", "2_500, measure__samples=1")
    assert small != code
    names: dict[str, object] = {}
    exec(compile(small, "README.md", "exec"), names)
    found = names["run"]
    assert isinstance(found, ShownRun)
    assert load_run("employees").path == found.path
    asked = {(store, query) for store, query in found.queries.select("store", "query").iter_rows()}
    both = [{query for store, query in asked if store == one} for one in ("sqlite.table", "duckdb.columnar")]
    assert both[0] & both[1]


def test_the_examples_of_the_documentation_strings_are_what_comes_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = [each for each in doctest.DocTestFinder().find(lab.notebook, globs={"folder": tmp_path}) if each.examples]
    assert found
    for each in found:
        assert doctest.DocTestRunner().run(each).failed == 0
