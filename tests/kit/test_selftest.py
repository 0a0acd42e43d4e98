"""The self-test of an adapter: silent about a right one, and plain about each thing that adapters get wrong."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from documents import ROOT

from lab.cli import lab as command
from lab.kit.selftest import SelfTestResult, selftest

EXAMPLES = ROOT / "examples" / "kit" / "python"
CONSUMER = (EXAMPLES / "adapter.py").read_text() + (EXAMPLES / "readmodel.py").read_text().replace(
    "from adapter import save, serve", ""
)


def tried(folder: Path, text: str, patience: float = 60.0) -> SelfTestResult:
    """The self-test of a program with this text."""
    (folder / "consumer.py").write_text(text)
    return selftest(f"{shlex.quote(sys.executable)} {shlex.quote(str(folder / 'consumer.py'))}", 7, patience)


def test_the_adapter_of_the_examples_works(tmp_path: Path) -> None:
    result = tried(tmp_path, CONSUMER)
    assert result.verdict == "pass", result.text()
    assert {item.step: item.verdict for item in result.findings if item.verdict != "works"} == {"booleans": "not said"}
    assert len(result.findings) == 16


def test_a_consumer_that_deletes_by_the_event_works(tmp_path: Path) -> None:
    by_event = CONSUMER.replace('if not change["deleted"]', 'if change["event"] != "deleted"')
    assert by_event != CONSUMER
    result = tried(tmp_path, by_event)
    assert result.verdict == "pass", result.text()


ANSWER = 'answers.write(json.dumps({"id": request["id"], **done}) + "\\n")'
ROWS = "{name: value for name, value in change.items() if name not in META}"
# What is replaced by what, the first step that must fail, and what it says.
PLANTED = {
    "numbers as floats": ("json.loads(line)", "json.loads(line, parse_int=lambda text: int(float(text)))",
                          "integers", "2^53 + 1 comes back as 9007199254740992"),
    "integers in 32 bits": ("json.loads(line)",
                            "json.loads(line, parse_int=lambda t: int(t) - (int(t) >= 2**31) * 2**32)",
                            "integers", "2^31 comes back as -2147483648"),
    "floats in 32 bits": ("json.loads(line)", "json.loads(line, parse_float=lambda text: round(float(text), 5))",
                          "floats", "5e-324 comes back as 0.0"),
    "text is trimmed": (ROWS, "{n: v.strip() if isinstance(v, str) else v for n, v in change.items() if n not in META}",
                        "text", "blanks around a text comes back as 'a'"),
    "text is normalised": (ROWS, "{n: __import__('unicodedata').normalize('NFC', v) if isinstance(v, str) else v"
                                 " for n, v in change.items() if n not in META}",
                           "text", "é in two characters comes back as 'é'"),
    "null is zero": (ROWS, "{name: value or 0 for name, value in change.items() if name not in META}",
                     "null", "amount was None, and is shown as 0"),
    "keys are text": (ROWS, "{n: str(v) if n == 'key' else v for n, v in change.items() if n not in META}",
                      "apply", "key 1 was applied, and is not shown; keys that are: '1'"),
    "deletes are shown": ('if not change["deleted"]', "if True", "delete", "2 rows are shown, and 1 records are alive"),
    "a second history begins full": ("        self.last = {}\n", "        self.last = OLD\n", "init again",
                                     "the rows of one history are shown in the next"),
    "unknown requests are fine": ('done = {"error": f"there is', 'done = {"ok": True, "error_": f"there is',
                                  "unknown request", "is answered by ok"),
    "nothing is kept": ("        save(self.path, list(last.values()))\n", "", "keeps",
                        "key 1 was applied, and is not shown"),
    "does not die": ("os.kill(os.getpid(), signal.SIGKILL)", "pass", "tears",
                     "`die_after` was 2, and all 3 changes were answered by ok"),
    "goes on without input": ("    serve(ReadModel)", "    serve(ReadModel)\n    import time\n    time.sleep(60)",
                              "end of input", "it still runs 1 s after the end of its standard input"),
    "a log between the answers": ("consumer.apply(dying", 'answers.write("applied\\n"); consumer.apply(dying', "apply",
                                  "it is not JSON: applied"),
    "two answers for one": (ANSWER, f"{ANSWER}; {ANSWER} if request['id'] == 4 else 0", "apply", "`id` is 4 and not 5"),
    "an exception": ('                consumer.apply(', '                1 / 0; consumer.apply(', "apply",
                     "answered by an error: ZeroDivisionError: division by zero"),
    "ends at once": ("    serve(ReadModel)", "    sys.exit('no database')", "init", "with exit status 1"),
}  # fmt: skip


@pytest.mark.parametrize("planted", PLANTED)
def test_each_fault_of_an_adapter_is_found_and_named(
    planted: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lab.kit.adapter_steps.END", 1.0)
    before, after, step, says = PLANTED[planted]
    assert before in CONSUMER
    text = CONSUMER.replace(before, after).replace("last = dict(self.last)", "last = self.last")
    result = tried(tmp_path, f"OLD = {{}}\n{text}")
    failed = [item for item in result.findings if item.verdict == "fails"]
    assert result.verdict == "fail"
    assert failed, result.text()
    assert (failed[0].step, says in failed[0].what) == (step, True), result.text()
    assert failed[0].way_out
    assert f"what to do: {failed[0].way_out}" in result.text()


def test_a_step_that_fails_shows_both_lines_and_what_was_printed(tmp_path: Path) -> None:
    result = tried(
        tmp_path, CONSUMER.replace("                consumer.apply(", "                1 / 0; consumer.apply(")
    )
    failed = next(item for item in result.findings if item.verdict == "fails")
    assert [who for who, _ in failed.lines] == ["lab", "consumer"]
    assert '"do":"apply"' in failed.lines[0][1]
    assert "ZeroDivisionError" in failed.lines[1][1]
    assert any("ZeroDivisionError" in line for line in failed.printed)


def test_one_that_does_not_flush_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    result = tried(tmp_path, CONSUMER.replace("        answers.flush()\n", ""), patience=1)
    assert [(item.step, item.what) for item in result.findings] == [("init", "no answer for 1 s")]
    assert "flush" in result.findings[0].way_out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--selftest"], "there is nothing to try"),
        (["mine:P", "--selftest"], "it tests the adapter of a program (give the program: --exec COMMAND)"),
        (["mine:P", "--exec", "node x"], "it can't be tried together with MODULE:OBJECT"),
        ([], 'name a projector, `lab check package.module:Projector`, or a program, `lab check --exec "node x.mjs"`'),
        (["--exec", "x", "--selftest", "--junit", "x.xml"], "leave the file out; use --json"),
        (["--exec", "x", "--selftest", "--set", "histories=3"], "a self-test tries no histories"),
        (["--exec", "x", "--markdown", "nowhere/x.md"], "--markdown: the folder nowhere isn't there"),
    ],
)
def test_options_that_contradict_each_other_are_one_line(arguments: list[str], says: str, here: Path) -> None:
    done = CliRunner().invoke(command, ["check", *arguments])
    assert (done.exit_code, says in done.output) == (2, True), done.output
    assert len(done.output.splitlines()) == 1


def test_the_command_line_says_what_works(tmp_path: Path) -> None:
    program = f"{shlex.quote(sys.executable)} {shlex.quote(str(EXAMPLES / 'readmodel.py'))}"
    done = CliRunner().invoke(command, ["check", "--exec", program, "--selftest", "--json"])
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert document["verdict"] == "pass"
    assert {"step", "verdict", "what", "way_out", "lines", "printed"} == set(document["selftest"][0])
