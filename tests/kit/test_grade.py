"""`lab grade`: points for properties at hidden seeds, witnesses as feedback, one table for several submissions."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner
from documents import ROOT

from lab.base import BadInput
from lab.cli import lab as command
from lab.kit.check import Verdict
from lab.kit.grade import Grade, GradeTable, grade, hidden, worth
from lab.kit.properties import PROPERTIES
from lab.kit.submissions import Submission, submissions

RIGHT = """
class Mine:
    def __init__(self): self.last = {}
    def apply(self, changes):
        for change in changes:
            if change["revision"] > self.last.get(change["key"], {"revision": 0})["revision"]:
                self.last[change["key"]] = change
    def rows(self): return [row for row in self.last.values() if not row["deleted"]]
    def reopen(self): pass
"""
WRONG = RIGHT.replace('["revision"]:', '["revision"] or True:').replace("class Mine", "class Yours")
HANDLER = (ROOT / "lab" / "kit" / "examples" / "naive_insert.py").read_text()


@pytest.fixture
def handed_in(here: Path) -> Path:
    """A folder of submissions: right, wrong, one that can't be tried, and what is none."""
    folder = here / "handed-in"
    folder.mkdir()
    (folder / "ada.py").write_text(RIGHT)
    (folder / "bea-2.py").write_text(WRONG)
    (folder / "cyd.py").write_text("def nothing(): pass\n")
    (folder / "dan").mkdir()
    (folder / "dan" / "model.py").write_text("from helper_of_dan import Base\n" + WRONG.replace("Yours", "Yours(Base)"))
    (folder / "eve.py").write_text("import os\nos._exit(3)\n" + RIGHT)
    (folder / "notes.txt").write_text("not a submission")
    (folder / ".git").mkdir()
    return folder


def graded(*arguments: str) -> tuple[int, str]:
    """The exit status and the output of `lab grade`."""
    done = CliRunner().invoke(command, ["grade", *arguments])
    return done.exit_code, done.stdout


def test_every_submission_gets_its_points_and_none_ends_the_others(handed_in: Path) -> None:
    options = ["--seeds", "1", "--seed", "4", "--set", "histories=2"]
    status, text = graded(str(handed_in), *options, "--json")
    assert status == 0, text
    document = json.loads(text)
    rows = {row["submission"]: row for row in document["grades"]}
    assert list(rows) == ["ada.py", "bea-2.py", "cyd.py", "dan", "eve.py"]
    assert rows["ada.py"]["points"] == document["total"] == len(worth(None))
    assert 0 < rows["bea-2.py"]["points"] < document["total"]
    assert rows["bea-2.py"]["verdicts"]["per_key_order"] == "fail"
    assert "was written over revision" in rows["bea-2.py"]["witnesses"]["per_key_order"]
    assert "has not exactly one class" in rows["cyd.py"]["wrong"]
    assert "helper_of_dan" in rows["dan"]["wrong"]
    assert "it ends the process, with exit status 3" in rows["eve.py"]["wrong"]
    assert {row["points"] for row in rows.values() if row["wrong"]} == {0}
    # The seed that the teacher keeps gives the same trials again; nothing was written beside the submissions.
    assert document["replay"] == f"lab grade {handed_in} --seeds 1 --set histories=2 --seed 4"
    assert not list(handed_in.rglob("__pycache__"))


def test_the_outputs_name_everything_but_the_seed(handed_in: Path) -> None:
    for name in ("cyd.py", "eve.py", "dan"):
        path = handed_in / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    files = ["--feedback", "said", "--markdown", "table.md", "--junit", "grades.xml"]
    points = ["--points", "per_key_order=3,no_loss=0.5"]
    seed = 987654321
    told = ["--seed", str(seed), "--seeds", "1", "--set", "histories=4"]
    status, text = graded(str(handed_in), *told, *files, *points)
    assert status == 0, text
    total = len(worth(None)) + 1.5
    assert f"ada.py    {total:g} of {total:g}\n" in text
    assert re.search(r"^per_key_order +kept by 1 of 2$", text, flags=re.M)
    assert text.endswith(f"--seed {seed}\n")
    said = {path.name: path.read_text() for path in Path("said").iterdir()}
    assert set(said) == {"ada.py.md", "bea-2.py.md"}
    assert "per_key_order` (3): fail" in said["bea-2.py.md"]
    assert "What to do:" in said["bea-2.py.md"]
    secret = [str(number) for number in (seed, *hidden(seed, 1))]
    assert not any(number in told for number in secret for told in said.values())
    table = Path("table.md").read_text()
    assert f"| ada.py | {total:g} of {total:g} | ✅ |" in table
    suites = ElementTree.parse("grades.xml").getroot()
    assert [suite.get("name") for suite in suites] == ["ada.py", "bea-2.py"]
    assert suites[0].get("failures") == "0"
    assert int(suites[1].get("failures", "0")) > 0


def test_a_submission_in_any_language_is_started_by_its_command(here: Path) -> None:
    python = ROOT / "examples" / "kit" / "python"
    for name in ("readmodel", "naive"):
        (here / "all" / name).mkdir(parents=True)
        shutil.copy(python / "adapter.py", here / "all" / name)
        shutil.copy(python / f"{name}.py", here / "all" / name / "main.py")
    program = f"{shlex.quote(sys.executable)} {{}}/main.py"
    status, text = graded("all", "--exec", program, "--seeds", "1", "--seed", "1", "--set", "histories=2", "--json")
    assert status == 0, text
    rows = {row["submission"]: row for row in json.loads(text)["grades"]}
    assert rows["readmodel"]["points"] == len(worth(None))
    assert rows["naive"]["points"] < len(worth(None))


def test_a_property_holds_only_if_it_does_at_every_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    verdicts = {1: "pass", 2: "fail", 3: "unknown", 4: "fail"}
    told = {seed: Verdict("no_loss", verdict, f"seed {seed}") for seed, verdict in verdicts.items()}

    class Found:
        def __init__(self, seed: int) -> None:
            self.verdicts = (told[seed], Verdict("converged", "pass"))

    monkeypatch.setattr("lab.kit.grade.check_apart", lambda target, seed, *_, **__: Found(seed))
    result = grade(Submission("ada.py", "ada:Mine", Path()), [1, 2, 3, 4], ["no_loss", "converged"])
    assert [(item.prop, item.verdict, item.witness) for item in result.verdicts] == [
        ("no_loss", "fail", "seed 2"),
        ("converged", "pass", ""),
    ]
    assert result.points(worth(None)) == 1


def test_what_is_unknown_earns_nothing_and_is_said() -> None:
    table = GradeTable((Grade("ada.py", (Verdict("no_loss", "unknown", "no reopen()"),)),), worth(None), "lab grade .")
    assert "0 of " in table.text()
    assert "unknown: no_loss" in table.text()
    assert "Unknown: no reopen()" in table.feedback(table.grades[0])


def test_points_select_what_is_tried() -> None:
    assert set(worth(None).values()) == {1.0}
    assert "one_owner" not in worth(None)
    assert worth("one_owner=2")["one_owner"] == 2
    assert "no_loss" not in worth("no_loss=0")
    assert list(worth("one_owner=1")) == [name for name in PROPERTIES if name in worth("one_owner=1")]


def test_hidden_seeds_differ_and_come_again_with_their_own_seed() -> None:
    assert hidden(7, 5) == hidden(7, 5)
    assert len(set(hidden(7, 5))) == 5
    assert not set(hidden(7, 5)) & set(hidden(8, 5))


@pytest.mark.parametrize(
    ("name", "text", "target", "wrong"),
    [
        ("ada.py", RIGHT, "ada:Mine", ""),
        ("ada-1.py", RIGHT, "ada-1:Mine", ""),
        ("ada.py", HANDLER, "ada:handle", ""),
        ("ada.py", RIGHT.replace("    def", "    async def"), "ada:Mine", ""),
        ("ada.py", RIGHT.replace("def apply", "def poll"), "ada:Mine", ""),
        ("ada.py", RIGHT.replace("def apply", "def when_created"), "ada:Mine", ""),
        ("ada.py", RIGHT + "class Shown(Mine):\n    def rows(self): return []\n", "ada:Shown", ""),
        ("ada.py", RIGHT.replace("rows", "all") + "class S(Mine):\n    def rows(self): pass\n", "ada:S", ""),
        ("ada.py", RIGHT.replace("def apply", "def take"), "", "has not exactly one class"),
        ("ada.py", RIGHT + WRONG, "", "has not exactly one class"),
        ("ada.py", "class A(:\n", "", "can't be read: invalid syntax (line 1)"),
        ("a.da.py", RIGHT, "", "has no dot"),
        ("queue.py", RIGHT, "", "`queue` is the name of another module"),
        ("numpy.py", RIGHT, "", "`numpy` is the name of another module"),
    ],
)
def test_a_projector_is_found_without_executing_it(name: str, text: str, target: str, wrong: str, here: Path) -> None:
    (here / name).write_text(text)
    (found,) = submissions(here / name)
    assert (found.target, found.folder) == ((target, here) if target else ("", None))
    assert wrong in found.wrong
    assert bool(found.wrong) == bool(wrong)


def test_a_name_says_which_of_several_is_meant(here: Path) -> None:
    (here / "ada.py").write_text(RIGHT + WRONG)
    (here / "all" / "bea").mkdir(parents=True)
    (here / "all" / "bea" / "model.py").write_text(RIGHT)
    (here / "all" / "bea" / "helper.py").write_text("")
    assert [item.target for item in submissions(here / "ada.py", name="Yours")] == ["ada:Yours"]
    assert [item.target for item in submissions(here / "all", name="model:Mine")] == ["model:Mine"]
    assert "2 Python files" in submissions(here / "all")[0].wrong


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nowhere"], "nowhere: there is no such file or folder"),
        (["empty"], "there is no submission in it"),
        (["empty", "--exec", "node x"], "it says nowhere which submission to start"),
        (["empty", "--exec", "node {}", "--object", "X"], "a program has no object"),
        (["empty", "--points", "no_los=2"], "there is no property `no_los` (did you mean `no_loss`?)"),
        (["empty", "--points", "no_loss=much"], "`no_loss=much` gives no points"),
        (["empty", "--points", ",".join(f"{name}=0" for name in PROPERTIES)], "every property is worth 0"),
        (["empty/..", "--set", "seconds=3"], "--set seconds: the number of histories is the same for each submission"),
        (["empty", "--feedback", "no/where"], "--feedback: the folder no isn't there"),
    ],
)
def test_what_can_not_be_graded_is_one_line(arguments: list[str], says: str, here: Path) -> None:
    (here / "empty").mkdir()
    done = CliRunner().invoke(command, ["grade", *arguments])
    assert (done.exit_code, says in done.output, len(done.output.splitlines())) == (2, True, 1), done.output
    assert BadInput.exit_status == 2


def test_under_a_promise_of_order_the_last_arrival_may_win(handed_in: Path) -> None:
    """What can't happen under the promise is not tried, earns nothing, and can't be given points."""
    told = ["--seed", "7", "--seeds", "1", "--set", "histories=4", "--delivery", "in-order"]
    status, text = graded(str(handed_in / "bea-2.py"), *told)
    assert status == 0, text
    assert "fails" not in text
    assert f" of {sum(worth(None, 'in-order').values()):g}" in text
    assert "--delivery in-order" in text.splitlines()[-1]
    assert "fails: " in graded(str(handed_in / "bea-2.py"), *told[:-2])[1]
    assert graded(str(handed_in / "bea-2.py"), "--delivery", "ordered")[0] == 2
    only = next(name for name, made in PROPERTIES.items() if "in-order" not in made.families)
    with pytest.raises(BadInput, match="can't happen"):
        worth(f"{only}=2", "in-order")
