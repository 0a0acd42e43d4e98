"""Every change log of `logs/` becomes the history that its README of the format says."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import pytest
from reading_logs import read

LOGS = Path(__file__).parent / "logs"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


class Must(NamedTuple):
    """What a log must become: format, changes, records, deletes, seconds from first to last, and last states."""

    form: str
    changes: int
    records: int
    deletes: int
    lasts: float
    states: dict[Any, tuple[int, bool, dict[str, Any]]]
    says: tuple[str, ...] = ()
    key: tuple[str, ...] = ("id",)


LONG = "long text long text long text "
FIRST, SECOND = "65f0aa000000000000000001", "65f0aa000000000000000002"
CASES: dict[str, Must] = {
    "a01_truncate.ndjson": Must(
        "debezium", 11, 6, 5, 9.0,
        {n: (2, True, {"id": n, "sku": f"s{n}", "qty": n}) for n in range(1, 6)}
        | {9: (1, False, {"id": 9, "sku": "s9", "qty": 9})},
        ("Records that a truncation deleted: 5",),
    ),
    "a02_message.ndjson": Must(
        "debezium", 3, 2, 0, 3.0,
        {1: (2, False, {"id": 1, "sku": "a", "qty": 2}), 2: (1, False, {"id": 2, "sku": "b", "qty": 2})},
        ("messages of the database (op m): 1",),
    ),
    "a03_toast.ndjson": Must(
        "debezium", 3, 2, 0, 2.0,
        {1: (2, False, {"id": 1, "name": "Ada L", "bio": LONG}),
         2: (1, False, {"id": 2, "name": "Bob", "bio": "short"})},
        ("`bio`: values that the log leaves out as unchanged: the record's last was taken: 1",),
    ),
    "a04_mongodb.ndjson": Must(
        "debezium", 4, 2, 1, 3.0,
        {
            FIRST: (2, False, {"_id": FIRST, "name": "Ada", "n": 5}),
            SECOND: (2, True, {"_id": SECOND, "name": "Bob", "n": 2}),
        },
        ("Deletions that tell their key alone",), ("_id",),
    ),
    "a07_unwrapped.ndjson": Must(
        "flattened", 8, 6, 1, 20.0,
        {
            n: (2 if n in (2, 3) else 1, n == 3, {
                "id": n, "customer": f"c{n}", "amount": 99.0 if n == 2 else 1.5 * n,
                "created_at": f"2024-01-0{n}T09:00:00Z",
            })
            for n in range(1, 7)
        },
    ),
    "a08_decimal.ndjson": Must(
        "debezium", 6, 5, 0, 8.0,
        {
            1: (2, False, {"id": 1, "price": 99.99, "born": "2022-01-09", "seen_at": "2023-11-14T22:28:20"}),
            **{
                n: (1, False, {
                    "id": n, "price": 10.25 * n, "born": f"2022-01-{8 + n:02}", "seen_at": f"2023-11-14T22:13:{20 + n}",
                })
                for n in range(2, 6)
            },
        },
        ("`price` has decimal numbers", "`born` has dates", "`seen_at` has times without a zone"),
    ),
    "a09_avrojson.ndjson": Must(
        "debezium", 3, 2, 1, 2.0,
        {1: (2, True, {"f1": 1, "v": "x"}), 2: (1, False, {"f1": 2, "v": "y"})},
        ("tombstones without a key: 1",), ("f1",),
    ),
    "a10_kcatJ.ndjson": Must(
        "debezium", 4, 2, 1, 3.0, {1: (3, True, {"id": 1, "q": 2}), 2: (1, False, {"id": 2, "q": 7})},
        ("Tombstones of records that are gone already, or never were there: 1",),
    ),
    "a11_redelivered.ndjson": Must(
        "debezium", 4, 2, 1, 3.0, {1: (3, True, {"id": 1, "q": 2}), 2: (1, False, {"id": 2, "q": 1})},
        ("Changes that were sent again, and left out: 3",),
    ),
    "a12_tx.ndjson": Must(
        "debezium", 2, 2, 0, 1.0, {1: (1, False, {"id": 1, "q": 1}), 2: (1, False, {"id": 2, "q": 1})},
        ("lines of BEGIN and END: 2",),
    ),
    "a13_maxwell.ndjson": Must(
        "maxwell", 4, 2, 1, 33.0,
        {
            1: (3, True, {"id": 1, "m": 5.5, "c": "2016-10-21 05:33:54"}),
            2: (1, False, {"id": 2, "m": 1.0, "c": "2016-10-21 05:34:00"}),
        },
    ),
    "a14_canal.ndjson": Must("canal", 3, 1, 1, 2.0, {1: (3, True, {"id": 1, "name": "b"})}),
    "a15_wal2json2.ndjson": Must(
        "wal2json", 3, 1, 1, 2.0, {1: (3, True, {"id": 1, "v": "b"})}, ("lines of BEGIN and COMMIT: 4",)
    ),
    "a16_singer.ndjson": Must(
        "singer", 3, 2, 0, 2.0, {1: (2, False, {"id": 1, "name": "c"}), 2: (1, False, {"id": 2, "name": "b"})},
        ("lines of STATE: 1",),
    ),
    "a20_kv_tombstone.ndjson": Must(
        "debezium", 4, 2, 1, 0.02, {1: (2, True, {"id": 1, "q": 1}), 2: (2, False, {"id": 2, "q": 3})}
    ),
    "a21_compacted.ndjson": Must(
        "debezium", 3, 2, 1, 0.001, {2: (1, False, {"id": 2, "q": 1}), 3: (2, True, {"id": 3, "q": 1})},
        ("Tombstones that deleted a record: 1",),
    ),
    "a22_console.ndjson": Must(
        "debezium", 2, 2, 0, 0.005, {1: (1, False, {"id": 1, "q": 1}), 2: (1, False, {"id": 2, "q": 1})}
    ),
    "a23_defaults.ndjson": Must(
        "debezium", 3, 2, 1, 0.02,
        {1: (2, True, {"id": 1, "name": "Ada", "qty": 7}), 2: (1, False, {"id": 2, "name": "B", "qty": 1})},
        ("Deletions that tell their key alone: the record's last state was taken: 1",),
    ),
    "a24_evolve.ndjson": Must(
        "debezium", 3, 2, 0, 0.02,
        {
            1: (2, False, {"id": 1, "name": None, "full_name": "Ada L", "age": 36}),
            2: (1, False, {"id": 2, "name": None, "full_name": "B", "age": None}),
        },
    ),
    "a25_cloudevents.ndjson": Must("cloudevents", 2, 1, 0, 0.0, {1: (2, False, {"id": 1, "q": 2})}),
    "a26_kafkaui.json": Must(
        "debezium", 3, 3, 0, 0.002, {n: (1, False, {"id": n, "q": 1}) for n in range(3)}
    ),
}  # fmt: skip


def test_every_log_has_its_row() -> None:
    assert {path.name for path in LOGS.iterdir()} - {"README.md", "a05_sourcets.ndjson"} == set(CASES)


@pytest.mark.parametrize("name", CASES)
def test_a_log_becomes_the_history_that_it_tells(name: str) -> None:
    must, found = CASES[name], read(LOGS / name)
    assert found.told["format"] == must.form
    assert tuple(found.told["guessed"]["key"]["columns"]) == must.key
    assert (found.told["rows"], found.told["records"]) == (must.changes, must.records)
    assert found.only["deleted"].sum() == must.deletes
    assert found.seconds()[-1] == pytest.approx(must.lasts, abs=1e-6)
    assert found.states() == must.states
    for words in must.says:
        assert found.says(words), found.told["notes"]


def test_the_commits_time_is_taken_and_not_the_connectors() -> None:
    found = read(LOGS / "a05_sourcets.ndjson")
    assert (found.told["rows"], found.told["records"]) == (40, 10)
    assert found.seconds() == [60.0 * n for n in range(40)]


def test_flattened_events_name_their_own_fields() -> None:
    guessed = read(LOGS / "a07_unwrapped.ndjson").told["guessed"]
    assert [guessed[role]["columns"] for role in ("time", "deleted", "revision")] == [
        ["__source_ts_ms"], ["__deleted"], ["__lsn"],
    ]  # fmt: skip
