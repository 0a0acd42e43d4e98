"""`lab check --exec`: a consumer in a process of its own gets the verdicts and witnesses that one in Python gets."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from documents import ROOT
from jsonschema import Draft202012Validator
from reachable import absent

from lab.base import BadInput
from lab.kit import exchange
from lab.kit.check import SECONDS, TrialOptions, judge
from lab.kit.driver import Driver
from lab.kit.foreign import _unable, check_exec, limit
from lab.kit.history import COLUMNS, META, Shape
from lab.kit.properties import tried
from lab.kit.wire import SCHEMA, decode, encode, restored

EXAMPLES = ROOT / "examples" / "kit"
PYTHON = shlex.quote(sys.executable)
ADAPTER = f"import sys, time; sys.path.insert(0, {str(EXAMPLES / 'python')!r}); from adapter import save, serve\n"
SEED, HISTORIES = 1087, 3
READMODEL, NAIVE = (f"{PYTHON} {EXAMPLES}/python/{name}.py" for name in ("readmodel", "naive"))


def program(folder: Path, text: str, adapter: bool = True) -> str:
    """The command of a program with this text; with the adapter of the examples before it."""
    file = folder / "consumer.py"
    file.write_text((ADAPTER if adapter else "") + text)
    return f"{PYTHON} {shlex.quote(str(file))}"


CORRECT = """
class Consumer:
    def __init__(self, folder): self.last = {}
    def apply(self, changes):
        for change in changes:
            if change["revision"] > self.last.get(change["key"], {"revision": 0})["revision"]: self.one(change)
    def one(self, change): self.last[change["key"]] = change
    def rows(self): return [row for row in self.last.values() if not row["deleted"]]
"""


def test_a_right_consumer_passes_and_is_started_again_by_crashes_alone() -> None:
    result, pace = check_exec(READMODEL, 3, histories=2)
    assert {item.prop for item in result.verdicts if item.verdict != "pass"} == {"one_owner"}, result.text()
    # The two properties with crashes start processes; the others share one.
    crashes = len([item for item in result.verdicts if item.prop in ("checkpoint_sound", "survives_crash")])
    assert crashes == 2
    assert 1 < pace.starts < pace.histories
    assert f"{pace.histories:,} histories" in pace.text()


def test_all_histories_share_one_process_where_nothing_is_kept(tmp_path: Path) -> None:
    result, pace = check_exec(program(tmp_path, f"{CORRECT}\nserve(Consumer, keeps=False)"), 7, histories=2)
    assert (result.verdict, pace.starts) == ("pass", 1), result.text()
    unknown = {item.prop: item.witness for item in result.verdicts if item.verdict == "unknown"}
    assert set(unknown) == {"checkpoint_sound", "survives_crash", "one_owner"}
    assert '"keeps"' in unknown["survives_crash"]


class InProcess:
    """The naive read model of the examples in the process of the check; a crash leaves its file."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.reopen()

    def reopen(self) -> None:
        file = self.folder / "state.json"
        self.table: list[dict[str, Any]] = json.loads(file.read_text()) if file.exists() else []

    def apply(self, changes: list[dict[str, Any]]) -> None:
        for change in changes:
            row = {name: value for name, value in change.items() if name not in META or name == "key"}
            if change["deleted"]:
                self.table = [other for other in self.table if other["key"] != change["key"]]
            elif change["revision"] == 1:
                self.table.append(row)
            else:
                self.table = [row if other["key"] == change["key"] else other for other in self.table]
            (self.folder / "state.json").write_text(json.dumps(self.table))

    def rows(self) -> list[dict[str, Any]]:
        return [dict(row) for row in self.table]

    def close(self) -> None:
        shutil.rmtree(self.folder)


@pytest.fixture(scope="module")
def naive() -> dict[str, list[dict[str, Any]]]:
    """The verdicts on the naive read model in Python's child process, by seed."""
    return {str(SEED): found(NAIVE, SEED)}


def found(command: str, seed: int, properties: Sequence[str] = ()) -> list[dict[str, Any]]:
    """The verdicts with their witnesses."""
    return [asdict(item) for item in check_exec(command, seed, histories=HISTORIES, properties=properties)[0].verdicts]


def test_a_child_gets_the_verdicts_and_witnesses_of_one_in_process(naive: dict[str, Any]) -> None:
    options = TrialOptions(SEED, histories=HISTORIES, unable=_unable(True, "out-of-order"))
    result = judge(lambda: Driver(InProcess()), options, "naive", lambda seed, rounds: "")
    assert [asdict(item) for item in result.verdicts] == naive[str(SEED)]
    failed = {item.prop for item in result.verdicts if item.verdict == "fail"}
    assert {"no_resurrection", "survives_crash"} <= failed


def node(oldest: tuple[int, int]) -> str:
    """The path of Node; the test is skipped if it is missing, or too old."""
    path = shutil.which("node")
    if path is None:
        absent("node", "there is no Node here: install it")
    assert path is not None
    version = subprocess.run([path, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    if tuple(map(int, version.lstrip("v").split(".")[:2])) < oldest:
        pytest.skip(f"Node {version} is older than {oldest[0]}.{oldest[1]}")
    return path


def compiled(tmp_path: Path) -> str:
    """The folder of the compiled examples in Java; the test is skipped without a compiler."""
    if shutil.which("javac") is None:
        absent("java", "there is no javac here: install a JDK")
    # Once for all tests of this process.
    build = tmp_path.parent / "java"
    if not build.is_dir():
        files = sorted(map(str, (EXAMPLES / "java").glob("*.java")))
        subprocess.run(["javac", "-Xlint:all", "-Werror", "-d", str(build), *files], check=True)
    return str(build)


def javascript(name: str, _: Path) -> str:
    return f"{node((18, 0))} {EXAMPLES}/javascript/{name}.mjs"


def typescript(name: str, _: Path) -> str:
    return f"{node((22, 18))} {EXAMPLES}/typescript/{name}.ts"


def java(name: str, tmp_path: Path) -> str:
    return f"java -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Xshare:auto -cp {compiled(tmp_path)} {name.capitalize()}"


def go(name: str, tmp_path: Path) -> str:
    if shutil.which("go") is None:
        absent("go", "there is no Go here: install it")
    subprocess.run(["go", "build", "-o", str(tmp_path), "./..."], cwd=EXAMPLES / "go", check=True)
    return str(tmp_path / name)


def csharp(name: str, tmp_path: Path) -> str:
    if shutil.which("dotnet") is None:
        absent("dotnet", "there is no .NET SDK here: install it")
    subprocess.run(["dotnet", "build", str(EXAMPLES / "csharp"), "--artifacts-path", str(tmp_path)], check=True)
    return f"dotnet {tmp_path}/bin/consumer/debug/consumer.dll {name}"


LANGUAGES = [javascript, typescript, java, go, csharp]


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_same_wrong_consumer_fails_alike_in_every_language(
    language: Any, naive: dict[str, Any], tmp_path: Path
) -> None:
    # A virtual machine takes long to start, so here it dies in the right consumer's test alone.
    some = ("no_resurrection", "no_rewind", "monotonic_reads") if language is java else tried("out-of-order")
    alike = [item for item in naive[str(SEED)] if item["prop"] in some]
    assert [item["verdict"] for item in alike].count("fail") >= 3
    assert found(language("naive", tmp_path), SEED, some) == alike


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_same_right_consumer_passes_in_every_language(language: Any, tmp_path: Path) -> None:
    shown: list[dict[str, Any]] = []
    some = ["no_loss", "no_phantom", "survives_crash"]
    result, _ = check_exec(
        language("readmodel", tmp_path), 5, histories=2, properties=some,
        watch=lambda _, line: shown.extend(json.loads(line).get("rows", [])),
    )  # fmt: skip
    assert result.verdict == "pass", result.text()
    # What is said of a change is no part of a record's state.
    assert {tuple(sorted(row)) for row in shown} == {("amount", "key", "name", "price")}


def test_a_program_that_starts_slowly_gets_as_many_histories() -> None:
    assert limit(0.0) == SECONDS
    assert limit(2.0) == SECONDS + 240


def test_a_whole_script_is_sent_in_one_write(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    writes: list[int] = []
    real = exchange.ChildProcess.send

    def counted(self: Any, data: bytes) -> None:
        writes.append(data.count(b"\n"))
        real(self, data)

    monkeypatch.setattr(exchange.ChildProcess, "send", counted)
    _, pace = check_exec(program(tmp_path, f"{CORRECT}\nserve(Consumer, keeps=False)"), 7, histories=3)
    # Two are for the first meeting.
    assert len(writes) - 2 == pace.histories
    assert sum(writes) > 5 * len(writes)


def test_what_is_sent_and_answered_is_what_the_schema_says() -> None:
    validator = Draft202012Validator(json.loads(SCHEMA.read_text()))
    schema = json.loads(SCHEMA.read_text())
    said: list[tuple[str, dict[str, Any]]] = []
    some = ("no_loss", "survives_crash", "checkpoint_sound")
    check_exec(NAIVE, 7, histories=2, properties=some, watch=lambda who, line: said.append((who, json.loads(line))))
    for who, title in (("lab", "request"), ("consumer", "answer")):
        part = Draft202012Validator({"$ref": f"#/$defs/{title}", "$defs": schema["$defs"]})
        mine = [message for speaker, message in said if speaker == who]
        assert len(mine) > 100
        for message in mine:
            assert not list(validator.iter_errors(message)), message
            part.validate(message)
    assert {message["do"] for _, message in said if "do" in message} == {"init", "apply", "rows"}
    assert set(schema["$defs"]["change"]["properties"]) == set(schema["$defs"]["change"]["required"]) == set(META)
    assert {name for _, message in said for row in message.get("rows", []) for name in row} == {"key", *COLUMNS}
    assert any("die_after" in message for _, message in said)
    assert any(message.get("again") for _, message in said)


@pytest.mark.parametrize(
    "message",
    [
        {"id": 1, "do": "rows", "more": 1},
        {"id": 0, "do": "rows"},
        {"id": 1, "do": "apply", "changes": []},
        {"id": 1, "do": "apply", "changes": [{"position": 1, "key": 1, "revision": 1}]},
        {"id": 1, "ok": True, "error": "both"},
        {"id": 1, "ok": False},
        {"ok": True},
        {"id": 1, "ok": True, "rows": [{"name": "no key"}]},
    ],
)
def test_the_schema_refuses_what_is_no_message(message: dict[str, Any]) -> None:
    assert list(Draft202012Validator(json.loads(SCHEMA.read_text())).iter_errors(message))


@pytest.mark.parametrize(
    "value", [0, -1, 2**53 + 1, 2**63 - 1, -(2**63), 0.1, 5e-324, "", "e\u0301\u00e9\U0001f600\x01", None]
)
def test_every_value_comes_back_as_it_was_sent(value: Any) -> None:
    line = encode({"id": 1, "value": value})
    assert line.isascii()
    assert line.count(b"\n") == 1
    back = decode(line)["value"]
    assert (back, type(back)) == (value, type(value))


def test_rows_read_the_same_whichever_language_wrote_them() -> None:
    shape = Shape("int", (("name", "str"), ("amount", "int"), ("price", "float")))
    (row,) = restored([{"price": 7, "own": 1, "amount": 3, "key": 1, "name": "a"}], shape)
    assert list(row.items()) == [("key", 1), ("name", "a"), ("amount", 3), ("price", 7.0), ("own", 1)]
    assert isinstance(row["price"], float)


UNTRIED = {
    "print('Listening on port 5000', flush=True)": "it is not JSON: Listening on port 5000 (standard output is for",
    "import sys; print('no module x', file=sys.stderr); sys.exit(3)": "ends the process, with exit status 3, before it",
    "import os; os.kill(os.getpid(), 11)": "it was killed by SIGSEGV, before it has answered `init`",
    "import time; time.sleep(60)": "has not answered `init` for 1 s",
    "input(); print('[1]', flush=True)": "it is JSON, and not an object: [1]",
    "input(); print('{\"id\": 1}', flush=True)": 'neither `"ok": true` nor `"error"`',
    "input(); print('{\"id\": 2, \"ok\": true}', flush=True)": "`id` is 2 and not 1",
    "input(); print('{\"id\": NaN, \"ok\": true}', flush=True)": "JSON has no NaN",
    "input(); import sys; sys.stdout.buffer.write(b'{\"id\": \"\\xe9\"}\\n')": "it is not UTF-8",
    "input(); print('{\"id\": 1, \"error\": \"no database\"}', flush=True)": "with an error: no database",
    "input(); print('x' * 200_000, flush=True); input()": "it is not JSON: xxxx",
    "input(); import os; os.close(1); import time; time.sleep(60)": "closes its standard output, before it",
    "input(); print('{\"id\": 1, \"ok\": true, \"columns\": {\"a\": \"date\"}}', flush=True)": "no type `date`",
    "input(); print('{\"id\": 1, \"ok\": true, \"key\": \"uuid\"}', flush=True)": "a key can't be of type `uuid`",
    "input(); print('{\"id\": 1, \"ok\": true, \"columns\": [\"a\"]}', flush=True)": "`columns` is no object",
    "input(); print('{\"id\": 1, \"ok\": true, \"columns\": {\"a\": [1]}}', flush=True)": "no type `[1]`",
    "input(); print('{\"id\": 1, \"ok\": true, \"bits\": 1}', flush=True)": "its answer to `init`: `bits` is 1",
}  # fmt: skip


@pytest.mark.parametrize("text", UNTRIED)
def test_a_program_that_can_not_be_tried_is_one_line(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lab.kit.process.LINE_MAX", 100_000)
    with pytest.raises(BadInput) as raised:
        check_exec(
            program(tmp_path, text, adapter=False), 7, histories=1, patience=1 if text.startswith("import time") else 60
        )
    said = str(raised.value)
    assert UNTRIED[text] in said
    assert len(said.splitlines()) == 1
    assert said.endswith(")")
    assert raised.value.exit_status == 2


def test_what_it_says_at_its_end_is_in_the_line(tmp_path: Path) -> None:
    text = "import sys; print('first'); print('\\x1b[31mno module x', file=sys.stderr); sys.exit(3)"
    with pytest.raises(BadInput, match="it is not JSON: first"):
        check_exec(program(tmp_path, text, adapter=False), 7, histories=1)
    text = "import sys; print('\\x1b[31mno module x', file=sys.stderr); sys.exit(3)"
    with pytest.raises(BadInput) as raised:
        check_exec(program(tmp_path, text, adapter=False), 7, histories=1)
    assert "it says: \\x1b[31mno module x" in str(raised.value)


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("no-such-program --at all", "--exec no-such-program: there is no such program (install it"),
        ("node 'open", "can't be read: No closing quotation"),
        ("  ", "names no program"),
    ],
)
def test_a_command_without_a_program_is_one_line(command: str, says: str) -> None:
    with pytest.raises(BadInput) as raised:
        check_exec(command, 7)
    assert says in str(raised.value)


def test_a_file_that_is_no_program_says_what_to_do(here: Path) -> None:
    (here / "run").write_text("#!/bin/sh\n")
    with pytest.raises(BadInput, match=r"is not executable \(`chmod \+x ./run`"):
        check_exec("./run", 7)


def test_rows_before_anything_was_applied_are_refused(tmp_path: Path) -> None:
    text = CORRECT.replace("self.last = {}", "self.last = {1: {'key': 1, 'deleted': False}}")
    with pytest.raises(BadInput, match="a fresh consumer has 1 rows already"):
        check_exec(program(tmp_path, f"{text}\nserve(Consumer)"), 7, histories=1)


@pytest.mark.parametrize("key", ['{"id": 1}', "null", "[1]", "true"])
def test_a_key_that_is_no_number_and_no_text_is_one_line(key: str, tmp_path: Path) -> None:
    text = CORRECT.replace('if not row["deleted"]]', f"][:0] + [{{'key': json.loads({key!r})}}] * len(self.last)")
    with pytest.raises(BadInput) as raised:
        check_exec(program(tmp_path, f"import json{text}\nserve(Consumer)"), 7, histories=1)
    said = str(raised.value)
    assert f"the answer to `rows`: a key is {key} (give a number or a text)" in said
    assert len(said.splitlines()) == 1


FAILING = {
    "1 / 0": "raises ZeroDivisionError: division by zero",
    "raise ValueError('\\x1b[31mred\\nforged: line')": "raises ValueError: \\x1b[31mred",
    "import os; os._exit(3)": "ends the process, with exit status 3",
    "import os; os.kill(os.getpid(), 9)": "ends the process: it was killed by SIGKILL",
    "sys.__stdout__.write('{\"id\":'); sys.__stdout__.flush(); import os; os._exit(4)": "with exit status 4",
    "print('the disk is full', file=sys.stderr); raise OSError": "raises OSError",
}


@pytest.mark.parametrize("crash", FAILING)
def test_what_goes_wrong_in_a_history_is_a_failure_with_its_story(crash: str, tmp_path: Path) -> None:
    text = CORRECT.replace('self.last[change["key"]] = change', crash)
    result, _ = check_exec(
        program(tmp_path, f"{text}\nserve(Consumer, keeps=False)"), 7, histories=1, properties=["converged"]
    )
    failed = next(item for item in result.verdicts if item.verdict == "fail")
    assert (result.verdict, failed.prop) == ("fail", "converged")
    assert FAILING[crash] in failed.witness
    assert "source     commits" in failed.witness
    assert all(line.isprintable() for line in failed.witness.splitlines())
    # Whatever it printed is kept with the story, and the smallest story is found all the same.
    assert ("stderr     " in failed.witness) == ("_exit" not in crash and "kill" not in crash), failed.witness
    assert "the disk is full" in failed.witness or "disk" not in crash
    assert failed.deliveries == 1


def test_a_consumer_that_hangs_ends_the_check_with_its_story(tmp_path: Path) -> None:
    text = CORRECT.replace(
        'self.last[change["key"]] = change', "print('waits', file=sys.stderr); import time; time.sleep(60)"
    )
    result, pace = check_exec(program(tmp_path, f"{text}\nserve(Consumer)"), 7, histories=2, patience=10)
    first, *rest = result.verdicts
    assert first.verdict == "fail"
    assert "does not return: `apply` has had no answer for 10 s (more time: --set patience=SECONDS)" in first.witness
    assert "brings revision 1" in first.witness or "hands over revision 1" in first.witness
    assert "stderr     waits" in first.witness
    assert {item.verdict for item in rest} == {"unknown"}
    assert "see converged" in rest[0].witness
    text = result.text()
    assert "what to do: Find what it waits for" in text
    assert "Mend the exception" not in text
    assert "1 of 2 histories for each property, the longest of " in text
    assert "longest of 0" not in text
    assert pace.text().startswith("1 history in ")


def test_a_log_on_standard_output_in_the_middle_is_one_line(tmp_path: Path) -> None:
    text = CORRECT.replace('self.last[change["key"]] = change', "sys.__stdout__.write('applied\\n')")
    with pytest.raises(BadInput, match=r"the answer to `apply`: it is not JSON: applied .*write logs to"):
        check_exec(program(tmp_path, f"{text}\nserve(Consumer)"), 7, histories=1)


def test_floods_in_both_directions_hold_up_nothing(tmp_path: Path) -> None:
    # More than any pipe holds: rows of 100 kB while requests are on their way, and as much on standard error.
    text = CORRECT.replace(
        'return [row for row in self.last.values() if not row["deleted"]]',
        "print('x' * 100_000, file=sys.stderr); "
        "return [row | {'own': 'y' * 100_000} for row in self.last.values() if not row['deleted']]",
    )
    result, _ = check_exec(program(tmp_path, f"{text}\nserve(Consumer, keeps=False)"), 7, histories=1)
    assert result.verdict == "pass", result.text()


def test_columns_and_keys_of_its_own_are_what_it_gets(tmp_path: Path) -> None:
    said: list[dict[str, Any]] = []
    text = f"{CORRECT}\nserve(Consumer, keeps=False, key='str', columns={{'title': 'str', 'done': 'bool'}})"
    result, _ = check_exec(program(tmp_path, text), 7, histories=1, watch=lambda _, line: said.append(json.loads(line)))
    assert result.verdict == "pass", result.text()
    changes = [change for message in said for change in message.get("changes", [])]
    assert set(changes[0]) == {*META, "title", "done"}
    assert {type(change["key"]) for change in changes} == {str}


def test_without_tears_a_crash_in_the_middle_comes_after_a_part_of_the_batch(tmp_path: Path) -> None:
    said: list[dict[str, Any]] = []
    text = (EXAMPLES / "python" / "naive.py").read_text().replace("serve(Naive)", "serve(Naive, tears=False)")
    command = program(tmp_path, text)
    result, _ = check_exec(
        command, SEED, histories=4, properties=["survives_crash"], watch=lambda _, line: said.append(json.loads(line))
    )
    assert not any("die_after" in message for message in said)
    assert any(item.prop == "survives_crash" and item.verdict == "fail" for item in result.verdicts)


def test_nothing_is_left_when_a_check_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    started: list[int] = []
    real = exchange.ChildProcess.__init__

    def noted(self: Any, *args: Any) -> None:
        real(self, *args)
        started.append(self._process.pid)

    monkeypatch.setattr(exchange.ChildProcess, "__init__", noted)

    def stop(who: str, line: bytes) -> None:
        if len(started) > 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        check_exec(READMODEL, 7, histories=3, watch=stop)
    assert len(started) > 3
    for pid in started:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    assert list(tmp_path.iterdir()) == []
    assert threading.active_count() >= 1
