"""Claims of real runs: judged before any figure, in the run folder, in the exit status, and as JUnit XML."""

from __future__ import annotations

import json
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner, Result

from lab.base import BadInput
from lab.claims import INCONCLUSIVE, REFUTED, VERIFIED
from lab.cli import lab
from lab.runs import Run
from lab.scenario import Source
from lab.wiring import plan

SCENARIO = """\
schema = 1
name = "claimed"
seed = 1087

[domain]
name = "employees"
records = 60

[workload]
commands = 1_200
rate = 300.0
deletes = 0.02

[truth]
model = "history"

[time]
service = "modelled"

[catch_up]
every = 0.1

[channel]
delay = { kind = "exponential", mean = 0.005 }
lose = 0.05

[readers]
sessions = 50

[measure]
samples = 3
blocks = 0
warm_up = 0
trials = false
truth = false

[[projection]]
name = "polled"
store = "memory"
subscribe = "catch-up"

[[projection]]
name = "told"
store = "memory"

[[projection]]
name = "lossy"
store = "memory"
subscribe = "channel"
expect = "fail"
"""
HOLDS = 'name = "messages-are-quicker"\nthat = "lag_p50(told) < 0.5 * lag_p50(polled)"\nwhy = "<no & poll>"'
FAILS = 'that = "violations(lossy, no_loss) = 0"'
OPEN = 'that = "rebuild(told) < rebuild(polled)"'


def written(folder: Path, *claims: str, text: str = SCENARIO) -> Path:
    path = folder / "claimed.toml"
    path.write_text(text + "".join(f"\n[[claim]]\n{claim}\n" for claim in claims))
    return path


def invoked(folder: Path, *arguments: str) -> Result:
    return CliRunner().invoke(lab, ["run", str(folder / "claimed.toml"), "--runs", str(folder / "runs"), *arguments])


def latest(folder: Path) -> Run:
    return Run((folder / "runs" / "claimed" / "latest").resolve())


def test_a_claim_is_told_before_any_figure_and_kept_in_the_run(tmp_path: Path) -> None:
    written(tmp_path, HOLDS)
    result = invoked(tmp_path)
    assert result.exit_code == 0, result.output
    verdict = result.stdout.index("✓ verified  messages-are-quicker")
    assert verdict < result.stdout.index("lag_p50(told) < 0.5 *") < result.stdout.index("never")
    run = latest(tmp_path)
    (row,) = run.table("claims").to_dicts()
    assert (row["claim"], row["verdict"], row["unit"], row["compared"]) == (
        "messages-are-quicker",
        VERIFIED,
        "s",
        "ratio",
    )
    assert row["low"] < row["value"] < row["high"] < 1
    assert run.manifest["claims"] == {VERIFIED: 1, REFUTED: 0, INCONCLUSIVE: 0}
    page = (run.path / "report.html").read_text()
    assert page.index('id="claims"') < page.index('id="projections"')
    assert "&lt;no &amp; poll&gt;" in page


@pytest.mark.parametrize(
    ("claims", "status"), [([HOLDS], 0), ([HOLDS, FAILS], 1), ([HOLDS, OPEN], 3), ([OPEN, FAILS], 1)]
)
def test_the_exit_status_is_that_of_the_worst_claim(claims: list[str], status: int, tmp_path: Path) -> None:
    written(tmp_path, *claims)
    assert invoked(tmp_path, "--json").exit_code == status


def test_a_verdict_that_is_not_as_expected_goes_first(tmp_path: Path) -> None:
    written(tmp_path, OPEN, text=SCENARIO.replace('expect = "fail"\n', ""))
    result = invoked(tmp_path, "--json")
    assert result.exit_code == 1
    (row,) = json.loads(result.stdout)["claims"]
    assert row["verdict"] == INCONCLUSIVE
    assert "--repeat 5" in row["reason"]


def test_what_a_failing_projection_is_withheld_of_is_inconclusive(tmp_path: Path) -> None:
    written(tmp_path, 'that = "lag_p50(lossy) < 1 s"')
    assert invoked(tmp_path).exit_code == 3
    (row,) = latest(tmp_path).table("claims").to_dicts()
    assert row["reason"] == "`lossy` has the verdict fail, so its figures are withheld"
    assert row["left"] is None


def test_repetitions_judge_what_is_measured_and_a_claim_can_ask_for_them(tmp_path: Path) -> None:
    written(tmp_path, 'that = "never_visible(lossy) > never_visible(told)"\nrepeat = 5')
    result = invoked(tmp_path)
    assert result.exit_code == 0, result.output
    (row,) = latest(tmp_path).table("claims").to_dicts()
    assert (result.exit_code, row["verdict"], row["repetitions"]) == (0, VERIFIED, 5)
    assert latest(tmp_path).repetitions == 5
    assert invoked(tmp_path, "--repeat", "1").exit_code == 3


def test_a_mistake_in_a_claim_is_refused_when_the_scenario_is_read(tmp_path: Path) -> None:
    path = written(tmp_path, 'that = "lag_p50(told) < query(polled, nothing)"', FAILS.replace("no_loss", "no_los"))
    with pytest.raises(BadInput) as refused:
        plan(Source(path))
    assert [problem.where for problem in refused.value.problems] == [
        "claimed.toml: claim.#1.that",
        "claimed.toml: claim.#2.that",
    ]
    assert "no query is called `nothing`" in str(refused.value)
    assert "did you mean `no_loss`?" in str(refused.value)
    assert plan(Source(path, ["claim=[]"])).scenario.claim == ()


def test_claims_go_by_name_on_the_command_line(tmp_path: Path) -> None:
    path = written(tmp_path, HOLDS)
    changed = plan(Source(path, ["claim.messages-are-quicker.repeat=4"])).scenario
    assert (changed.claim[0].repeat, changed.repeat) == (4, 4)
    assert plan(Source(path, ["claim.messages-are-quicker.repeat=4", "repeat=2"])).scenario.repeat == 2
    with pytest.raises(BadInput, match="two of"):
        plan(Source(written(tmp_path, HOLDS, HOLDS)))


def refused(path: Path, *overrides: str) -> str:
    with pytest.raises(BadInput) as found:
        plan(Source(path, overrides))
    (problem,) = found.value.problems
    return str(problem)


@pytest.mark.parametrize(
    ("that", "said"),
    [
        ("query(told, employee, hot) < 1 s", "nothing is asked hot, with measure.blocks = 0 (set it to 4, or claim"),
        (
            "query(truth, employee) < 1 s",
            "the source of truth is not asked, with measure.truth = false (set it to true",
        ),
        ("violations(told, survives_crash) = 0", "no store is tried, with measure.trials = false (set it to true"),
        ("violations(told, values_preserved) = 0", "no store is tried, with measure.trials = false (set it to true"),
        ("fresh_p99() < 1 s", "there are no replicas (it needs a table [replicas])"),
    ],
)
def test_what_the_run_will_not_have_is_refused_with_the_key_that_would_give_it(
    that: str, said: str, tmp_path: Path
) -> None:
    assert said in refused(written(tmp_path, f'that = "{that}"'))


def test_what_needs_a_rebuild_or_a_truth_that_answers_is_refused_without(tmp_path: Path) -> None:
    path = written(tmp_path, 'that = "violations(told, rebuild_equals_live) = 0"')
    assert "nothing is rebuilt, with measure.rebuild = false" in refused(path, "measure.rebuild=false")
    path = written(tmp_path, 'that = "query(truth, employee) < 1 s"')
    said = refused(path, "measure.truth=true", "truth.model=events")
    assert "a source of truth of events is not asked" in said


@pytest.mark.parametrize("that", ["rate() > 1", "write_p50() < 1 s", "write_p99() < 1 s"])
def test_no_command_is_timed_where_a_history_is_replayed(that: str) -> None:
    flights = Path(__file__).parents[2] / "scenarios" / "flights.toml"
    said = refused(flights, f'claim=[{{that="{that}"}}]')
    assert "`flights` replays a history, so no command is timed (leave the claim out)" in said


def test_names_are_unique_in_the_run_and_as_test_cases(tmp_path: Path) -> None:
    path = written(tmp_path, OPEN, HOLDS.replace("messages-are-quicker", "claim-1"))
    said = refused(path)
    assert said.startswith("claimed.toml: claim.#1: without a name it is called `claim-1`, and another claim has")
    assert said.endswith("(give it a name, or rename the other one)")
    text = SCENARIO.replace('"polled"', '"Claims"')
    path = written(tmp_path, FAILS, text=text)
    assert "`claims` is what the claims are called as a suite of tests, in JUnit XML (call the" in refused(path)
    assert plan(Source(path, ["claim=[]"])).scenario.projection[0].name == "Claims"


def test_a_run_whose_writes_are_never_acknowledged_is_kept(tmp_path: Path) -> None:
    quorums = Path(__file__).parents[2] / "scenarios" / "quorums.toml"
    quick = ["channel.lose=1.0", "workload.commands=400", "domain.records=400", "repeat=1", "measure.rebuild=false"]
    options = [part for item in quick for part in ("--set", item)]
    done = CliRunner().invoke(lab, ["run", str(quorums), "--runs", str(tmp_path), *options])
    assert done.exit_code == 1, done.output
    assert "no write was acknowledged, so nothing was read" in done.output
    found = Run((tmp_path / "quorums" / "latest").resolve())
    assert set(found.table("claims")["verdict"]) == {INCONCLUSIVE}
    assert (found.path / "report.html").is_file()


# --- JUnit XML -------------------------------------------------------------------------------------------------------

# What Apache Ant's schema requires of each element, and what it takes beside that.
REQUIRED = {
    "testsuites": set[str](),
    "testsuite": {"name", "timestamp", "hostname", "tests", "failures", "errors", "time", "package", "id"},
    "testcase": {"name", "classname", "time"},
    "failure": {"type"},
    "error": {"type"},
    "skipped": set[str](),
    "properties": set[str](),
    "system-out": set[str](),
    "system-err": set[str](),
}
TAKEN = {"testsuite": {"skipped"}, "failure": {"message"}, "error": {"message"}, "skipped": {"message"}}


def schema_holds(root: ElementTree.Element) -> None:
    for element in root.iter():
        names = set(element.attrib)
        assert REQUIRED[element.tag] <= names <= REQUIRED[element.tag] | TAKEN.get(element.tag, set()), element.tag
    assert root.tag == "testsuites"
    for number, suite in enumerate(root):
        tags = [child.tag for child in suite]
        assert re.fullmatch(r"properties (testcase )+system-out system-err", " ".join(tags)), tags
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", suite.attrib["timestamp"])
        cases = suite.findall("testcase")
        assert suite.attrib["id"] == str(number)
        assert int(suite.attrib["tests"]) == len(cases)
        for kind, counted in (("failure", "failures"), ("error", "errors"), ("skipped", "skipped")):
            assert int(suite.attrib[counted]) == sum(case.find(kind) is not None for case in cases)
        assert all(len(case) <= 1 for case in cases)


def case(root: ElementTree.Element, suite: str, name: str) -> ElementTree.Element:
    (found,) = (one for each in root if each.attrib["name"] == suite for one in each if one.attrib.get("name") == name)
    return found


def test_claims_and_verdicts_are_written_as_junit_xml(tmp_path: Path) -> None:
    written(tmp_path, HOLDS, FAILS, OPEN)
    out = tmp_path / "out.xml"
    assert invoked(tmp_path, "--junit", str(out)).exit_code == 1
    root = ElementTree.parse(out).getroot()
    schema_holds(root)
    assert len(case(root, "claims", "messages-are-quicker")) == 0
    refuted = case(root, "claims", "claim-2").find("failure")
    assert refuted is not None
    assert "violations(lossy, no_loss) = 0" in refuted.attrib["message"]
    assert case(root, "claims", "claim-3").find("error") is not None
    # Expected to fail, and it does.
    assert len(case(root, "lossy", "no_loss")) == 0
    assert len(case(root, "lossy", "verdict")) == 0
    assert case(root, "told", "survives_crash").find("skipped") is not None
    assert [path.name for path in tmp_path.glob(".*")] == []


def test_a_surprise_is_a_failure_in_it(tmp_path: Path) -> None:
    written(tmp_path, text=SCENARIO.replace('expect = "fail"\n', ""))
    out = tmp_path / "out.xml"
    assert invoked(tmp_path, "--junit", str(out)).exit_code == 1
    root = ElementTree.parse(out).getroot()
    schema_holds(root)
    assert case(root, "lossy", "verdict").find("failure") is not None
    lost = case(root, "lossy", "no_loss").find("failure")
    assert lost is not None
    assert lost.text
    assert lost.attrib["type"] == "lost change"


def test_a_file_that_can_not_be_written_is_refused_before_anything_runs(tmp_path: Path) -> None:
    written(tmp_path)
    result = invoked(tmp_path, "--junit", str(tmp_path / "nowhere" / "out.xml"))
    assert result.exit_code == 2
    assert "--junit: the folder" in result.stderr
    assert not (tmp_path / "runs").exists()


def test_what_xml_can_not_hold_is_escaped(tmp_path: Path) -> None:
    written(tmp_path, 'name = "odd"\nthat = "violations(told) > 0"\nwhy = "a\\u0007b ]]> \\" <b> \\uffff"')
    out = tmp_path / "out.xml"
    invoked(tmp_path, "--junit", str(out))
    found = case(ElementTree.parse(out).getroot(), "claims", "odd").find("failure")
    assert found is not None
    assert found.text is not None
    assert 'a\\x07b ]]> " <b> \\uffff' in found.text


def test_lab_check_writes_it_too(tmp_path: Path) -> None:
    out = tmp_path / "out.xml"
    command = ["check", "lab.kit.examples.naive_insert:handle", "--set", "histories=3", "--junit", str(out)]
    assert CliRunner().invoke(lab, command).exit_code == 1
    root = ElementTree.parse(out).getroot()
    schema_holds(root)
    assert root[0].findall("testcase/failure")
