"""`lab check --exec` on the command line: its outputs for people and for CI services, its status, and its end."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner, Result
from documents import ROOT

from lab.cli import lab as command

PYTHON = ROOT / "examples" / "kit" / "python"
RIGHT, WRONG = (f"{shlex.quote(sys.executable)} {PYTHON}/{name}.py" for name in ("readmodel", "naive"))
FEW = ("--properties", "converged,monotonic_reads", "--set", "histories=4")


def lab_check(*words: str) -> Result:
    return CliRunner().invoke(command, ["check", *words])


def test_a_wrong_program_fails_with_its_pace_and_the_command_that_repeats_it(here: Path) -> None:
    done = lab_check("--exec", WRONG, *FEW, "--seed", "1087")
    assert done.exit_code == 1, done.output
    *_, again, pace = done.output.splitlines()
    words = shlex.split(again.partition("again with: ")[2])
    assert words == ["lab", "check", "--exec", WRONG, *FEW[:2], "--seed", "1087", *FEW[2:]]
    assert " a minute; 1 start of the process, the first took " in pace
    assert int(pace.partition(" histories")[0].replace(",", "")) >= 8
    repeated = lab_check(*words[2:])
    assert repeated.output.splitlines()[:-1] == done.output.splitlines()[:-1]


def test_a_right_program_passes_and_the_document_has_its_pace(here: Path) -> None:
    done = lab_check("--exec", RIGHT, *FEW, "--json")
    assert done.exit_code == 0, done.output
    document = json.loads(done.stdout)
    assert document["verdict"] == "pass"
    assert document["pace"]["histories"] == 8
    assert set(document["pace"]) == {"histories", "seconds", "starts", "start_seconds"}


def test_services_get_their_files_also_from_a_projector_in_python(here: Path) -> None:
    files = ["--junit", "found.xml", "--markdown", "found.md"]
    assert lab_check("--exec", WRONG, *FEW, *files).exit_code == 1
    assert lab_check("lab.kit.examples.mended:handle", *FEW, *files[2:]).exit_code == 0
    suite = ElementTree.parse("found.xml").getroot()[0]
    assert (suite.get("tests"), suite.get("failures")) == ("2", "1")
    # The second is appended, as steps of a job do.
    said = Path("found.md").read_text()
    first, second = said.split("### ")[1:]
    assert first.startswith("❌ `lab check` `")
    assert "| `monotonic_reads` | ❌ fail | non-monotonic read: a reader saw revision" in first
    assert "<summary>monotonic_reads: the smallest counter-example</summary>" in first
    assert "catch-up   hands over" in first
    assert "What to do: Let catch-up go through the same guard" in first
    assert " a minute" in first
    assert second.startswith("✅ `lab check` `lab.kit.examples.mended:handle`: pass")
    assert "| `converged` | ✅ pass | the content is what the source of truth amounts to, row by row |" in second
    assert "<details>" not in second


def test_markdown_that_a_witness_has_stays_text(here: Path) -> None:
    text = (
        PYTHON.joinpath("naive.py")
        .read_text()
        .replace(
            "        for change in changes:",
            "        raise ValueError('a | b <script> ``` *c*')\n        for change in changes:",
        )
    )
    Path("adapter.py").write_text(PYTHON.joinpath("adapter.py").read_text())
    Path("odd.py").write_text(text)
    program = f"{shlex.quote(sys.executable)} odd.py"
    assert lab_check(
        "--exec", program, "--properties", "converged", "--set", "histories=1", "--markdown", "x.md"
    ).exit_code
    said = Path("x.md").read_text()
    assert "raises ValueError: a \\| b \\<script\\> \\`\\`\\` \\*c\\* |" in said
    assert "\n````text\n" in said


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_no_program_outlives_the_command(number: int, here: Path) -> None:
    # It notes its number, and ends only by a kill or by the end of its standard input.
    Path("slow.py").write_text(
        "import os, sys\nopen(f'{os.getpid()}.pid', 'w').close()\n"
        "for line in sys.stdin: pass\nopen('ended', 'w').close()\n"
    )
    program = f"{shlex.quote(sys.executable)} slow.py"
    # A command that is killed leaves its folder, so it has one of the test's.
    with subprocess.Popen(
        [sys.executable, "-m", "lab", "check", "--exec", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"TMPDIR": str(here)},
    ) as process:
        while not (found := list(here.glob("*.pid"))):
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(number)
        process.communicate()
    assert process.returncode == (143 if number == signal.SIGTERM else -signal.SIGKILL)
    pid = int(found[0].stem)
    for _ in range(600):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            break
        time.sleep(0.1)
    else:
        pytest.fail(f"process {pid} still runs")
    assert Path("ended").exists() == (number == signal.SIGKILL)
