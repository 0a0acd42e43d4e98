"""The store in S3 keeps the contract of every store, against an emulator, and what only S3 does to it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from effort import examples

pytest.importorskip("boto3", reason="pip install 'polyglot-lab[aws]'")

from reachable import emulated_aws

from lab.base import Batch, Damaged, Unavailable
from lab.engines.aws import ConditionFailed
from lab.place import FolderPlace
from lab.servers.aws import BUCKET, SERVER, delete_objects, objects_below
from lab.stores import dump, parquet_table, store_class
from lab.testing.contracts import store_cases
from lab.testing.promises import Case
from lab.testing.sample import IDS, content, item, items, layout

NAME = "s3.files"
CASES = list(store_cases(store_class(NAME)))


@pytest.fixture(scope="module", autouse=True)
def emulator() -> Iterator[Any]:
    """An emulator of this module's own."""
    with emulated_aws() as one:
        yield one


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_store_in_s3_keeps_the_contract(case: Case, tmp_path: Path) -> None:
    case.run(tmp_path, examples(6))


def store_of(folder: Path) -> Any:
    made = store_class(NAME)(FolderPlace(folder), layout("records", dict(IDS)))
    made.open()
    return made


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Any]:
    made = store_of(tmp_path / "store")
    yield made
    made.drop()


def keys(store: Any) -> list[str]:
    return [one["Key"] for one in objects_below(store._disk._prefix)]


def test_a_writer_that_was_replaced_changes_nothing_and_leaves_nothing(store: Any, tmp_path: Path) -> None:
    store.apply(Batch("item", items(item(1, label="a")), 1))
    other = store_of(tmp_path / "store")
    before, there = content(other), sorted(keys(other))
    for attempt in (lambda: store.apply(Batch("item", items(item(2)), 2)), store.reset):
        with pytest.raises(Unavailable, match="another process writes this projection now"):
            attempt()
        assert content(other) == before
        assert sorted(keys(other)) == there
    other.apply(Batch("item", items(item(3)), 3))
    store.close()
    store.open()
    assert dump(store, "item")["key"].to_list() == [1, 3]
    with pytest.raises(Unavailable):
        other.apply(Batch("item", items(item(4)), 4))
    other.close()


def test_without_the_condition_the_former_writer_s_manifest_would_win(
    store: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.apply(Batch("item", items(item(1)), 1))
    other = store_of(tmp_path / "store")
    other.apply(Batch("item", items(item(3)), 3))
    client = SERVER.client("s3")
    put = client.put_object

    def whatever(IfMatch: str = "", IfNoneMatch: str = "", **asked: Any) -> Any:  # noqa: N803 (the client's own names)
        return put(**asked)

    monkeypatch.setattr(client, "put_object", whatever)
    store.apply(Batch("item", items(item(2)), 2))
    other.close()
    other.open()
    assert dump(other, "item")["key"].to_list() == [1, 2]
    other.close()


def test_an_answer_that_was_lost_is_looked_for_in_the_manifest(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    client = SERVER.client("s3")
    put = client.put_object

    def twice(**asked: Any) -> Any:
        put(**asked)
        return put(**asked)

    with monkeypatch.context() as patch:
        patch.setattr(client, "put_object", twice)
        store.apply(Batch("item", items(item(1)), 1))
        store.apply(Batch("item", items(item(2)), 2))
    store.apply(Batch("item", items(item(3)), 3))
    assert (dump(store, "item").height, store.checkpoint("item")) == (3, 3)


def test_a_condition_that_does_not_hold_is_told_apart() -> None:
    client = SERVER.client("s3")
    store_key = "conditions/one"
    from lab.engines import aws as engine

    client.put_object(Bucket=BUCKET, Key=store_key, Body=b"1")
    with pytest.raises(ConditionFailed), engine.mapped("here"):
        client.put_object(Bucket=BUCKET, Key=store_key, Body=b"2", IfNoneMatch="*")
    delete_objects([store_key])


def test_parts_are_written_once_and_what_is_left_behind_is_swept(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet_table, "PART_ROWS", 3)
    monkeypatch.setattr(parquet_table, "RECENT_ROWS", 2)
    for first in range(0, 12, 4):
        store.apply(Batch("item", items(*(item(key, label=str(key)) for key in range(first, first + 4))), first + 4))
    parts = [part.file for part in store._known()["item"].files]
    assert len(parts) > 2
    put = SERVER.client("s3").put_object
    left = f"{store._disk._prefix}item-{'0' * 12}-00000099.parquet"
    put(Bucket=BUCKET, Key=left, Body=b"half")
    before = content(store)
    store.close()
    store.open()
    assert content(store) == before
    assert left not in keys(store)
    assert {key.rpartition("/")[2] for key in keys(store) if "parquet" in key} >= set(parts)


def test_an_object_that_is_gone_is_damage(store: Any) -> None:
    store.apply(Batch("item", items(item(1)), 1))
    (part,) = store._known()["item"].files
    delete_objects([store._disk._prefix + part.file])
    store.close()
    with pytest.raises(Damaged) as gone:
        store.open()
    assert store.damaged(gone.value)


def test_what_is_dropped_leaves_no_object(tmp_path: Path) -> None:
    made = store_of(tmp_path / "dropped")
    made.apply(Batch("item", items(item(1)), 1))
    prefix = made._disk._prefix
    assert list(objects_below(prefix))
    made.drop()
    assert list(objects_below(prefix)) == []
