"""Every broken projector is caught by the check that is named for it; the correct ones pass the same histories.

HISTORIES says on how many each property is tried: `make nightly` takes 10,000.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest
from ours import Ours

from lab.kit.check import Result, TrialOptions, judge
from lab.kit.history import Shape
from lab.kit.mutants import MUTANTS, ByTransaction, Reference
from lab.kit.properties import PROPERTIES, tried
from lab.kit.property import DELIVERIES

HISTORIES = int(os.environ.get("HISTORIES", "150"))

TWICE = "double effect: key 1 is shown twice, and once when each change comes once"
ALIVE = "resurrection: key 1 was deleted by revision 2, and revision 1 is alive at the end"

# Mutant, the check that is named for it, and the first line of its witness.
TABLE = [
    (
        "double counting",
        "no_double_effect",
        "double effect: key 1 is shown twice, and once when each change comes once",
    ),
    (
        "a window that is too small",
        "no_double_effect",
        "double effect: key 2 is shown twice, and once when each change comes once",
    ),
    (
        "off by one: a page's edge twice",
        "no_double_effect",
        "double effect: key 5 is shown twice, and once when each change comes once",
    ),
    (
        "off by one: a page's edge skipped",
        "no_loss",
        "lost change: revision 2 of key 1 (position 2) never became visible",
    ),
    ("clock instead of position", "no_loss", "lost change: revision 2 of key 1 (position 2) never became visible"),
    ("high-water mark", "no_loss", "lost change: revision 1 of key 2 (position 1) never became visible"),
    (
        "last arrival wins",
        "per_key_order",
        "stale overwrite: revision 1 of key 2 was written over revision 2, and stays",
    ),
    (
        "revision compared as text",
        "per_key_order",
        "stale overwrite: revision 9 of key 1 was written over revision 10, and stays",
    ),
    (
        "tombstone forgotten",
        "no_resurrection",
        "resurrection: key 4 was deleted by revision 2, and revision 1 is shown again",
    ),
    (
        "resurrection by a late snapshot row",
        "no_resurrection",
        "resurrection: key 4 was deleted by revision 2, and revision 1 is shown again",
    ),
    ("deletes ignored", "converged", "diverged projection: key 1 is deleted and still shown"),
    (
        "catch-up overwrites",
        "monotonic_reads",
        "non-monotonic read: a reader saw revision 2 of key 5, looked again and found revision 1",
    ),
    (
        "checkpoint before data",
        "checkpoint_sound",
        "torn checkpoint: the checkpoint is at 1, and revision 1 of key 1 (position 1) is not there",
    ),
    (
        "checkpoint beyond what was applied",
        "checkpoint_sound",
        "torn checkpoint: the checkpoint is at 2, and revision 1 of key 1 (position 1) is not there",
    ),
    ("checkpoint follows the source", "no_rewind", "rewind: the checkpoint went from 1 back to 0"),
    ("gap skipped", "no_skipped_gap", "skipped gap: revision 1 of key 1 (position 1) never became visible"),
    ("nulls skipped", "no_phantom", "phantom row: key 2 is shown as it has never been"),
    (
        "written late",
        "read_your_writes",
        "unread own write: the checkpoint is at 1, and revision 1 of key 3 (position 1) is not there",
    ),
    (
        "partial batch on failure",
        "survives_crash",
        "lost or doubled by a crash: key 2 is not what it is without the crash",
    ),
    (
        "data in memory only",
        "survives_crash",
        "lost or doubled by a crash: revision 1 of key 1 was acknowledged and shown, and is gone after the restart",
    ),
    ("a window of 10", "no_double_effect", TWICE),
    ("a window of 100", "no_double_effect", TWICE),
    ("tombstones that expire after 20 applies", "no_resurrection", ALIVE),
    ("tombstones that expire after 60 applies", "no_resurrection", ALIVE),
    (
        "sticky tombstone",
        "created_again",
        "lost return: key 2 was deleted by revision 2 and created again, and is not shown",
    ),
    ("falsy for missing", "values_preserved", "altered value: price -0.0 of key 1 is shown as None"),
    ("text key collation", "values_preserved", "altered value: key 'straße' is not shown"),
    (
        "a value pasted into SQL",
        "values_preserved",
        'altered value: the projector raises OperationalError: near ")": syntax error (kept.py:80)',
    ),
    (
        "32-bit truncation",
        "values_preserved",
        "altered value: amount 9223372036854775807 of key 1 is shown as -1",
    ),
    ("clock instead of revision", "converged", "diverged projection: key 1 is not shown as it is"),
    (
        "page ceiling read beside the page",
        "no_skipped_gap",
        "skipped gap: revision 1 of key 1 (position 1) never became visible",
    ),
    (
        "first of a batch wins",
        "batch_independent",
        "batch dependence: key 2 is not what it is when each change comes in a batch of its own",
    ),
    (
        "source acknowledged between snapshot and checkpoint",
        "survives_crash",
        "lost or doubled by a crash: revision 1 of key 3 was acknowledged and shown, and is gone after the restart",
    ),
    (
        "two owners without a fence",
        "one_owner",
        "former owner's write: a former owner went on, and revision 2 of key 3 is there no more",
    ),
    (
        "key change cut by a batch's edge",
        "no_torn_transaction",
        "torn transaction: a reader sees position 2 of a transaction, and not position 3 of the same one",
    ),
    (
        "two entities of one transaction read apart",
        "no_torn_transaction",
        "torn transaction: a reader sees position 1 of a transaction, and not position 2 of the same one",
    ),
]


def judged(make: Callable[[], Any], histories: int, *properties: str, **options: Any) -> Result:
    shape = Shape(getattr(make, "lab_key", "int"))
    made = TrialOptions(histories=histories, properties=properties, shape=shape, **options)
    return judge(make, made, "projector", lambda *_: "")


@pytest.mark.parametrize(("mutant", "check", "witness"), TABLE, ids=[row[0] for row in TABLE])
def test_a_mutant_is_caught_by_the_check_that_is_named_for_it(mutant: str, check: str, witness: str) -> None:
    broken, named = MUTANTS[mutant]
    assert named == check
    found = judged(broken, 60, check).verdicts[0]
    assert found.verdict == "fail"
    assert found.witness.splitlines()[0] == witness
    assert found.deliveries <= 12


@pytest.mark.parametrize("mutant", MUTANTS)
@pytest.mark.parametrize("seed", [1, 2])
def test_a_mutant_is_caught_with_other_seeds_too(mutant: str, seed: int) -> None:
    broken, check = MUTANTS[mutant]
    found = judged(broken, 150, check, seed=seed).verdicts[0]
    assert found.verdict == "fail"
    assert found.deliveries <= 12


def test_the_table_has_every_mutant_and_every_property_catches_one() -> None:
    assert [row[0] for row in TABLE] == list(MUTANTS)
    assert {check for _, check in MUTANTS.values()} == set(PROPERTIES)
    assert len(MUTANTS) >= 34
    assert all(broken.__doc__ for broken, _ in MUTANTS.values())


VARIANTS: list[dict[str, bool]] = [{}, {"recreate": True}, {"snapshot": True}]


@pytest.mark.parametrize("options", VARIANTS, ids=["history", "recreated", "snapshot"])
@pytest.mark.parametrize("prop", PROPERTIES)
def test_the_correct_projector_passes(prop: str, options: dict[str, bool]) -> None:
    """Each property on its own histories: 17 times as many as HISTORIES in all."""
    make = ByTransaction if prop == "no_torn_transaction" else Reference
    assert judged(make, HISTORIES, prop, **options).text().startswith(f"{prop}  pass")


@pytest.mark.parametrize("delivery", DELIVERIES)
def test_the_correct_projector_passes_under_every_promise_and_with_keys_of_text(delivery: str) -> None:
    class Texts(Reference):
        lab_key = "str"

    for make in (Reference, Texts):
        result = judged(make, HISTORIES // 5 + 1, delivery=delivery)
        assert result.verdict == "pass", result.text()
        assert [item.prop for item in result.verdicts] == list(tried(delivery))


def test_how_long_a_window_or_a_tombstone_lasts_is_in_the_witness() -> None:
    """What comes between is cut down to what it takes."""
    for mutant, most in (("a window of 10", 10), ("a window of 100", 100)):
        broken, check = MUTANTS[mutant]
        assert f"brings {most} changes of" in judged(broken, 30, check).verdicts[0].witness
    for mutant, most in (
        ("tombstones that expire after 20 applies", 20),
        ("tombstones that expire after 60 applies", 60),
    ):
        broken, check = MUTANTS[mutant]
        assert f"brings {most} changes of" in judged(broken, 30, check).verdicts[0].witness


def test_a_window_of_a_thousand_is_too_small_in_the_hundredth_history() -> None:
    class WindowOf1000(MUTANTS["a window of 10"][0]):  # type: ignore[misc]
        size = 1_000

    assert judged(WindowOf1000, 99, "no_double_effect").verdict == "pass"
    found = judged(WindowOf1000, 100, "no_double_effect")
    assert "brings 1,000 changes" in found.verdicts[0].witness
    assert found.effort.longest == 1_101


# Of what a projector with this guard promises. A feed of last states has no use for `ordered`.
IN_ORDER = ("converged", "no_double_effect", "no_phantom", "survives_crash")


@pytest.mark.parametrize(
    ("policy", "store", "properties", "options", "share"),
    [
        ("revision", "memory", (), {}, 40),
        ("revision", "memory", (), {"recreate": True}, 60),
        ("revision", "memory", (), {"snapshot": True}, 60),
        ("ordered", "memory", (), {}, 60),
        ("dedupe", "memory", IN_ORDER, {}, 60),
        ("revision", "sqlite.table", (), {}, 100),
    ],
)
def test_the_labs_own_projector_passes(
    policy: str, store: str, properties: tuple[str, ...], options: dict[str, bool], share: int
) -> None:
    """A store of a real engine takes its time: it is tried on a share of the histories."""
    result = judged(lambda: Ours(policy, store), max(1, HISTORIES // share), *properties, **options)
    assert result.verdict == "pass", result.text()


def test_the_labs_own_projector_without_a_guard_is_caught_like_a_mutant() -> None:
    found = {item.prop: item for item in judged(lambda: Ours("none"), 15, "per_key_order", "converged").verdicts}
    assert found["per_key_order"].verdict == "fail"
    assert found["per_key_order"].deliveries <= 12
    assert found["converged"].verdict == "pass"
