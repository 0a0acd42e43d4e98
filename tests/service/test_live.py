"""What the live page is fed with: judged answers, the stream, the small load; and the page as it is handed out."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving import SMALL, Served, hire, lived, until, written

from lab.base import Entity
from lab.feed.reader import ChangeReader
from lab.service import live, loading
from lab.service.probing import RECORDS_MAX, REVISIONS_MAX, Book, Revision, judge
from lab.service.problems import Refused
from lab.service.requests import checked_rate
from lab.wiring import plan as planned

# --- what is stale, and what is wrong --------------------------------------------------------------------------------


def told(*numbers: int, gone: tuple[int, ...] = ()) -> list[Revision]:
    """Revisions of a record; revision n is at position 10 n, and was committed at n seconds."""
    return [Revision(10 * n, n, n in gone, float(n), {"salary": 100 * n}) for n in numbers]


def row(revision: int, **more: Any) -> dict[str, Any]:
    return {"key": 1, "revision": revision, "salary": 100 * revision} | more


@pytest.mark.parametrize(
    ("known", "promise", "rows", "verdict", "said"),
    [
        (told(1, 2, 3), 30, [row(3)], "right", ""),
        (told(1, 2, 3), 0, [row(2)], "stale", "revision 2 instead of 3"),
        (told(1, 2, 3), 20, [row(2)], "stale", "revision 2 instead of 3"),
        (told(1, 2, 3), 29, [], "wrong", "shows nothing"),
        (told(1, 2, 3), 9, [], "stale", "nothing instead of 3"),
        (told(1, 2, 3), 30, [row(2)], "wrong", "3 was promised"),
        (told(1, 2, 3), 0, [row(4)], "wrong", "no revision 4"),
        (told(1, 2, 3), 0, [row(2, salary=1)], "wrong", "revision 2 has salary 200"),
        (told(1, 2, 3), 0, [row(2), row(3)], "wrong", "2 rows"),
        (told(1, 2, 3), 0, [{"key": 1}], "wrong", "no revision None"),
        # A deleted record that is gone, one that is still there, and one that is there again.
        (told(1, 2, 3, gone=(3,)), 30, [], "right", ""),
        (told(1, 2, 3, gone=(3,)), 20, [row(2)], "stale", "revision 2"),
        (told(1, 2, 3, gone=(3,)), 30, [row(2)], "wrong", "3 was promised"),
        (told(1, 2, 3, gone=(2,)), 20, [], "stale", "revision 2 instead of 3"),
        (told(1, 2, 3, gone=(2,)), 0, [row(2)], "wrong", "tombstone"),
        # Of what a snapshot has overwritten nothing is known; of what must be in by now, enough is.
        (told(1, 3), 0, [row(2, salary=7)], "unsure", ""),
        (told(1, 3), 30, [row(2)], "wrong", "was promised"),
        (told(1, 3), 10, [], "unsure", ""),
        (told(5, 6), 0, [], "unsure", ""),
        (told(5, 6), 0, [row(4)], "unsure", ""),
        (told(5, 6), 50, [row(4)], "wrong", "was promised"),
    ],
)
def test_an_answer_is_right_stale_or_wrong_by_what_the_truth_had(
    known: list[Revision], promise: int, rows: list[dict[str, Any]], verdict: str, said: str
) -> None:
    found = judge(known, known, promise, rows, 10.0)
    assert found.verdict == verdict, found
    assert said in found.detail


def test_what_is_committed_while_the_question_is_on_its_way_is_no_staleness() -> None:
    assert judge(told(1, 2), told(1, 2, 3), 20, [row(2)], 10.0).verdict == "right"
    assert judge(told(1, 2), told(1, 2, 3), 20, [row(3)], 10.0).verdict == "right"
    stale = judge(told(1, 2, 3), told(1, 2, 3, 4), 0, [row(1)], 10.0)
    assert (stale.verdict, stale.revisions, stale.seconds) == ("stale", 2, 8.0)


@given(st.data())
def test_an_honest_projection_is_never_wrong_and_stale_only_when_it_is(data: st.DataObject) -> None:
    """It has taken some of the revisions, and promises no more than it has."""
    last = data.draw(st.integers(1, 6))
    gone = data.draw(st.sets(st.integers(2, 6)))
    known = [one for one in told(*range(1, last + 1), gone=tuple(gone)) if one.number - 1 not in gone or one.deleted]
    known = [Revision(one.position, n, one.deleted, float(n), {"salary": 100 * n}) for n, one in enumerate(known, 1)]
    seen = data.draw(st.integers(0, len(known)))
    promise = data.draw(st.integers(0, known[seen - 1].position if seen else 9))
    shown = [] if not seen or known[seen - 1].deleted else [row(seen)]
    found = judge(known, known, promise, shown, 100.0)
    assert found.verdict in ("right", "stale")
    if seen == len(known):
        assert found.verdict == "right"
    elif shown:
        assert (found.verdict, found.revisions) == ("stale", len(known) - seen)


def test_the_book_is_bounded_and_takes_no_page_twice() -> None:
    entity = Entity("thing", "int", {"salary": "int"})
    book = Book(entity)
    count = RECORDS_MAX + 100
    columns = {"position": range(1, count + 1), "key": range(1, count + 1), "salary": range(count)}
    frame = pl.DataFrame(columns).with_columns(revision=1, deleted=False, committed_at=0.0)
    book.learn(frame)
    book.learn(frame)
    assert (book.known(1), len(book.known(count)), book.position) == ([], 1, count)
    more = pl.DataFrame({"position": range(count + 1, count + 201), "revision": range(2, 202)})
    book.learn(more.with_columns(key=count, salary=1, deleted=False, committed_at=0.0))
    assert [one.number for one in book.known(count)] == list(range(202 - REVISIONS_MAX, 202))


def test_a_projection_that_lies_is_seen_to_lie(tmp_path: Path) -> None:
    async def story(service: Served) -> None:
        looking = service.front.live
        for key in range(1, 21):
            await service.command(hire(key))
        await service.settled("directory")
        await looking.look()
        right = looking.tallies["directory"].counts
        assert right["wrong"] == 0
        assert right["right"] > 0
        # Behind the projector's back, everybody is paid one more.
        store: Any = service.projections["directory"].worker.projector.store
        query = store.query
        store.query = lambda *asked: [tuple(v + 1 if v == 5_000 else v for v in found) for found in query(*asked)]
        event = await looking.look()
        probes = event["projections"][0]["probes"]
        assert probes["wrong"] == live.PROBES
        assert "has salary 5000, and is shown with 5001" in probes["last"]["detail"]

    lived(written(tmp_path, text=SMALL), tmp_path, story)


def test_what_changed_long_ago_is_probed_too_where_nothing_did_since(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "BEFORE", 2)

    async def story(service: Served) -> None:
        for key in range(1, 41):
            await service.command(hire(key))
        looking = service.front.live
        (book,) = looking._books.values()
        # As if what came after position 5 was of another entity.
        monkeypatch.setattr(service.front.backend.changes, "page", cut(service.front.backend.changes.page))
        await looking._read(book)
        assert set(book.late) <= set(range(1, 6))
        assert book.position == 5
        assert 5 in book.late

    def cut(page: Any) -> Any:
        async def earlier(*asked: Any) -> pl.DataFrame:
            frame = await page(*asked)
            return frame.filter(pl.col("position") <= 5)

        return earlier

    lived(written(tmp_path, text=SMALL), tmp_path, story)


# --- the stream ------------------------------------------------------------------------------------------------------


def events(text: str) -> list[dict[str, Any]]:
    return [json.loads(event.removeprefix("data: ")) for event in text.split("\n\n") if event]


def test_the_stream_tells_what_happens_and_costs_nothing_while_nobody_watches(tmp_path: Path) -> None:
    async def story(service: Served) -> None:
        asked = service.projections["directory"].counts
        for key in range(1, 11):
            await service.command(hire(key))
        before = asked["queries"]
        found = await service.client.get("/live", params={"events": 3})
        assert found.headers["content-type"].startswith("text/event-stream")
        first, *_, last = events(found.text)
        assert len(events(found.text)) == 3
        assert (first["scenario"], last["truth"]["position"], last["faults"]["now"]["outage"]) == ("served", 10, "none")
        assert [one["name"] for one in last["projections"]] == ["directory", "gossip"]
        assert last["load"] == {"rate": 0.0, "sent": 0, "failed": 0, "finished": False, "possible": True}
        assert sum(last["projections"][0]["probes"][name] for name in ("right", "stale")) > 0
        # Nobody watches any more: the one who looked comes to an end.
        watching = service.front.live._task
        assert watching is not None
        await until(watching.done)
        assert asked["queries"] > before
        asked_by_now = asked["queries"]
        await asyncio.sleep(3 * live.EVERY)
        assert asked["queries"] == asked_by_now
        for wrong in ("events=0", "events=x", "event=1", "events=1&events=2"):
            assert (await service.client.get(f"/live?{wrong}")).status_code == 400

    lived(written(tmp_path, text=SMALL), tmp_path, story)


def test_a_mean_lag_is_of_what_became_visible_since_and_starts_anew_with_its_process(tmp_path: Path) -> None:
    async def story(service: Served) -> None:
        lag = service.front.live._lag
        assert lag({"counts": [5, 5], "sum": 30.0}, "directory") == {"shown": 0, "lag_seconds": None}
        assert lag({"counts": [5, 7], "sum": 31.0}, "directory") == {"shown": 2, "lag_seconds": 0.5}
        assert lag(None, "directory") == {"shown": 0, "lag_seconds": None}
        assert lag({"counts": [1, 0], "sum": 0.25}, "directory") == {"shown": 1, "lag_seconds": 0.25}

    lived(written(tmp_path, text=SMALL), tmp_path, story)


def test_viewers_are_bounded_and_one_who_does_not_read_holds_nobody_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "VIEWERS_MAX", 2)
    monkeypatch.setattr(live, "EVERY", 0.01)

    async def story(service: Served) -> None:
        asleep = aiter(service.front.live.watch(100, {}).body_iterator)
        await anext(asleep)
        found = await service.client.get("/live", params={"events": 3 * live.PILE_MAX})
        assert len(events(found.text)) == 3 * live.PILE_MAX
        awake = service.front.live.watch(1, {}).body_iterator
        refused = await service.client.get("/live")
        assert (refused.status_code, refused.json()["title"]) == (503, "unavailable")
        assert [event async for event in awake]
        # What it has missed is gone; what it gets is of late.
        await anext(asleep)
        await service.front.close()
        assert len([event async for event in asleep]) <= live.PILE_MAX

    lived(written(tmp_path, text=SMALL), tmp_path, story)


# --- the small load --------------------------------------------------------------------------------------------------


def test_a_load_sends_valid_commands_and_after_a_restart_does_none_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "COMMANDS", 300)

    async def first(service: Served) -> None:
        assert (await service.client.get("/load")).json()["rate"] == 0.0
        said = await service.client.put("/load", json={"rate": 1_000})
        assert said.json()["rate"] == 1_000.0
        await until(lambda: service.executor.head >= 100)
        assert (await service.client.put("/load", json={"rate": 0})).json()["rate"] == 0.0

    async def second(service: Served) -> None:
        former = service.executor.head
        assert former >= 100
        await service.client.put("/load", json={"rate": 1_000})
        await until(lambda: service.front.load.finished)
        told = (await service.client.get("/load")).json()
        counts = service.executor.counts
        assert (told["rate"], told["finished"], told["failed"]) == (0.0, True, 0)
        # Those of the first time are passed over, and all of them are valid.
        assert (service.executor.head, told["sent"]) == (300, 300 - former)
        assert counts["rejected"] == counts["conflict"] == counts["failed"] == 0
        frame = ChangeReader(service.executor.truth).changes_since("employee", 0, 1_000)
        assert frame["position"].to_list() == list(range(1, 301))

    made = written(tmp_path, text=SMALL)
    lived(made, tmp_path, first)
    lived(made, tmp_path, second)


@pytest.mark.parametrize(
    "sent", [{}, {"rate": -1}, {"rate": 1e9}, {"rate": "5"}, {"rate": True}, [1], {"rate": 1, "x": 2}]
)
def test_a_load_that_is_none_is_told_so(sent: Any, tmp_path: Path) -> None:
    with pytest.raises(Refused, match="commands a second"):
        checked_rate(sent)


def test_a_domain_with_a_history_of_its_own_has_no_load(tmp_path: Path) -> None:
    from lab.scenario import Source

    made = planned(Source(Path(__file__).parents[2] / "scenarios" / "flights.toml"))

    async def never(_: dict[str, Any]) -> Any:
        raise AssertionError

    load = loading.Load(made, never, lambda: 0)
    assert not load.told()["possible"]
    with pytest.raises(Refused, match="has no commands"):
        load.set(1.0)


# --- the page --------------------------------------------------------------------------------------------------------


def test_the_page_is_one_document_that_loads_nothing_and_needs_no_token(tmp_path: Path) -> None:
    async def story(service: Served) -> None:
        found = await service.client.get("/")
        assert (found.status_code, found.headers["content-type"]) == (200, "text/html; charset=utf-8")
        assert found.headers["x-content-type-options"] == "nosniff"
        policy = dict(part.split(" ", 1) for part in found.headers["content-security-policy"].split("; "))
        assert policy["default-src"] == policy["frame-ancestors"] == "'none'"
        assert policy["connect-src"] == "'self'"
        for name, tag in (("script-src", "script"), ("style-src", "style")):
            (inside,) = re.findall(rf"<{tag}>(.*?)</{tag}>", found.text, flags=re.S)
            digest = base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()
            assert policy[name] == f"'sha256-{digest}'"
        # The namespace of SVG is a name, and no address.
        addresses = set(re.findall(r"https?://[\w./-]+", found.text)) - {"http://www.w3.org/2000/svg"}
        assert addresses == set()
        assert not re.search(r"\b(src|innerHTML|outerHTML|insertAdjacentHTML|eval)\b\s*[=(]", found.text)
        assert "secret" not in found.text
        # Whatever it shows, it has to ask for with the token; and by its own name it is not reached from elsewhere.
        assert (await service.client.get("/live")).status_code == 401
        assert (await service.client.put("/load", json={"rate": 1})).status_code == 401
        assert (await service.client.post("/")).status_code == 401
        assert (await service.client.get("/", headers={"host": "evil.example"})).status_code == 421

    lived(written(tmp_path, text=SMALL), tmp_path, story, token="secret")


def test_every_control_of_the_page_has_a_name() -> None:
    text = (Path(live.__file__).parent / "page" / "page.html").read_text()
    for control in re.findall(r"<(?:input|select)[^>]*>", text, flags=re.S):
        inside = re.search(rf"<label[^>]*>[^<]*{re.escape(control)}", text)
        named = re.search(r'id="([\w-]+)"', control)
        assert inside or "aria-label=" in control or (named and f'for="{named[1]}"' in text), control
