"""What an exception means: the environment in the words of each engine, a defect, bad input; told in one line."""

from __future__ import annotations

import errno
import json
import os
import resource
import sqlite3
import subprocess
import sys
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import click
import duckdb
import lmdb
import polars as pl
import pyarrow.parquet as parquet
import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

import lab.report
from lab.base import BadInput, Problem
from lab.cli import lab as command
from lab.cli import shared
from lab.ending import at_work_in, stopping, told
from lab.ending.failures import INTERNAL, environment, status_of
from lab.formatting import printable
from lab.runs import new_run


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    stopping.reset()
    yield
    stopping.reset()


def sqlite_is_full(folder: Path) -> None:
    connection = sqlite3.connect(folder / "small.db")
    connection.execute("PRAGMA max_page_count = 2")
    connection.execute("CREATE TABLE t (x)")
    connection.executemany("INSERT INTO t VALUES (?)", [("x" * 5_000,)] * 9)


def sqlite_can_not_write(folder: Path) -> None:
    sqlite3.connect(folder / "there.db").execute("CREATE TABLE t (x)").close()
    sqlite3.connect(f"file:{folder / 'there.db'}?mode=ro", uri=True).execute("INSERT INTO t VALUES (1)")


def sqlite_can_not_open(folder: Path) -> None:
    sqlite3.connect(folder / "nowhere" / "there.db")


def polars_hits_a_limit(folder: Path) -> None:
    pl.DataFrame({"x": range(100_000)}).write_parquet(folder / "x.parquet", compression="uncompressed")


def arrow_hits_a_limit(folder: Path) -> None:
    parquet.write_table(pl.DataFrame({"x": range(100_000)}).to_arrow(), folder / "x.parquet", compression="none")


def duckdb_hits_a_limit(folder: Path) -> None:
    duckdb.sql(f"COPY (SELECT * FROM range(300000)) TO '{folder / 'x.csv'}' (FORMAT csv)")


def duckdb_can_not_open(folder: Path) -> None:
    (folder / "a file").touch()
    duckdb.connect(str(folder / "a file" / "x.db"))


def lmdb_is_no_folder(folder: Path) -> None:
    (folder / "a file").touch()
    lmdb.open(str(folder / "a file"), max_dbs=1)


def python_hits_a_limit(folder: Path) -> None:
    (folder / "x").write_text("x" * 100_000)


def said(error: Exception) -> Callable[[Path], None]:
    """What an engine raises on a full disk, word by word as it was seen on a small tmpfs."""

    def fail(_: Path) -> None:
        raise error

    return fail


@contextmanager
def files_of_at_most(size_bytes: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize(
    ("fail", "code"),
    [
        (sqlite_is_full, errno.ENOSPC),
        (sqlite_can_not_write, errno.EROFS),
        (sqlite_can_not_open, -1),
        (duckdb_can_not_open, errno.ENOTDIR),
        (lmdb_is_no_folder, errno.ENOTDIR),
        (polars_hits_a_limit, errno.EFBIG),
        (arrow_hits_a_limit, errno.EFBIG),
        (duckdb_hits_a_limit, errno.EFBIG),
        (python_hits_a_limit, errno.EFBIG),
        (said(OSError("IO error: No space left on device (os error 28)")), errno.ENOSPC),
        (said(pl.exceptions.ComputeError("No space left on device (os error 28)")), errno.ENOSPC),
        (said(ValueError('Io(Custom { kind: StorageFull, error: "x" })')), errno.ENOSPC),
        (said(RuntimeError("IO exception: Cannot write to file. Error: No space left on device")), errno.ENOSPC),
        (said(sqlite3.OperationalError("database or disk is full")), errno.ENOSPC),
        (said(duckdb.OutOfMemoryException("Out of Memory Error: failed to allocate 1 MB")), errno.ENOMEM),
    ],
)
def test_the_environment_is_recognised_in_the_words_of_each_engine(
    fail: Callable[[Path], None], code: int, tmp_path: Path
) -> None:
    limit = files_of_at_most(4_096) if code == errno.EFBIG else nullcontext()
    with limit, pytest.raises(Exception) as raised, at_work_in(tmp_path):  # noqa: PT011 - of any type
        fail(tmp_path)
    assert environment(raised.value) == code, raised.value
    (problem,) = told(raised.value)
    assert status_of(raised.value) == INTERNAL
    assert str(tmp_path) in problem.where or code == errno.ENOMEM
    assert problem.way_out
    if code == errno.ENOSPC:
        assert problem.what == "no space left on device"


def behind_another() -> None:
    try:
        Path("/not/there").read_text()
    except OSError:
        raise KeyError("verdict")  # noqa: B904 - the file that is missing is not what is wrong


def test_a_defect_is_told_with_its_place_and_is_not_mistaken_for_the_environment() -> None:
    with pytest.raises(AttributeError) as deeper:
        printable(7)  # type: ignore[arg-type]
    assert "(formatting.py:" in told(deeper.value)[0].what
    with pytest.raises(KeyError) as unlike:
        behind_another()
    assert "internal error: KeyError: 'verdict'" in told(unlike.value)[0].what
    assert told(BadInput([Problem("a", "b", "c")])) == [Problem("a", "b", "c")]
    assert "sys.exit(0)" in told(SystemExit(0))[0].what


# The commands


def call(*words: str) -> Result:
    return CliRunner().invoke(command, list(words))


FAILURES = {
    "full": (OSError(errno.ENOSPC, "No space left on device"), "no space left on device"),
    "engine": (duckdb.IOException('Could not write file "/x/y.db": No space left on device'), "/x/y.db: no space"),
    "memory": (MemoryError(), "lab: out of memory (close"),
    "engine's memory": (
        duckdb.OutOfMemoryException("Out of Memory Error: could not allocate 1 KiB (9/9 used)\nPossible solutions:"),
        "lab: out of memory: could not allocate 1 KiB (9/9 used) (close",
    ),
    "recursion": (RecursionError("maximum recursion depth exceeded"), "internal error: RecursionError"),
    "import": (ImportError("libx.so: cannot open shared object file"), "can't be imported"),
    "exit": (SystemExit(0), "sys.exit(0) was called"),
    "defect": (KeyError("\x1b[31m\nerror: forged"), "internal error: KeyError"),
    "panic": (pl.exceptions.PanicException("index out of bounds"), "internal error: PanicException"),
}


@pytest.mark.parametrize("kind", FAILURES)
@pytest.mark.parametrize("debug", [False, True])
def test_whatever_fails_within_a_command_is_one_line_and_status_4(
    kind: str, debug: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    error, says = FAILURES[kind]

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("lab.cli.commands.planned", fail)
    monkeypatch.delenv("LAB_DEBUG", raising=False)
    found = call("validate", "x.toml", "--json", *(["--debug"] if debug else []))
    assert found.exit_code == 4
    assert says in found.stderr
    assert found.stderr.count("\nerror: ") + found.stderr.startswith("error: ") == 1
    assert "\x1b" not in found.stderr
    assert ("Traceback" in found.stderr) is debug
    (problem,) = json.loads(found.stdout)["error"]
    assert problem["what"]


def test_a_finished_run_outlives_its_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.toml").write_text(
        'schema = 1\nname = "mine"\nseed = 3\n[domain]\nname = "employees"\nrecords = 20\n'
        "[workload]\ncommands = 100\nrate = 100.0\n[measure]\nsamples = 2\n"
        '[[projection]]\nname = "directory"\nstore = "memory"\nguard = "revision"\n'
    )

    def fail(_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    whole = lab.report.write_report
    monkeypatch.setattr(lab.report, "write_report", fail)
    found = call("run", "mine.toml")
    assert found.exit_code == 4
    assert "PASS" in found.stdout
    (line,) = [line for line in found.stderr.splitlines() if line.startswith("error: ")]
    assert "report.html" in line
    assert "no space left on device" in line
    assert "lab report " in line
    latest = (tmp_path / "runs" / "mine" / "latest").resolve()
    assert (latest / "manifest.json").is_file()
    assert not (latest / "report.html").exists()
    # A run on a medium that can't be written is shown all the same.
    shown = call("report", "mine")
    assert (shown.exit_code, "PASS" in shown.stdout) == (4, True)
    monkeypatch.setattr(lab.report, "write_report", whole)
    assert call("report", "mine").exit_code == 0
    assert (latest / "report.html").is_file()
    damaged(latest)


@pytest.mark.parametrize("words", ["load mine.toml --rate", "load mine.toml --duration", "torture mine.toml --rate"])
@pytest.mark.parametrize("number", ["nan", "inf", "-inf", "0", "1e300"])
def test_a_number_that_no_time_comes_of_is_refused(words: str, number: str) -> None:
    found = call(*words.split(), number)
    assert found.exit_code == 2
    assert words.split()[-1] in found.stderr


def damaged(run: Path) -> None:
    """A damaged run is told by the file, with status 4, by everything that reads one."""
    for name, text in (
        ("lag_summary.parquet", b""),
        ("verdicts.parquet", (run / "verdicts.parquet").read_bytes()[:-40]),
        ("verdicts.parquet", os.urandom(300)),
        ("manifest.json", b"{"),
        ("manifest.json", b'{"format": 1}'),
        ("manifest.json", b"[" * 100_000),
        ("manifest.json", b"\xff\x00"),
    ):
        file = run / name
        before = file.read_bytes()
        file.write_bytes(text)
        found = call("report", str(run))
        assert found.exit_code == 4, (name, text[:20], found.output)
        assert str(file) in found.stderr, found.stderr
        assert "run its scenario again" in found.stderr
        file.write_bytes(before)
    readers = (("compare", str(run), str(run)), ("advise", str(run)), ("report", str(run)))
    for file in run.glob("*.parquet"):
        before = file.read_bytes()
        file.write_bytes(b"x\n")
        for words in readers:
            found = call(*words)
            assert "internal error" not in found.stderr, (file, words, found.stderr)
            # What a command doesn't read can't trouble it.
            assert found.exit_code in (0, 1, 3) or (found.exit_code == 4 and str(file) in found.stderr), (file, words)
            reads = ("queries",) if words[0] == "advise" else ("lag_summary", "queries")
            assert found.exit_code == 4 or file.stem not in reads, (file, words)
        file.write_bytes(before)
    assert call("compare", str(run), str(run)).exit_code == 0
    (run / "queries.parquet").unlink()
    for words in (("compare", str(run), str(run)), ("advise", str(run)), ("report", str(run))):
        assert call(*words).exit_code == 4


def test_a_finished_run_is_kept_when_the_link_to_it_can_not_be_moved(tmp_path: Path) -> None:
    (tmp_path / "mine" / "latest").mkdir(parents=True)
    with pytest.raises(OSError) as raised, new_run(tmp_path, "mine") as (folder, final):  # noqa: PT011 - by its errno
        (folder / "manifest.json").touch()
    assert environment(raised.value) == errno.EEXIST
    assert (final / "manifest.json").is_file()
    assert sorted(path.name for path in final.parent.iterdir()) == [final.name, "latest"]
    assert stopping.kept() == f"kept: {final}"


def test_a_run_in_which_a_signal_was_swallowed_is_not_kept(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), new_run(tmp_path, "mine") as (folder, _):
        (folder / "manifest.json").write_text(f"{stopping.note(15)}")
    assert list((tmp_path / "mine").iterdir()) == []
    assert (stopping.left(), stopping.status()) == ("nothing was left behind", 143)


@pytest.mark.parametrize("link", [False, True])
def test_runs_that_can_not_be_written_are_status_4(link: bool, tmp_path: Path) -> None:
    if link:
        (tmp_path / "runs").symlink_to(tmp_path / "nowhere")
    else:
        (tmp_path / "runs").mkdir()
        (tmp_path / "runs" / "catch-up-only").write_text("a file")
    scenario = Path(__file__).parents[2] / "scenarios" / "catch-up-only.toml"
    found = call("run", str(scenario), "--runs", str(tmp_path / "runs"))
    assert found.exit_code == 4, found.output
    assert found.stderr.startswith("error: ")
    assert "exists already" in found.stderr


# What reaches a terminal

HOSTILE = "a\x1b[31m\x07\x08\r\nerror: x\x9b2J\u202eevil\u2066\x00\x7f\ud800\u2028z"


def test_what_a_terminal_would_obey_is_escaped() -> None:
    assert printable("Zoë, 価格 👩\u200d🔬") == "Zoë, 価格 👩\u200d🔬"
    assert printable(HOSTILE) == (
        "a\\x1b[31m\\x07\\x08\\r\\nerror: x\\x9b2J\\u202eevil\\u2066\\x00\\x7f\\ud800\\u2028z"
    )


@given(st.text())
def test_nothing_that_is_printable_stays_hidden(text: str) -> None:
    shown = printable(text)
    assert all(sign.isprintable() or sign in "\u200c\u200d" or unicodedata.category(sign) == "Zs" for sign in shown)
    shown.encode()
    assert printable(shown) == shown


def test_hostile_arguments_are_told_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    found = call("validate", HOSTILE.replace("\x00", "").replace("\ud800", ""))
    assert found.exit_code == 2
    assert len(found.stderr.splitlines()) == 1
    assert "\x1b" not in found.stderr
    shared.answer(False, dict, lambda console: console.print(f"[bold]x[/bold] {HOSTILE}", soft_wrap=True))
    printed = capsys.readouterr().out
    # Line ends between renderables are the layout's, and rich drops some signs; brackets mean nothing.
    assert "[bold]x[/bold] a\\x1b[31m" in printed
    assert not any(sign in printed for sign in "\x1b\x07\x08\r\x9b\u202e\x7f")
    shared.print_json({"key": HOSTILE})
    assert capsys.readouterr().out.isascii()


@pytest.mark.parametrize(
    "text", ["it ended with exit code: 1", "code: 28", "error 28", "an error code: 12 of the child"]
)
def test_a_number_that_is_no_errno_is_not_taken_for_one(text: str) -> None:
    assert environment(RuntimeError(text)) is None


def test_a_file_where_the_link_to_the_latest_run_belongs_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "latest").write_text("the user's own")
    with pytest.raises(FileExistsError) as raised, new_run(tmp_path, "mine") as (folder, final):
        (folder / "manifest.json").touch()
    assert told(raised.value)[0].where == str(tmp_path / "mine" / "latest")
    assert (tmp_path / "mine" / "latest").read_text() == "the user's own"
    assert (final / "manifest.json").is_file()


def in_another_process(program: str, after: str = "") -> subprocess.CompletedProcess[str]:
    words = ["bash", "-c", f'"{sys.executable}" -c "$0" {after}', program]
    home = str(Path(__file__).parents[2])
    return subprocess.run(
        words, env=os.environ | {"PYTHONPATH": home}, capture_output=True, text=True, timeout=60, check=False
    )


def test_work_that_a_broken_pipe_cuts_off_is_no_success_and_a_help_text_is() -> None:
    printing = "from lab.ending import run; run(lambda: [print('x' * 1000) for _ in range(10_000)])"
    assert in_another_process(printing, "| head -c 1; exit ${PIPESTATUS[0]}").returncode == INTERNAL
    assert in_another_process(printing, "2>&1 | head -c 1; exit ${PIPESTATUS[0]}").returncode == INTERNAL
    helping = "import sys; sys.argv[1:] = ['run', '--help']; from lab.cli import main; main()"
    assert in_another_process(helping, "| exec true; exit ${PIPESTATUS[0]}").returncode == 0


def test_the_status_that_a_main_function_returns_is_that_of_its_process() -> None:
    for body, status in (("3", 3), ("None", 0), ("True", 0), ("[1]", 0)):
        assert in_another_process(f"from lab.ending import run; run(lambda: {body})").returncode == status


def test_a_command_that_fails_after_its_document_prints_no_second_one() -> None:
    @click.command()
    @shared.common
    def ready(as_json: bool, **_: object) -> None:
        shared.answer(as_json, lambda: {"ready": True}, lambda _: None)
        raise OSError(errno.ENOSPC, "No space left on device")

    found = CliRunner().invoke(ready, ["--json"])
    assert (found.exit_code, json.loads(found.stdout)) == (INTERNAL, {"ready": True})
    assert "no space left on device" in found.stderr


def test_after_an_event_loop_signals_reach_the_thread_that_watches_for_hangs() -> None:
    program = """
import asyncio, signal
from lab.ending import run, stopping

async def serve():
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, lambda: None)

def body():
    with stopping.handled_elsewhere():
        asyncio.run(serve())
    raise SystemExit(0 if signal.set_wakeup_fd(-1) == stopping._wakeup != -1 else 1)

run(body)
"""
    assert in_another_process(program).returncode == 0
