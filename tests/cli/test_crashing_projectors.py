"""Whatever a projector does to its process, `lab check` says that it crashed, and is itself not touched."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from lab.base import BadInput
from lab.cli import lab as command
from lab.kit.apart import check_apart
from lab.kit.watch import WATCH

HEAD = "import os, sys, signal, threading\nclass P:\n    def __init__(self): self.d = {}\n"
BODY = (
    "        for c in changes:\n"
    "            if c['key'] not in self.d or self.d[c['key']]['revision'] < c['revision']: self.d[c['key']] = c\n"
    "    def rows(self): return [r for r in self.d.values() if not r['deleted']]\n"
)

CRASHES = {
    "sys.exit(0)": "raises SystemExit: 0",
    "raise KeyboardInterrupt": "raises KeyboardInterrupt",
    "raise GeneratorExit": "raises GeneratorExit",
    "raise RecursionError('deep')": "raises RecursionError: deep",
    "raise ValueError('\\x1b[31mred\\nerror: forged')": "raises ValueError: \\x1b[31mred",
    "os._exit(0)": "ends the process, with exit status 0",
    "os.kill(os.getpid(), signal.SIGKILL)": "ends the process: it was killed by SIGKILL",
    "os.closerange(3, 100); os._exit(0)": "ends the process, with exit status 0",
    "[None for _ in iter(int, 1)]": "does not return: nothing has come back for 5 s",
    "t = threading.Thread(target=lambda: 1 / 0); t.start(); t.join()": "raises ZeroDivisionError",
}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return tmp_path


@pytest.mark.parametrize("crash", CRASHES)
def test_a_crash_is_a_failure_with_its_story(crash: str, here: Path) -> None:
    (here / "mine.py").write_text(f"{HEAD}    def apply(self, changes):\n        {crash}\n{BODY}")
    result = check_apart("mine:P", 7, histories=1, patience=5 if "iter" in crash else 60)
    failed = [item for item in result.verdicts if item.verdict == "fail"]
    assert result.verdict == "fail"
    assert CRASHES[crash] in failed[0].witness
    # What led to it: a commit, and what was handed over.
    assert "source     commits" in failed[0].witness
    assert all(line.isprintable() for line in failed[0].witness.splitlines())


def test_what_touches_the_process_alone_changes_nothing(here: Path) -> None:
    touches = (
        "        os.chdir('/'); signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "        threading.Thread(target=threading.Event().wait).start()\n"
        "        sys.stdout.close()\n"
    )
    text = HEAD.replace("self.d = {}", "self.d = {}; self.n = 0") + "    def apply(self, changes):\n"
    (here / "mine.py").write_text(f"{text}        if not self.n: self.touch()\n        self.n = 1\n{BODY}"
                                  f"    def touch(self):\n{touches}")  # fmt: skip
    before = Path.cwd()
    done = CliRunner().invoke(command, ["check", "mine:P", "--set", "histories=2"])
    assert (done.exit_code, Path.cwd()) == (0, before), done.output


def test_a_flood_of_prints_is_cut_off_and_is_escaped(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flood = "        for _ in range(2_000): print('x' * 100 + chr(27) + '[31m')\n"
    (here / "mine.py").write_text(f"{HEAD}    def apply(self, changes):\n{flood}{BODY}")
    assert check_apart("mine:P", 7, histories=1).verdict == "pass"
    printed, said = capsys.readouterr()
    assert printed == ""
    assert len(said) < 200_000
    assert "left out" in said
    assert "\x1b" not in said


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("import sys\nsys.exit(0)", "can't be imported: SystemExit: 0 (mine.py:2)"),
        ("raise KeyboardInterrupt", "can't be imported: KeyboardInterrupt"),
        ("import os\nos._exit(0)", "it ends the process, with exit status 0"),
        ("import sys\nclass P:\n    def __init__(self): sys.exit(0)", "can't be made: SystemExit: 0 (mine.py:3)"),
        (f"{HEAD}    def apply(self, changes):\n{BODY}    def close(self): sys.exit(0)", "close() of a fresh"),
    ],
)
def test_one_that_can_not_even_be_made_is_bad_input(text: str, says: str, here: Path) -> None:
    (here / "mine.py").write_text(text)
    with pytest.raises(BadInput) as raised:
        check_apart("mine:P", 7, histories=1)
    assert says in str(raised.value)
    assert raised.value.exit_status == 2


def test_only_a_process_of_its_own_takes_an_interrupt_for_the_projector_s() -> None:
    assert WATCH.passes(KeyboardInterrupt())
    assert not WATCH.passes(SystemExit())
