"""What both search servers do to a projection, each against its emulator; and what only one of them does."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest

pytest.importorskip("elasticsearch", reason="pip install 'polyglot-lab[elasticsearch]'")
pytest.importorskip("opensearchpy", reason="pip install 'polyglot-lab[opensearch]'")

from pieces import SCENARIO
from reachable import emulated_search
from running import run_text

from lab.base import BadInput, Batch, CannotTake, Damaged, Unavailable
from lab.place import FolderPlace
from lab.scenario import Source
from lab.service.liveonly import of_live_runs
from lab.stores import dump, store_class
from lab.stores.search_documents import OWNER, _together
from lab.testing.sample import IDS, ask, content, item, items, layout
from lab.wiring import plan

SERVERS = ("elasticsearch", "opensearch")
WORDS = ask(name="words", kind="search")


@pytest.fixture(scope="module", params=SERVERS)
def server(request: pytest.FixtureRequest) -> Iterator[str]:
    """The name of a server whose emulator runs."""
    with emulated_search(request.param):
        yield request.param


@pytest.fixture(scope="module")
def elasticsearch() -> Iterator[str]:
    """The one with a refresh."""
    with emulated_search("elasticsearch"):
        yield "elasticsearch"


def store_of(server: str, folder: Path, refresh: float = 0.0) -> Any:
    kept = replace(layout("records", dict(IDS)), refresh=refresh)
    made = store_class(f"{server}.search")(FolderPlace(folder), kept)
    made.open()
    return made


@pytest.fixture
def store(server: str, tmp_path: Path) -> Iterator[Any]:
    made = store_of(server, tmp_path / "store")
    yield made
    made.drop()


def bulk_of(store: Any, answers: dict[str, Any], patch: pytest.MonkeyPatch) -> None:
    """Have the server answer so for the documents of these ids."""
    through = store._client.bulk

    def bulk(index: str, lines: Any) -> Any:
        items = [next(iter(one.values())) for one in through(index, lines)]
        return [{"index": answers.get(did["_id"], did)} for did in items]

    patch.setattr(store._client, "bulk", bulk)


# -- versions, tombstones, failures of single documents ----------------------------------------------------------------


def test_an_older_revision_is_left_out_and_its_batch_lands_all_the_same(store: Any) -> None:
    store.apply(Batch("item", items(item(1, 5, label="new")), 1))
    store.apply(Batch("item", items(item(1, 3, label="old"), item(2, label="other")), 2))
    assert dump(store, "item").select("key", "revision", "label").rows() == [(1, 5, "new"), (2, 1, "other")]
    assert store.checkpoint("item") == 2
    assert store.query(WORDS, ("old",)) == []


def test_without_external_versions_an_older_revision_comes_through(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    sent = store._send

    def plain(lines: Any, **more: Any) -> None:
        sent([{"index": {"_id": one["index"]["_id"]}} if "index" in one else one for one in lines], **more)

    monkeypatch.setattr(store, "_send", plain)
    store.apply(Batch("item", items(item(1, 5)), 1))
    store.apply(Batch("item", items(item(1, 3)), 2))
    assert dump(store, "item")["revision"].to_list() == [3]


def test_a_tombstone_is_a_document_that_no_older_revision_replaces(store: Any) -> None:
    store.apply(Batch("item", items(item(1, 4, True, label="gone")), 1))
    store.apply(Batch("item", items(item(1, 3, label="back")), 2))
    assert dump(store, "item").select("revision", "deleted").rows() == [(4, True)]
    assert store.query(WORDS, ("back",)) == store.query(WORDS, ("gone",)) == []


def test_a_document_that_is_deleted_there_would_come_back(elasticsearch: str, tmp_path: Path) -> None:
    # Elasticsearch forgets its version after a minute (index.gc_deletes), this emulator at once.
    made = store_of(elasticsearch, tmp_path / "deleted")
    made.apply(Batch("item", items(item(1, 4, label="gone")), 1))
    made._send([{"delete": {"_id": "item:1", "version": 5, "version_type": "external"}}])
    made.apply(Batch("item", items(item(1, 3, label="back")), 2))
    assert made.query(WORDS, ("back",)) == [(1,)]
    made.drop()


@pytest.mark.parametrize(
    ("status", "error", "raised"),
    [
        (409, "version conflict", None),
        (400, "immense term", CannotTake),
        (429, "rejected execution", Unavailable),
        (503, "no shard", Unavailable),
        (404, "no such index", Damaged),
    ],
)
def test_a_conflict_is_none_of_a_batch_s_failures_and_all_others_are_raised(
    status: int, error: str, raised: type[Exception] | None, store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = {"status": status, "error": {"reason": error}}
    with monkeypatch.context() as patch:
        bulk_of(store, {"item:2": answer}, patch)
        batch = Batch("item", items(item(1), item(2), item(3)), 7)
        if raised is None:
            store.apply(batch)
        else:
            with pytest.raises(raised, match=error):
                store.apply(batch)
    # The checkpoint follows the rows: it never stands for one that failed.
    assert store.checkpoint("item") == (7 if raised is None else 0)
    # What comes again finishes it.
    store.apply(Batch("item", items(item(1), item(2), item(3)), 7))
    assert (dump(store, "item").height, store.checkpoint("item")) == (3, 7)


def test_what_was_deleted_by_a_reset_can_be_written_again_from_its_first_revision(store: Any) -> None:
    store.apply(Batch("item", items(item(1, 9)), 9))
    store.reset()
    store.apply(Batch("item", items(item(1, 1)), 1))
    assert store.revisions("item", [1]) == {1: 1}


def test_large_batches_go_in_several_requests_in_their_order() -> None:
    lines = [line for key in range(2_500) for line in ({"index": {"_id": str(key)}}, {"row": "x" * (key % 7) * 1_000})]
    cut = list(_together(lines))
    assert [one for some in cut for one in some] == lines
    assert all("index" in some[0] and len(some) % 2 == 0 for some in cut)
    assert len(cut) > 2


# -- writers, ends -----------------------------------------------------------------------------------------------------


def test_a_writer_that_was_replaced_changes_nothing_more(server: str, store: Any, tmp_path: Path) -> None:
    store.apply(Batch("item", items(item(1)), 1))
    other = store_of(server, tmp_path / "store")
    before = content(other)
    for attempt in (lambda: store.apply(Batch("item", items(item(2)), 2)), store.reset, lambda: store.bulk("item", [])):
        with pytest.raises(Unavailable, match="another process writes this projection now"):
            attempt()
        assert content(other) == before
    other.close()
    store.close()
    store.open()
    store.apply(Batch("item", items(item(2)), 2))
    assert store.checkpoint("item") == 2


def test_a_rebuild_that_was_interrupted_is_emptied_when_it_is_opened(
    store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaking_off() -> Iterator[Batch]:
        yield Batch("item", items(item(1)), 1)
        raise RuntimeError

    with monkeypatch.context() as patch:
        patch.setattr(store, "reset", lambda: None)
        with pytest.raises(RuntimeError):
            store.bulk("item", breaking_off())
    store.close()
    store.open()
    assert (dump(store, "item").height, store.checkpoint("item")) == (0, 0)


def test_indexes_that_are_gone_are_damage_and_made_anew(store: Any) -> None:
    store.apply(Batch("item", items(item(1)), 1))
    store.home.at.remove(store._known)
    for attempt in (lambda: store.apply(Batch("item", items(item(2)), 2)), lambda: dump(store, "item")):
        with pytest.raises(Damaged) as gone:
            attempt()
        assert store.damaged(gone.value)
    store.close()
    store.open()
    assert store.checkpoint("item") == 0


def test_a_server_that_is_away_is_said_without_its_secret(server: str, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(f"LAB_{server.upper()}", "http://key:hunter2@127.0.0.1:1")
        with pytest.raises(Unavailable) as away:
            store_of(server, tmp_path / "away")
    assert "hunter2" not in str(away.value)


def test_what_is_dropped_leaves_no_index(server: str, tmp_path: Path) -> None:
    made = store_of(server, tmp_path / "dropped")
    name, client = made._known, made._client
    assert made._looked_up([OWNER], ("token",))
    assert client.exists(name)
    made.drop()
    assert not client.exists(name)
    assert not client.exists(name + "_aside")


# -- refresh -----------------------------------------------------------------------------------------------------------


def test_nothing_is_seen_before_a_refresh_that_nobody_else_makes(elasticsearch: str, tmp_path: Path) -> None:
    made = store_of(elasticsearch, tmp_path / "refreshed", 1.0)
    made.apply(Batch("item", items(item(1, label="a")), 1))
    assert made.query(WORDS, ("a",)) == made.query(ask(name="one", kind="get"), (1,)) == []
    assert (made.shown_to("item"), made.checkpoint("item"), dump(made, "item").height) == (0, 1, 0)
    made.refresh()
    assert made.query(WORDS, ("a",)) == [(1,)]
    assert made.shown_to("item") == 1
    made.drop()


def test_this_emulator_of_opensearch_has_no_refresh_that_could_be_waited_for(tmp_path: Path) -> None:
    # Should it get one, the store can have the key `refresh`.
    with emulated_search("opensearch"):
        made = store_of("opensearch", tmp_path / "at-once", 1.0)
        made.apply(Batch("item", items(item(1, label="a")), 1))
        assert made.query(WORDS, ("a",)) == [(1,)]
        made.drop()


# -- scenarios ---------------------------------------------------------------------------------------------------------


def scenario(server: str) -> str:
    before = SCENARIO.partition("[[projection]]")[0]
    return f'''{before}
[[projection]]
name = "index"
store = "{server}.search"

[[projection]]
name = "directory"
store = "sqlite.search"
'''


@pytest.mark.parametrize("server_of_run", SERVERS)
def test_a_run_has_verdicts_of_an_emulated_index_and_no_times(server_of_run: str, tmp_path: Path) -> None:
    few = ("workload.commands=150", "domain.records=20", "measure.samples=1", "measure.trials=false")
    with emulated_search(server_of_run):
        run = run_text(tmp_path, scenario(server_of_run), *few)
    entries = {entry["name"]: entry for entry in run.manifest["projections"]}
    assert (entries["index"]["level"], entries["index"]["verdict"]) == ("emulated", "pass")
    for name in ("lag", "lag_parts", "queries", "rebuild"):
        assert run.table(name).filter(pl.col("projection") == "index").is_empty(), name


def test_what_documents_one_by_one_can_t_keep_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(scenario("elasticsearch"))
    for setting, said in (
        ("projection.index.guard=dedupe", "writes item by item, so a crash can separate a row from"),
        ("projection.index.guard=none", "refuses older revisions itself"),
        ("projection.index.keeps=totals", "a crash can separate an increment from the checkpoint"),
    ):
        with pytest.raises(BadInput) as refused:
            plan(Source(file, (setting,)))
        assert said in str(refused.value)
    (refusal,) = of_live_runs(plan(Source(file)))
    assert "projection.index.refresh" in str(refusal)
    assert of_live_runs(plan(Source(file, ("projection.index.refresh=0",)))) == []
