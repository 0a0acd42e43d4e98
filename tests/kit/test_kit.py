"""`lab check` and `lab.testing`: what a stranger's projector meets, and how a stranger's mistakes are answered."""

from __future__ import annotations

import copy
import errno
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st

import lab.kit.check
import lab.testing
from lab.base import BadInput, MissingDriver
from lab.cli import lab as command
from lab.kit import apart
from lab.kit.driver import Driver
from lab.kit.history import META, Shape, committed_late
from lab.kit.properties import PROPERTIES, tried
from lab.kit.reduce import reduce
from lab.kit.script import CRASHES, TrialCase
from lab.shrink import ddmin
from lab.testing import assert_converges, check, deliveries, histories, live, on_duckdb, on_sqlite

Change = dict[str, Any]
NAIVE, MENDED = "lab.kit.examples.naive_insert:handle", "lab.kit.examples.mended:handle"


class Correct:
    """Keeps the highest revision of each key in a dictionary."""

    def __init__(self) -> None:
        self.known: dict[Any, Change] = {}

    def apply(self, changes: list[Change]) -> None:
        for change in changes:
            if change["revision"] > self.known.get(change["key"], {"revision": 0})["revision"]:
                self.known[change["key"]] = change

    def rows(self) -> list[Change]:
        return [row for row in self.known.values() if not row["deleted"]]


class Restartable(Correct):
    """What the dictionary stands for outlives a restart, and is shared with a second owner."""

    def reopen(self) -> None:
        """Nothing was only in memory."""

    def twin(self) -> Any:
        return copy.copy(self)


class Patient(Restartable):
    """Holds early revisions back until those before them have come."""

    def __init__(self) -> None:
        super().__init__()
        self.early: dict[Any, dict[int, Change]] = {}

    def apply(self, changes: list[Change]) -> None:
        for change in changes:
            waiting = self.early.setdefault(change["key"], {})
            waiting[change["revision"]] = change
            while (following := self.known.get(change["key"], {"revision": 0})["revision"] + 1) in waiting:
                super().apply([waiting.pop(following)])


class Buried(Restartable):
    """Removes what is deleted and keeps its revision apart; shows one column of its own making."""

    def __init__(self) -> None:
        super().__init__()
        self.dead: dict[Any, int] = {}

    def apply(self, changes: list[Change]) -> None:
        for change in changes:
            key, known = change["key"], self.known.get(change["key"], {"revision": 0})["revision"]
            if change["revision"] <= max(known, self.dead.get(key, 0)):
                continue
            if change["deleted"]:
                self.dead[key] = change["revision"]
                self.known.pop(key, None)
            else:
                self.known[key] = change

    def rows(self) -> list[Change]:
        rows = self.known.values()
        return [{"key": row["key"], "name": row["name"], "length": len(row["name"] or "")} for row in rows]


class BuriedForEver(Buried):
    """Ignores the key of what is deleted from then on."""

    def apply(self, changes: list[Change]) -> None:
        super().apply([change for change in changes if change["key"] not in self.dead])


class Recomputed(Restartable):
    """Keeps everything that ever came, and computes the rows when they are asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.all: list[Change] = []

    def apply(self, changes: list[Change]) -> None:
        self.all += changes

    def rows(self) -> list[Change]:
        return live(self.all)


class LastWins(Restartable):
    def apply(self, changes: list[Change]) -> None:
        self.known |= {change["key"]: change for change in changes}


class HighWater(Restartable):
    highest = 0

    def apply(self, changes: list[Change]) -> None:
        for change in changes:
            if change["position"] > self.highest:
                self.highest = change["position"]
                super().apply([change])


class Buffered(Restartable):
    def __init__(self) -> None:
        super().__init__()
        self.buffer: list[Change] = []

    def apply(self, changes: list[Change]) -> None:
        waiting, self.buffer = self.buffer, list(changes)
        super().apply(waiting)

    def reopen(self) -> None:
        self.buffer = []


class Forgetful(Restartable):
    def reopen(self) -> None:
        self.known = {}


class Patching(Restartable):
    def apply(self, changes: list[Change]) -> None:
        for change in changes:
            given = {name: value for name, value in change.items() if value is not None}
            super().apply([self.known.get(change["key"], change) | given])


class Undead(Restartable):
    def apply(self, changes: list[Change]) -> None:
        super().apply(changes)
        self.known = {key: row for key, row in self.known.items() if not row["deleted"]}


class Refusing(Restartable):
    def apply(self, changes: list[Change]) -> None:
        for change in changes:
            if self.known.get(change["key"], {}).get("revision") == change["revision"]:
                raise LookupError("it is there already")
            super().apply([change])


class Raising(Restartable):
    def apply(self, changes: list[Change]) -> None:
        raise ValueError(f"can't take {len(changes)}")


class KeysOnly(Correct):
    def rows(self) -> list[Change]:
        return [{"key": row["key"]} for row in super().rows()]


class Talkative(Restartable):
    def apply(self, changes: list[Change]) -> None:
        print("applying", len(changes))
        super().apply(changes)


def found(projector: Any, **options: Any) -> dict[str, str]:
    """The verdict of each property."""
    result = check(projector, histories=options.pop("histories", 60), **options)
    return {item.prop: item.verdict for item in result.verdicts}


# What is right passes, what is wrong fails where it is wrong


@pytest.mark.parametrize("projector", [Restartable, Patient, Buried, Recomputed, Talkative])
def test_a_correct_projector_passes(projector: type) -> None:
    assert set(found(projector, histories=150).values()) == {"pass"}


@pytest.mark.parametrize(
    ("projector", "prop"),
    [
        (LastWins, "per_key_order"),
        (LastWins, "no_rewind"),
        (LastWins, "monotonic_reads"),
        (LastWins, "no_resurrection"),
        (HighWater, "no_skipped_gap"),
        (HighWater, "no_loss"),
        (Buffered, "read_your_writes"),
        (Buffered, "checkpoint_sound"),
        (Forgetful, "survives_crash"),
        (Patching, "no_phantom"),
        (Undead, "no_resurrection"),
        (Refusing, "no_double_effect"),
        (Raising, "converged"),
        (NAIVE, "no_double_effect"),
        (BuriedForEver, "created_again"),
    ],
)
def test_each_property_can_fail(projector: Any, prop: str) -> None:
    result = check(projector, histories=60, properties=[prop])
    assert result.verdict == "fail"
    assert result.verdicts[0].deliveries <= 12
    assert result.verdicts[0].witness


def test_what_is_wrong_with_one_thing_is_not_said_to_be_wrong_with_everything() -> None:
    assert [prop for prop, verdict in found(Undead).items() if verdict == "fail"] == ["no_resurrection"]
    assert [prop for prop, verdict in found(Forgetful).items() if verdict == "fail"] == [
        "checkpoint_sound",
        "survives_crash",
    ]
    last_wins = found(LastWins)
    passed = ("converged", "no_loss", "no_double_effect", "no_skipped_gap", "no_phantom", "survives_crash")
    assert {last_wins[prop] for prop in passed} == {"pass"}


def test_without_reopen_the_crash_properties_are_unknown_and_nothing_else_changes() -> None:
    result = check(Correct, histories=20)
    unknown = {item.prop for item in result.verdicts if item.verdict == "unknown"}
    assert unknown == {"checkpoint_sound", "survives_crash", "one_owner"}
    assert result.verdict == "pass"
    assert_converges(Correct, histories=5)


def test_rows_without_any_state_can_not_be_judged() -> None:
    result = check(KeysOnly, histories=10)
    assert result.verdict == "unknown"
    with pytest.raises(AssertionError, match="nothing but keys"):
        assert_converges(KeysOnly, histories=10)


def test_an_exception_is_a_failure_with_its_place_and_blames_nothing_else() -> None:
    result = check(Raising, histories=10)
    verdicts = {item.prop: item for item in result.verdicts}
    assert "raises ValueError: can't take 1 (test_kit.py:" in verdicts["converged"].witness
    assert "exception" in verdicts["converged"].advice
    assert {item.verdict for prop, item in verdicts.items() if prop != "converged"} == {"unknown"}
    assert result.verdict == "fail"


def test_what_raises_in_order_is_reduced_once(monkeypatch: pytest.MonkeyPatch) -> None:
    reduced: list[TrialCase] = []

    def counted(case: TrialCase, fails: Any) -> TrialCase:
        reduced.append(case)
        return reduce(case, fails)

    monkeypatch.setattr("lab.kit.check.reduce", counted)
    verdicts = {item.prop: item for item in check(Raising, histories=3).verdicts}
    assert verdicts["converged"].verdict == "fail"
    assert "see converged" in verdicts["no_loss"].witness
    assert len(reduced) == 1


def test_reducing_ends_with_the_time_that_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def judged(seconds: float) -> lab.kit.check.Result:
        # Each look at the clock takes a second, and from the reduction on a thousand.
        ticks = iter([*range(10), *range(1_000, 1_000_000, 1_000)])
        monkeypatch.setattr("lab.kit.check.monotonic", lambda: next(ticks))
        options = lab.kit.check.TrialOptions(histories=8, properties=["per_key_order"], seconds=seconds)
        return lab.kit.check.judge(lambda: Driver(LastWins()), options, "last", lambda seed, rounds: "")

    short, long = judged(8), judged(1_000_000)
    assert [result.verdict for result in (short, long)] == ["fail", "fail"]
    assert short.verdicts[0].deliveries > long.verdicts[0].deliveries
    assert "per_key_order: to reduce the counter-example further takes longer" in short.text()
    assert "further takes" not in long.text()


def test_columns_that_are_in_no_row_are_named() -> None:
    class Misspelt(Correct):
        def rows(self) -> list[Change]:
            return [{"key": row["key"], "name": row["name"], "Amount": row["amount"]} for row in super().rows()]

    assert "`amount`, `price` are in no row: not judged" in check(Misspelt, histories=3).text()
    assert "in no row" not in check(Correct, histories=3).text()


def test_a_projector_may_be_a_class_a_function_an_object_or_a_name(tmp_path: Path) -> None:
    for projector in (Restartable, lambda: Restartable(), Restartable(), MENDED):
        assert check(projector, histories=3).verdict == "pass"


def test_the_same_seed_says_the_same_and_another_one_tries_something_else() -> None:
    one, again, other = (check(LastWins, seed=seed, histories=20).document() for seed in (5, 5, 6))
    assert one == again
    assert one["verdicts"] != other["verdicts"]


def test_the_number_of_histories_in_the_replay_is_enough_to_find_the_same() -> None:
    result = check(LastWins, histories=25)
    assert result.replay.endswith("test_kit:LastWins --seed 1087 --set histories=25")

    class Local(LastWins):
        pass

    assert check(Local, histories=3).replay == "assert_converges(Local, seed=1087, histories=3)"


def test_an_assertion_tells_the_witness_the_way_out_and_how_to_do_it_again() -> None:
    with pytest.raises(AssertionError) as caught:
        assert_converges(NAIVE, histories=30)
    text = str(caught.value)
    assert "double effect: key" in text
    assert "again with: lab check lab.kit.examples.naive_insert:handle --seed 1087" in text
    assert "what to do: Remember what has been applied" in text
    assert_converges(NAIVE, histories=30, properties=["converged", "no_loss"])


# Functions on a connection

COLUMNS = {"title": "str", "pages": "int", "lent": "bool"}
TABLE = "CREATE TABLE books (key VARCHAR PRIMARY KEY, revision INTEGER, deleted BOOLEAN, title VARCHAR, pages INTEGER)"
ROWS = "SELECT key, revision, title, pages FROM books WHERE NOT deleted"


def upsert(connection: Any, changes: list[Change]) -> None:
    for change in changes:
        known = connection.execute("SELECT revision FROM books WHERE key = ?", [change["key"]]).fetchone()
        if known is None or change["revision"] > known[0]:
            values = [change[name] for name in ("key", "revision", "deleted", "title", "pages")]
            connection.execute("INSERT OR REPLACE INTO books VALUES (?, ?, ?, ?, ?)", values)


def test_a_function_on_sqlite_may_have_columns_and_keys_of_its_own() -> None:
    handle = on_sqlite(setup=TABLE, rows=ROWS, columns=COLUMNS, key="str")(upsert)
    assert handle.__name__ == "upsert"
    assert set(found(handle, histories=15).values()) == {"pass"}


def test_a_function_on_duckdb() -> None:
    handle = on_duckdb(setup=TABLE, rows=ROWS, columns=COLUMNS, key="str")(upsert)
    assert found(handle, histories=2, properties=["converged", "survives_crash", "no_resurrection"]) == {
        "converged": "pass",
        "survives_crash": "pass",
        "no_resurrection": "pass",
    }


def test_a_function_that_is_not_atomic_is_caught_by_the_crash() -> None:
    """It marks a change as done and commits, before it writes it."""

    def marks_first(connection: Any, changes: list[Change]) -> None:
        for change in changes:
            known = connection.execute("SELECT 1 FROM done WHERE position = :position", change).fetchone()
            if known is None:
                connection.execute("INSERT INTO done VALUES (:position)", change)
                connection.commit()
                connection.execute("INSERT OR REPLACE INTO people VALUES (:key, :name, :deleted)", change)

    def in_one_transaction(connection: Any, changes: list[Change]) -> None:
        with connection:
            cursor = connection.cursor()
            for change in changes:
                if not cursor.execute("SELECT 1 FROM done WHERE position = :position", change).fetchone():
                    cursor.execute("INSERT INTO done VALUES (:position)", change)
                    cursor.execute("INSERT OR REPLACE INTO people VALUES (:key, :name, :deleted)", change)

    setup = (
        "CREATE TABLE done (position INTEGER); CREATE TABLE people (key INTEGER PRIMARY KEY, name TEXT, deleted INT)"
    )
    decorate = on_sqlite(setup=setup, rows="SELECT key, name FROM people WHERE NOT deleted")
    assert found(decorate(marks_first), properties=["survives_crash", "converged"]) == {
        "survives_crash": "fail",
        "converged": "pass",
    }
    assert found(decorate(in_one_transaction), properties=["survives_crash"]) == {"survives_crash": "pass"}


def test_the_table_of_an_insert_that_raises_is_caught_by_the_duplicate() -> None:
    @on_sqlite(
        setup="CREATE TABLE people (key INTEGER, revision INTEGER, name TEXT, PRIMARY KEY (key, revision))",
        rows="SELECT key, max(revision) AS revision, name FROM people GROUP BY key",
    )
    def handle(connection: Any, changes: list[Change]) -> None:
        connection.executemany("INSERT INTO people VALUES (:key, :revision, :name)", changes)

    result = check(handle, histories=30, properties=["no_double_effect"])
    assert "raises IntegrityError: UNIQUE constraint failed" in result.verdicts[0].witness


# The command


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to stand in; what it adds to the path of modules is taken back."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return tmp_path


def lab_check(*words: str) -> Result:
    return CliRunner().invoke(command, ["check", *words])


def test_the_textbooks_handler_is_caught_with_a_witness_and_the_mended_one_passes() -> None:
    naive = lab_check(NAIVE, "--set", "histories=20")
    assert naive.exit_code == 1
    assert "no_double_effect   fail" in naive.stdout
    assert "double effect: key" in naive.stdout
    assert "INSERT ... ON CONFLICT" in naive.stdout
    mended = lab_check(MENDED, "--set", "histories=20")
    assert mended.exit_code == 0
    assert mended.stdout.count("  pass\n") == len(tried("out-of-order"))
    assert "20 of 20 histories for each property, the longest of 132 changes\n" in mended.stdout
    assert "pass under out-of-order delivery (in any order, some again, some lost" in mended.stdout


def test_what_a_feed_promises_decides_what_is_asked_and_the_text_says_it() -> None:
    """An upsert without a guard is right where everything comes in order."""
    ordered = lab_check("lab.kit.examples.in_order:handle", "--delivery", "in-order", "--set", "histories=40")
    assert ordered.exit_code == 0
    assert "pass under in-order delivery (each change once, in the order of commits)" in ordered.stdout
    assert "--delivery in-order --seed 1087 --set histories=40" in ordered.stdout
    assert "per_key_order" not in ordered.stdout
    again = lab_check(NAIVE, "--delivery", "at-least-once", "--properties", "no_double_effect", "--set", "histories=40")
    assert again.exit_code == 1
    assert "--delivery at-least-once --properties no_double_effect --seed 1087 --set histories=40" in again.stdout
    in_order = found(LastWins, delivery="in-order", histories=40)
    assert {prop for prop, verdict in in_order.items() if verdict == "unknown"} == {
        "checkpoint_sound",
        "survives_crash",
    }
    assert set(in_order.values()) == {"pass", "unknown"}
    assert tuple(in_order) == tried("in-order")
    assert found(LastWins, delivery="out-of-order", histories=40)["per_key_order"] == "fail"


def test_what_is_tried_too_little_is_unknown_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock ends the trials of a slow projector, and says so; it changes no verdict on what was tried enough."""
    monkeypatch.setattr(lab.kit.check, "HISTORIES", 50)
    clock = iter(range(10_000))
    monkeypatch.setattr(lab.kit.check, "monotonic", lambda: next(clock))
    result = check(Restartable)
    assert {item.verdict for item in result.verdicts} == {"pass"}
    assert "31 of 50 histories for each property within 30 s (more: --set seconds=N)" in result.text()
    clock = iter(range(0, 10_000, 10))
    result = check(LastWins)
    verdicts = {item.prop: item for item in result.verdicts}
    assert result.verdict == "fail"
    assert verdicts["no_phantom"].verdict == "unknown"
    assert "tried on 4 of 50 histories within 30 s, too few to say" in verdicts["no_phantom"].witness
    assert result.replay.endswith("--set histories=4")


def test_a_module_in_the_current_folder_is_found_and_what_it_prints_stays_out_of_the_document(tmp_path: Path) -> None:
    text = "import json\nprint('hello')\nclass Mine:\n    def __init__(self): self.d = {}\n"
    text += "    def apply(self, changes):\n        print('applying')\n"
    text += "        self.d.update({c['key']: c for c in changes})\n"
    text += "    def rows(self): return [r for r in self.d.values() if not r['deleted']]\n"
    (tmp_path / "stranger.py").write_text(text)
    words = [sys.executable, "-m", "lab", "check", "stranger:Mine", "--json", "--seed", "3", "--set", "histories=20"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    document = json.loads(done.stdout)
    assert set(document) == {"verdict", "verdicts", "effort", "replay"}
    assert document["effort"]["histories"] == document["effort"]["of"] == 20
    assert document["verdict"] == "fail"
    assert [row["property"] for row in document["verdicts"]] == list(tried("out-of-order"))
    assert all(set(row) == {"property", "verdict", "witness"} for row in document["verdicts"])
    assert document["replay"] == "lab check stranger:Mine --seed 3 --set histories=20"
    assert "hello" in done.stderr


def test_unknown_has_an_exit_status_of_its_own(here: Path) -> None:
    (here / "only_keys.py").write_text(
        "class P:\n    def __init__(self): self.d = {}\n"
        "    def apply(self, changes):\n        for c in changes:\n"
        "            self.d[c['key']] = max(self.d.get(c['key'], c), c, key=lambda c: c['revision'])\n"
        "    def rows(self): return [{'key': k} for k, c in self.d.items() if not c['deleted']]\n"
    )
    done = lab_check("only_keys:P", "--set", "histories=3", "--json")
    assert done.exit_code == 3
    assert json.loads(done.stdout)["verdict"] == "unknown"


MODULES = {
    "raising_module": "1 / 0",
    "unfinished": "class P:\n    def apply(self",
    "needy": "import not_there_at_all",
    "leaving": "raise SystemExit(0)",
    "several": (
        "class Empty: pass\nnumber = 7\ndef handle(connection, changes): pass\n"
        "class Wants:\n    def __init__(self, path): pass\n"
        "class Base:\n    def apply(self, changes): pass\n    def rows(self): return []\n"
        "class Tuples(Base):\n    def rows(self): return [(1, 2)]\n"
        "class Keyless(Base):\n    d = 0\n    def apply(self, changes): self.d = 1\n"
        "    def rows(self): return [{'id': 1}] if self.d else []\n"
        "class Gives(Base):\n    def rows(self): return None\n"
        "class Full(Base):\n    def rows(self): return [{'key': 1}]\n"
        "class Odd(Base):\n    lab_columns = {'name': 'string'}\n"
        "class Meta(Base):\n    lab_columns = {'revision': 'int'}\n"
        "class RowsRaise(Base):\n    def rows(self): return self.table\n"
    ),
}


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["severel:Base"], ["no module `severel`", "did you mean `several`?"]),
        (["several:Bass"], ["`several` has no `Bass`", "did you mean `Base`?"]),
        (["several"], ["MODULE:OBJECT is wanted"]),
        (["several.py:Base"], ["not a file", "lab check several:Base"]),
        (["raising_module:P"], ["ZeroDivisionError: division by zero (raising_module.py:1)"]),
        (["unfinished:P"], ["SyntaxError", "unfinished.py:2"]),
        (["needy:P"], ["it needs `not_there_at_all`"]),
        (["leaving:P"], ["SystemExit"]),
        (["several:Empty"], ["has no `apply`", "on_sqlite"]),
        (["several:number"], ["is a int"]),
        (["several:handle"], ["is a function of connection, changes", "on_sqlite"]),
        (["several:Wants"], ["can't be made: TypeError", "without arguments"]),
        (["several:Tuples"], ["rows(): gives a list of tuple"]),
        (["several:Keyless"], ["a row has no `key`, only id"]),
        (["several:Gives"], ["rows(): gives a NoneType"]),
        (["several:Full"], ["a fresh projector has 1 rows already"]),
        (["several:Odd"], ["there is no type `string`", "did you mean `str`?"]),
        (["several:Meta"], ["every change has this one already"]),
        (["several:RowsRaise"], ["rows() of a fresh projector raises AttributeError"]),
        (["several:Base", "--set", "historys=3"], ["no setting `historys`", "did you mean `histories`?"]),
        (["several:Base", "--set", "histories=none"], ["a whole number from 1 up"]),
        (["several:Base", "--set", "histories=0"], ["a whole number from 1 up"]),
        (["several:Base", "--delivery", "inorder"], ["no delivery `inorder`", "did you mean `in-order`?"]),
        (["several:Base", "--properties", "converged,no_los"], ["no property `no_los`", "did you mean `no_loss`?"]),
        (["several:Base", "--properties", ","], ["--properties: it names none (for example --properties converged"]),
        (["several:Base", "--delivery", "in-order", "--properties", "no_loss"], ["tried under out-of-order"]),
    ],
)
def test_a_mistake_is_one_clear_error(words: list[str], what: list[str], here: Path) -> None:
    for name, text in MODULES.items():
        (here / f"{name}.py").write_text(text + "\n")
        sys.modules.pop(name, None)
    done = lab_check(*words, "--json")
    assert done.exit_code == 2
    assert json.loads(done.stdout)["error"][0]["what"]
    assert done.stderr.count("error: ") == 1
    assert "Traceback" not in done.stderr
    for part in what:
        assert part in done.stderr


def test_a_mistake_prints_nothing_on_standard_output_without_json(here: Path) -> None:
    done = lab_check("severel:Base")
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ")
    assert here.is_dir()


def test_bad_words_in_python_are_bad_input_too() -> None:
    with pytest.raises(BadInput, match="did you mean `no_loss`"):
        check(Correct, properties=["no_los"])
    with pytest.raises(BadInput, match="at least 1"):
        check(Correct, histories=0)
    with pytest.raises(BadInput, match="can't be made: OperationalError"):
        check(on_sqlite(setup="CREATE TABL x", rows="SELECT 1 AS key")(upsert))


# What the trials are made of


def test_cases_have_what_they_are_there_for() -> None:
    shape = Shape()
    orders = [PROPERTIES["no_skipped_gap"].case(1, number, shape).history.commits for number in range(20)]
    assert sum(map(bool, map(committed_late, orders))) > 5
    histories_seen = [PROPERTIES["converged"].case(1, number, shape).history.changes for number in range(40)]
    assert any(change["revision"] >= 10 for changes in histories_seen for change in changes)
    assert any(change["deleted"] for changes in histories_seen for change in changes)
    assert any(change["amount"] is None for changes in histories_seen for change in changes)
    cases = [PROPERTIES["survives_crash"].case(1, number, shape) for number in range(40)]
    steps = {getattr(step, "at", "") for made in cases for step in made.script}
    assert set(CRASHES) <= steps


@pytest.mark.parametrize("prop", PROPERTIES)
def test_every_case_is_one_that_a_source_of_truth_can_have_brought_about(prop: str) -> None:
    for number in range(50):
        for recreate in (False, True):
            made = PROPERTIES[prop].case(9, number, Shape("str"), recreate=recreate)
            assert made.possible()
            assert sorted(made.committed()) == list(range(1, len(made.history.changes) + 1))
            names = [change["name"] for change in made.history.changes]
            if prop in ("values_preserved", "batch_independent"):
                continue
            assert len({(change["key"], change["name"]) for change in made.history.changes}) == len(names)


@given(st.sets(st.integers(0, 40), min_size=1, max_size=5))
def test_ddmin_finds_what_it_takes_and_nothing_else(needed: set[int]) -> None:
    assert ddmin(range(41), lambda items: needed <= set(items)) == sorted(needed)


# Strategies


@given(deliveries())
def test_a_correct_projector_amounts_to_what_came(batches: list[list[Change]]) -> None:
    projector = Correct()
    for batch in batches:
        projector.apply(batch)
    rows = [{name: row[name] for name in ("key", "name", "amount", "price")} for row in projector.rows()]
    assert sorted(rows, key=lambda row: str(row["key"])) == live(change for batch in batches for change in batch)


def test_the_strategies_find_what_is_wrong() -> None:
    @settings(max_examples=200)
    @given(deliveries(histories(records=2, changes=8)))
    def last_wins(batches: list[list[Change]]) -> None:
        projector = LastWins()
        for batch in batches:
            projector.apply(batch)
        shown = {row["key"]: row["revision"] for row in projector.rows()}
        assert shown.keys() == {row["key"] for row in live(change for batch in batches for change in batch)}

    with pytest.raises(AssertionError):
        last_wins()


@given(histories(key="str", columns={"title": "str", "pages": "int"}, recreate=True))
def test_histories_are_what_a_source_of_truth_commits(changes: list[Change]) -> None:
    revisions: dict[str, int] = {}
    for position, change in enumerate(changes, 1):
        assert set(change) == {*META, "title", "pages"}
        assert change["position"] == position
        assert change["revision"] == revisions.get(change["key"], 0) + 1
        revisions[change["key"]] = change["revision"]


def test_without_hypothesis_the_strategies_say_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "hypothesis", None)
    with pytest.raises(MissingDriver, match="pip install hypothesis"):
        lab.testing.histories()


@pytest.mark.parametrize("value", ["1__0", "_1", "1_", "9" * 5_000, "1_000_001", "\u0663", "1.0"])
def test_a_number_that_is_none_or_too_large_is_bad_input(value: str, here: Path) -> None:
    done = lab_check(MENDED, "--set", f"histories={value}")
    assert done.exit_code == 2
    assert "a whole number from 1 up to 1,000,000" in done.stderr
    assert here.is_dir()


def test_debug_shows_the_traceback_of_the_process_of_the_check(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LAB_DEBUG", raising=False)
    (here / "not_a_projector.py").write_text("P = 7\n")
    for option, shown in (([], False), (["--debug"], True), ([], False)):
        done = lab_check("not_a_projector:P", *option)
        assert (done.exit_code, "in child" in done.stderr) == (2, shown)
    assert "LAB_DEBUG" not in os.environ


class Printing:
    """A process whose output is at hand."""

    def __init__(self, folder: Path, printed: bytes) -> None:
        (folder / "printed").write_bytes(printed)
        self.stdout = (folder / "printed").open("rb")


def test_what_a_projector_prints_is_read_to_its_end_and_shown_up_to_a_limit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    apart._pass_on(Printing(tmp_path, "é".encode() * (apart.PRINTED_MAX // 2)))  # type: ignore[arg-type]
    assert capsys.readouterr().err == "é" * (apart.PRINTED_MAX // 2)
    apart._pass_on(Printing(tmp_path, b"x" + "é".encode() * 40_000))  # type: ignore[arg-type]
    shown = capsys.readouterr().err
    assert shown.count("é") == (apart.PRINTED_MAX - 1) // 2
    assert "\\x" not in shown
    assert shown.count("and so on") == 1

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(apart, "say", full)
    printing = Printing(tmp_path, b"x" * 200_000)
    apart._pass_on(printing)  # type: ignore[arg-type]
    assert printing.stdout.closed
