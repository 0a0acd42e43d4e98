"""Stores tried before a run: each broken one is found out, and what a store says that it can't do is no fault.

That the lab's own stores pass is a promise of the store contract.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import planted
import pytest
from pieces import SCENARIO
from running import call, failed, run_text, verdicts, witness

import lab.report
from lab.conformance import trying
from lab.conformance.crashes import APPLY, Counted, Death, deaths
from lab.conformance.trying import job_of, tried
from lab.conformance.values import HOSTILE, KEYS, shown
from lab.projection.guards import GUARDS
from lab.stores import STORES, Store, StoreSpec
from lab.stores.memory import Memory
from lab.stores.null import Null
from lab.testing.promises import Trial
from lab.testing.store_trials import GUARD, HOLD, QUERIES, SEED, trial_of_values


def faults(store: type[Store], folder: Path, keeps: str = "records", guard: str = GUARD) -> list[str]:
    return trial_of_values(Trial(store, folder, keeps), guard).faults()


@pytest.mark.parametrize("name", planted.ALTERING)
def test_a_store_that_alters_values_is_found_out(name: str, tmp_path: Path) -> None:
    found = faults(planted.ALTERING[name], tmp_path)
    assert found
    assert all(line.isprintable() for line in found)
    # It is what it does that is found out, and not that it can't do it.
    assert any("stopped it" in line for line in found) == (name == "StopsAtNul")


@pytest.mark.parametrize("name", planted.HARMLESS)
def test_a_planted_store_that_alters_nothing_is_not_found_out(name: str, tmp_path: Path) -> None:
    assert faults(planted.HARMLESS[name], tmp_path) == []


def test_the_first_line_says_what_became_of_which_value_where(tmp_path: Path) -> None:
    for number, (name, line) in enumerate(
        {
            "trims texts": "text ' a' came back as text 'a' (column label, item, sqlite.table)",
            "keeps whole numbers as floats": (
                "whole number 9007199254740993 came back as whole number 9007199254740992"
                " (column parent, item, sqlite.table)"
            ),
            "lowers keys": "the record with key text 'A' is not there (shelf, sqlite.table)",
            "ForgetsWhenReopened": "text '' came back as null (column shelf, item, sqlite.table), reopened",
            "FiltersWithoutCase": "query `on`, asked with text 'a', gives 53 rows and must give 27 (memory)",
            "RefusesEverything": (
                "434 changes with usual values were refused: the record with key whole number 1062 (item, memory)"
            ),
            "StopsAtNul": "68 changes of `item` stopped it: ValueError: embedded null byte (memory)",
        }.items()
    ):
        assert faults(planted.ALTERING[name], tmp_path / str(number))[0] == line


@pytest.mark.parametrize("keeps", Memory.holds)
@pytest.mark.parametrize("guard", GUARDS)
def test_the_reference_keeps_everything_under_every_guard(keeps: str, guard: str, tmp_path: Path) -> None:
    assert faults(Memory, tmp_path, keeps, guard) == []


def test_what_a_store_can_not_take_is_no_fault(tmp_path: Path) -> None:
    assert faults(planted.RefusesNul, tmp_path) == []


def test_every_awkward_value_is_there_once_and_can_be_told() -> None:
    for values in [*HOSTILE.values(), *KEYS.values()]:
        # 0.0 and -0.0 are equal, and some engines keep one for both.
        assert len(set(map(repr, values))) == len(values)
        assert all(shown(value).isprintable() for value in values)


# Crashes


def jobs(stores: Sequence[type[Store]]) -> list[Any]:
    guards = ["dedupe" if store is planted.MemoryApart else GUARD for store in stores]
    made = [
        trial_of_values(Trial(store, Path(), "records"), guard) for store, guard in zip(stores, guards, strict=True)
    ]
    return [job_of(type(one.store), one.store.layout, one.policy, HOLD, QUERIES[:1], SEED) for one in made]


def test_a_store_that_a_crash_tears_is_found_out(tmp_path: Path) -> None:
    found = tried(jobs(planted.CRASHING), tmp_path / "tried")
    for store, made in zip(planted.CRASHING, found, strict=True):
        assert list(made.values.faults) == [], store
        assert made.crashes.faults, store
    told = {store.__name__: made.crashes.faults[0] for store, made in zip(planted.CRASHING, found, strict=True)}
    assert told["DataThenCheckpoint"] == (
        "data came without its checkpoint: 70 rows, and must be 40 (sqlite.table, killed in an apply)"
    )
    assert told["CheckpointThenData"].startswith("the checkpoint is there and its data isn't")
    assert told["WritesBehind"].startswith("what was confirmed is not there")
    assert told["RowByRow"].startswith("a part of it is there")
    assert told["MemoryApart"].startswith(
        "the checkpoint is there and its data isn't: 40 entries of the guard's memory"
    )
    # The same again, in words too.
    again = tried(jobs(planted.CRASHING[:1]), tmp_path / "again")
    assert again == found[:1]


def test_a_job_that_was_tried_is_not_tried_again_whatever_its_entities_remember(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = replace(jobs([Memory])[0], seed=11)
    found = tried([first, first], tmp_path / "first")
    # What a run does with the projection of the job.
    assert all(entity.schema for entity in first.layout.entities.values())
    assert first.layout.kept
    assert pickle.dumps(first) != pickle.dumps(replace(jobs([Memory])[0], seed=11))
    monkeypatch.setattr(trying, "_tried", None)
    again = replace(jobs([Memory])[0], seed=11)
    assert tried([again], tmp_path / "again") == found[:1] == found[1:]
    with pytest.raises(TypeError):
        tried([replace(again, seed=12)], tmp_path / "other")


def test_deaths_are_spread_over_what_changes_on_disk_and_follow_the_seed() -> None:
    counted = [Counted(50, (49,)), Counted(60, (10, 20, 30, 40, 59)), Counted(9, (8,)), Counted(9), Counted(5, (2, 3))]
    found = deaths(counted, 1)
    assert found == deaths(counted, 1)
    assert found[0] == Death(APPLY)
    steps = [death.step for death in found if death.operation == APPLY and death.step is not None]
    assert len(steps) == 5
    assert len(set(steps) & {10, 20, 30, 40, 59}) >= 4
    assert {death.operation for death in found} > {APPLY, len(counted) - 1}
    assert {death.operation for death in deaths(counted, 1, thorough=True)} == {1, 2, 3, 4}


def test_what_keeps_nothing_or_can_not_be_imported_is_unknown(tmp_path: Path) -> None:
    class Local(Memory):
        """Of this function alone."""

    null, local, memory = jobs([Null, Local, Memory])
    assert null == "does not apply: it keeps nothing"
    assert local.startswith("another process can't import `test_conformance:")
    (found,) = tried([memory], tmp_path / "tried")
    assert list(found.values.faults) == []
    assert found.crashes.unknown == "does not apply: gone with the process"


# Whole runs


def plant(patch: pytest.MonkeyPatch, **stores: str) -> None:
    """Put broken stores into the registry, under names of their own."""
    shipped = STORES._shipped | {
        name: StoreSpec(name, f"planted:{path}", "broken", "on purpose") for name, path in stores.items()
    }
    patch.setattr(STORES, "_shipped", shipped)


BROKEN = (
    SCENARIO.partition("[[projection]]")[0]
    + "".join(f'[[projection]]\nname = "{name}"\nstore = "{name}"\n' for name in ("trims", "behind"))
    + '[[projection]]\nname = "reference"\nstore = "memory"\n'
    + "[measure]\nsamples = 1\n"
)


def test_a_run_on_tame_data_finds_broken_stores_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch, trims="TrimsTexts", behind="WritesBehind")
    finished = run_text(tmp_path, BROKEN, "workload.commands=500")
    assert {name for name, verdict in verdicts(finished).items() if verdict == "fail"} == {"trims", "behind"}
    assert failed(finished, "trims") == {"values_preserved"}
    assert failed(finished, "behind") == {"survives_crash"}
    assert witness(finished, "trims", "values_preserved").startswith("altered value: text ' a' came back as text 'a'")
    assert witness(finished, "behind", "survives_crash").startswith("lost or doubled by a crash: what was confirmed")
    assert witness(finished, "reference", "survives_crash") == "does not apply: gone with the process"
    assert finished.manifest["phases"]["try"] > 0
    assert not (finished.path / "work").exists()


def test_trials_can_be_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lab.report, "write_report", lambda _: None)
    plant(monkeypatch, trims="TrimsTexts", behind="WritesBehind")
    (tmp_path / "mine.toml").write_text(BROKEN)
    words = ("--json", "--set", "measure.trials=false", "--set", "workload.commands=300")
    found = call("run", str(tmp_path / "mine.toml"), "--runs", str(tmp_path / "runs"), *words)
    document = json.loads(found.stdout)
    assert document["verdict"] == "pass"
    left = [row for row in document["verdicts"] if row["check"] in ("values_preserved", "survives_crash")]
    assert {(row["verdict"], row["witness"]) for row in left} == {("unknown", "not tried: measure.trials is false")}
