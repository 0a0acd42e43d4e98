"""The service in one process: outcomes, positions, faults, rebuilds, and who is let in."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import re
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families
from serving import SMALL, TEXT, Served, hire, lived, until, written

from lab.base import BadInput, Batch, CannotTake, Unavailable, stream
from lab.channel.fates import LiveFaults
from lab.domain.employees import EMPLOYEES
from lab.domain.model import Command
from lab.feed.reader import ChangeReader
from lab.place import FolderPlace, replace_file
from lab.queries.answers import ReferenceTable
from lab.queries.kinds import KINDS
from lab.running.follower import Follower
from lab.service.changes import ARROW
from lab.service.gate import BODY_MAX, Access
from lab.service.messages import (
    AskQuery,
    ChangeFaults,
    ExecuteCommand,
    Message,
    ReadApplied,
    ReadStatus,
    StartRebuild,
    Subscribe,
    decoded_message,
    encoded_message,
)
from lab.service.wire import MESSAGE, packed, read
from lab.stores.sqlite_table import SqliteTable
from lab.stores.whole import dump
from lab.verdict.oracle import Oracle
from lab.wiring import Plan


def body(command: Command) -> dict[str, Any]:
    """A command as a request's body."""
    fields = dict(command.fields)
    return {"command": command.name, "key": command.key, "fields": fields, "expected": command.expected}


def workload(made: Plan) -> list[Command]:
    return list(made.domain.workload(made.options, stream(made.scenario.seed, "workload")))


# --- commands --------------------------------------------------------------------------------------------------------


def test_an_outcome_is_in_the_answer_whatever_it_is(tmp_path: Path) -> None:
    async def story(service: Served) -> None:
        first = await service.command(hire(1))
        assert first.status_code == 201
        assert first.json()["outcome"] == "accepted"
        assert (first.json()["position"], first.json()["revision"]) == (1, 1)
        assert first.json()["state"]["name"] == "Ada Byron"
        second = await service.command({"command": "give_raise", "key": 1, "fields": {"salary": 6_000}, "expected": 1})
        assert (second.status_code, second.json()["revision"], second.json()["position"]) == (200, 2, 2)
        conflict = await service.command({"command": "dismiss", "key": 1, "expected": 1})
        assert conflict.status_code == 409
        assert conflict.headers["content-type"] == "application/problem+json"
        assert conflict.json()["outcome"] == "conflict"
        assert conflict.json()["revision"] == 2
        rejected = await service.command(hire(1, department="Alchemy", salary=-1))
        assert rejected.status_code == rejected.json()["status"] == 422
        assert len(rejected.json()["reasons"]) == 3
        assert rejected.json()["outcome"] == "rejected"

    lived(written(tmp_path, text=SMALL), tmp_path, story)


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        ([], "an object"),
        ({"command": "hire"}, "`key` is a whole number"),
        ({"command": "hire", "key": "1"}, "`key` is a whole number"),
        ({"command": "hire", "key": True}, "`key` is a whole number"),
        ({"command": "hire", "key": 2**63}, "64 bits"),
        ({"command": 7, "key": 1}, "`command` is a text"),
        ({"command": "hire", "key": 1, "fields": []}, "`fields` is an object"),
        ({"command": "hire", "key": 1, "fields": {"salery": 1}}, "did you mean `salary`?"),
        ({"command": "hire", "key": 1, "fields": {"name": 1, "salary": 1.5}}, "`name` is a text; `salary` is a whole"),
        ({"command": "hire", "key": 1, "fields": {"name": "\0"}}, "NUL"),
        ({"command": "hire", "key": 1, "fields": {"name": "\ud800"}}, "surrogate"),
        ({"command": "hire", "key": 1, "fields": {"name": "x" * 10_001}}, "10000 characters"),
        ({"command": "hire", "key": 1, "expected": "2"}, "`expected` is a whole number"),
        ({"command": "hire", "key": 1, "at": 3}, "no member `at`"),
        ({"command": "hire", "key": 1, "values": {}}, "no member `values`"),
        ({"command": "hire", "key": 1, "\ud800": 3}, "surrogate"),
        ({"command": "hire", "key": 1, "fields": {"\ud800": 3}}, "surrogate"),
        ({"command": "hire", "key": 1, "fields": {"name": 1, "salery": 1}, "at": 3}, "`name` is a text; no field"),
    ],
)
def test_a_command_that_is_none_is_told_so(sent: Any, said: str, tmp_path: Path) -> None:
    async def story(service: Served) -> None:
        headers = {"content-type": "application/json"}
        found = await service.client.post("/commands/employee", content=json.dumps(sent), headers=headers)
        assert found.status_code == 400, found.text
        assert said in found.json()["detail"]
        assert service.executor.counts["commits"] == 0

    lived(written(tmp_path, text=SMALL), tmp_path, story)


@pytest.mark.parametrize(
    "sent", [b"", b"{", b"\xff", b"[" * 50_000, b'{"key": NaN}', b"1" * 5_000, b'{"key": 1, "key": 2}']
)
def test_a_body_that_is_not_json_is_told_so(sent: bytes, tmp_path: Path) -> None:
    async def story(service: Served) -> None:
        headers = {"content-type": "application/json"}
        found = await service.client.post("/commands/employee", content=sent, headers=headers)
        assert found.status_code == 400
        assert found.headers["content-type"] == "application/problem+json"

    lived(written(tmp_path, text=SMALL), tmp_path, story)


def test_fields_that_a_command_lacks_are_reasons_and_not_errors(tmp_path: Path) -> None:
    async def story(service: Served) -> None:
        await service.command(hire(1))
        for name in ("hire", "rename", "move", "give_raise", "promote"):
            found = await service.command({"command": name, "key": 1})
            assert found.status_code == 422, name
            assert found.json()["reasons"]
        found = await service.command({"command": "give_raise", "key": 1, "fields": {"salary": None}})
        assert found.json()["reasons"] == ["`salary` is needed"]

    lived(written(tmp_path, text=SMALL), tmp_path, story)


def test_a_request_that_comes_again_gets_its_first_answer_and_does_nothing(tmp_path: Path) -> None:
    made = written(tmp_path, text=SMALL)
    answers: list[dict[str, Any]] = []

    async def story(service: Served) -> None:
        for command in (hire(1), hire(2, salary=-1), {"command": "dismiss", "key": 2, "expected": 4}):
            found = [await service.command(command, once=f"order {command['command']} {command['key']}") for _ in "ab"]
            assert found[0].status_code == found[1].status_code
            assert found[0].json() == found[1].json()
            answers.append(found[0].json())
        assert service.executor.head == 1

    async def again(service: Served) -> None:
        found = await service.command(hire(1), once="order hire 1")
        assert (found.status_code, found.json()) == (201, answers[0])
        assert (await service.command(hire(1), once="another")).status_code == 422

    lived(made, tmp_path, story)
    lived(made, tmp_path, again)


def test_commands_that_wait_together_share_a_commit_and_each_has_its_own_outcome(tmp_path: Path) -> None:
    made = written(tmp_path)
    work = workload(made)

    async def story(service: Served) -> None:
        found = await asyncio.gather(*(service.command(body(command)) for command in work))
        assert service.executor.counts["commits"] < len(work) / 4
        # In the order in which they came, as an oracle decides them one by one.
        oracle = Oracle.of_commands(made.domain, work)
        statuses = [row.json()["outcome"] for row in found]
        assert {name: statuses.count(name) for name in oracle.outcomes} == oracle.outcomes
        positions = [row.json()["position"] for row in found if row.json()["position"]]
        assert positions == list(range(1, len(positions) + 1))
        revisions = ChangeReader(service.executor.truth).changes_since("employee", 0, 10_000)
        must = oracle.revisions["employee"].drop("committed_at")
        assert revisions.select(must.columns).equals(must)

    lived(made, tmp_path, story)


def test_a_command_of_which_it_is_not_known_whether_it_was_committed_is_not_executed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(service: Served) -> None:
        truth, execute = service.executor.truth, service.executor.truth.execute_together
        asked: list[int] = []

        def lost(orders: Any) -> Any:
            asked.append(len(orders))
            execute(orders)
            raise Unavailable("the connection was lost at the commit")

        monkeypatch.setattr(truth, "execute_together", lost)
        found = await service.command(hire(1))
        assert found.status_code == 503
        assert "isn't known" in found.json()["detail"]
        assert asked == [1]
        monkeypatch.undo()
        assert truth.head("employee") == 1

    lived(written(tmp_path, text=SMALL), tmp_path, story)


def test_a_command_that_fails_takes_no_other_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    decide = EMPLOYEES.decide

    def fragile(view: Any, command: Command) -> Any:
        if command.key == 13:
            raise RuntimeError("the business is confused")
        if command.key == 14:
            raise OverflowError("too large")
        return decide(view, command)

    monkeypatch.setattr(EMPLOYEES, "decide", fragile)

    async def story(service: Served) -> None:
        found = await asyncio.gather(*(service.command(hire(key), once=str(key)) for key in range(1, 21)))
        statuses = {key: row.status_code for key, row in enumerate(found, 1)}
        assert statuses.pop(13) == 500
        assert statuses.pop(14) == 422
        assert set(statuses.values()) == {201}
        assert "confused" not in found[12].text
        positions = [row.json()["position"] for key, row in enumerate(found, 1) if key in statuses]
        assert positions == list(range(1, 19))

    lived(written(tmp_path, text=SMALL), tmp_path, story)
    assert "the business is confused" in capsys.readouterr().err


scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()


@given(
    st.one_of(
        st.builds(ExecuteCommand, st.text(), st.text(), st.integers() | st.text(), st.dictionaries(st.text(), scalars)),
        st.builds(AskQuery, st.text(), st.lists(scalars), st.integers(), st.none() | st.integers(), st.floats(0, 60)),
        st.builds(ReadStatus, st.none() | st.integers(), st.floats(0, 60)),
        st.builds(ReadApplied, st.integers(), st.integers()),
        st.builds(ChangeFaults, st.none() | st.dictionaries(st.text(), scalars)),
        st.sampled_from([StartRebuild(), ReadStatus(), Subscribe()]),
    )
)
def test_a_message_comes_over_the_socket_as_it_was_sent(message: Message) -> None:
    found = decoded_message(encoded_message(message))
    assert type(found) is type(message)
    assert found == message


# --- changes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["snapshot", "history", "events"])
def test_changes_come_page_by_page_as_json_and_as_arrow(model: str, tmp_path: Path) -> None:
    guard = "projection.sums.guard=" + ("revision" if model == "snapshot" else "dedupe")
    kept = "projection.archive.keeps=" + ("records" if model == "snapshot" else "revisions")
    made = written(tmp_path, f"truth.model={model}", guard, kept)

    async def story(service: Served) -> None:
        await asyncio.gather(*(service.command(body(command)) for command in workload(made)))
        whole = ChangeReader(service.executor.truth).changes_since("employee", 0, 10_000)
        rows, frames, since, more = [], [], 0, True
        while more:
            asked = {"entity": "employee", "since": since, "limit": 37}
            page = (await service.client.get("/changes", params=asked)).json()
            found = await service.client.get("/changes", params=asked, headers={"accept": ARROW})
            frames.append(pl.read_ipc_stream(io.BytesIO(found.content)))
            rows += page["changes"]
            assert found.headers["lab-position"] == str(page["position"])
            assert found.headers["lab-more"] == str(page["more"]).lower()
            since, more = page["position"], page["more"]
        assert rows == whole.rows(named=True)
        assert pl.concat(frames).select(whole.columns).equals(whole)

    lived(made, tmp_path, story)


def test_a_reader_who_waits_is_told_as_soon_as_something_is_committed(tmp_path: Path) -> None:
    async def story(service: Served) -> None:
        asked = {"entity": "employee", "wait": "30"}
        waiting = asyncio.create_task(service.client.get("/changes", params=asked))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        await service.command(hire(5))
        assert [row["key"] for row in (await waiting).json()["changes"]] == [5]
        nothing = await service.client.get("/changes", params={"entity": "employee", "since": 1, "wait": "0.02"})
        assert nothing.json() == {"entity": "employee", "changes": [], "position": 1, "more": False}

    lived(written(tmp_path, text=SMALL), tmp_path, story)


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ({}, 404),
        ({"entity": "employe"}, 404),
        ({"entity": "employee", "limit": "1000000"}, 400),
        ({"entity": "employee", "limit": "0"}, 400),
        ({"entity": "employee", "since": "-1"}, 400),
        ({"entity": "employee", "since": "1_0"}, 400),
        ({"entity": "employee", "since": str(2**63)}, 400),
        ({"entity": "employee", "wait": "nan"}, 400),
        ({"entity": "employee", "wait": "1e9"}, 400),
        ({"entity": "employee", "sinc": "1"}, 400),
        ({"entity": ["employee", "employee"]}, 400),
    ],
)
def test_a_page_that_can_t_be_had_is_a_problem(asked: dict[str, Any], status: int, tmp_path: Path) -> None:
    async def story(service: Served) -> None:
        found = await service.client.get("/changes", params=asked)
        assert found.status_code == status
        assert found.json()["status"] == status
        assert found.headers["content-type"] == "application/problem+json"

    lived(written(tmp_path, text=SMALL), tmp_path, story)


# --- projections -----------------------------------------------------------------------------------------------------


def test_every_query_over_http_is_answered_as_it_must_be(tmp_path: Path) -> None:
    made = written(tmp_path)
    work = workload(made)
    oracle = Oracle.of_commands(made.domain, work)

    async def story(service: Served) -> None:
        await asyncio.gather(*(service.command(body(command)) for command in work))
        await service.settled("directory", "sums")
        archive = service.projections["archive"].worker
        archive.poll(time.monotonic())
        while archive.poll(time.monotonic())[1]:
            pass
        entity = made.domain.entities["employee"]
        rng, asked = np.random.default_rng(5), 0
        frame = ChangeReader(service.executor.truth).changes_since("employee", 0, 10_000)
        assert frame.height == oracle.revisions["employee"].height
        for item in made.projections:
            if item.name == "gossip":
                continue
            for query in item.queries:
                kind = KINDS[query.kind]
                last = frame.unique("key", keep="last", maintain_order=True)
                tables = {"employee": ReferenceTable(entity, frame if kind.past else last)}
                for values in kind.draw(query, tables, 5, rng) or [()]:
                    names = [one.name for one in KINDS[query.kind].parameters(query)]
                    given = (
                        {names[0]: list(values)} if query.kind == "get_many" else dict(zip(names, values, strict=True))
                    )
                    found = await service.query(f"{item.name}/{query.name}", **given)
                    assert found.status_code == 200, found.text
                    rows = [tuple(row.values()) for row in found.json()["rows"]]
                    assert KINDS[query.kind].agrees(query, KINDS[query.kind].answer(query, values, tables), rows), (
                        query.name
                    )
                    columns = KINDS[query.kind].columns(query)
                    assert columns is not None
                    assert all([*row] == [column.name for column in columns] for row in found.json()["rows"])
                    assert all(isinstance(row.get("deleted", False), bool) for row in found.json()["rows"])
                    assert found.json()["position"] == service.executor.head
                    asked += 1
        assert asked > 30

    lived(made, tmp_path, story)


def test_a_reader_waits_for_what_it_wrote_and_is_never_given_old_rows_in_silence(tmp_path: Path) -> None:
    async def story(service: Served) -> None:
        position = (await service.command(hire(7))).json()["position"]
        found = await service.query("directory/employee", key=7, at_least=position)
        assert [row["key"] for row in found.json()["rows"]] == [7]
        assert found.json()["position"] >= position
        assert 0 <= found.json()["age_seconds"] < 20
        # It polls once an hour.
        stale = await service.query("archive/employee", key=7, at_least=position, timeout=0.05)
        assert stale.status_code == 504
        assert stale.json()["title"] == "stale"
        assert (stale.json()["position"], stale.json()["at_least"]) == (0, position)
        old = await service.query("archive/employee", key=7)
        assert (old.status_code, old.json()["rows"], old.json()["position"]) == (200, [], 0)
        waiting = asyncio.create_task(service.query("archive/employee", key=7, at_least=position, timeout=30))
        await asyncio.sleep(0.05)
        service.projections["archive"].worker.poll(time.monotonic())
        service.projections["archive"].readers.wake()
        assert [row["key"] for row in (await waiting).json()["rows"]] == [7]
        beyond = await service.query("directory/employee", key=7, at_least=position + 1)
        assert beyond.status_code == 400
        assert beyond.json()["position"] == position

    lived(written(tmp_path), tmp_path, story)


def test_what_messages_brought_is_seen_and_is_no_promise(tmp_path: Path) -> None:
    async def story(service: Served) -> None:
        position = (await service.command(hire(7))).json()["position"]
        await until(lambda: service.projections["gossip"].journal.counts["applied"] == 1)
        found = (await service.query("gossip/employee", key=7)).json()
        assert [row["key"] for row in found["rows"]] == [7]
        assert (found["position"], found["age_seconds"]) == (0, None)
        assert (await service.query("gossip/employee", key=7, at_least=position, timeout=0)).status_code == 504
        # The record itself is there, and that can be waited for.
        shown = await service.query("gossip/employee", key=7, revision_at_least=1, timeout=0)
        assert (shown.status_code, shown.json()["position"]) == (200, 0)
        newer = await service.query("gossip/employee", key=7, revision_at_least=2, timeout=0.05)
        assert newer.status_code == 504
        assert "revision 2" in newer.json()["detail"]
        told = (await service.client.get("/projections/gossip")).json()
        assert (told["position"], told["highest"]) == (0, position)

    lived(written(tmp_path, text=SMALL), tmp_path, story)


def test_a_reader_waits_for_its_record_or_for_everything_up_to_it(tmp_path: Path) -> None:
    async def story(service: Served) -> None:
        await service.command(hire(7))
        archive = service.projections["archive"]
        record = asyncio.create_task(service.query("archive/employee", key=7, revision_at_least=2, timeout=30))
        await asyncio.sleep(0.05)
        archive.worker.poll(time.monotonic())
        archive.readers.wake()
        raised = {"command": "give_raise", "key": 7, "fields": {"salary": 6_000}}
        assert (await service.command(raised)).json()["position"] == 2
        waits = {"at_least": 2, "timeout": 30}
        everything = asyncio.create_task(service.client.get("/projections/archive", params=waits))
        await asyncio.sleep(0.05)
        # The first revision is there by now, and the second one isn't.
        assert not record.done()
        assert not everything.done()
        asked = archive.counts["queries"]
        archive.worker.poll(time.monotonic())
        archive.readers.wake()
        assert [row["revision"] for row in (await record).json()["rows"]] == [2]
        assert (await everything).json()["position"] == 2
        assert archive.counts["queries"] == asked
        at_once = await service.client.get("/projections/archive", params={"at_least": 2, "timeout": 0})
        assert at_once.status_code == 200
        beyond = await service.client.get("/projections/archive", params={"at_least": 3})
        assert (beyond.status_code, beyond.json()["position"]) == (400, 2)
        await service.command(hire(8))
        stale = await service.client.get("/projections/archive", params={"at_least": 3, "timeout": 0.05})
        assert (stale.status_code, stale.json()["at_least"]) == (504, 3)
        only_by_key = await service.query("archive/payroll", revision_at_least=1)
        assert only_by_key.status_code in (400, 404)

    lived(written(tmp_path), tmp_path, story)


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        ("directory/employe?key=1", 404, "did you mean `employee`?"),
        ("directry/employee?key=1", 404, "did you mean `directory`?"),
        ("directory/employee", 400, "`key` is needed once"),
        ("directory/employee?key=1&key=2", 400, "`key` is needed once"),
        ("directory/employee?key=one", 400, "`key` is a whole number"),
        ("directory/employee?key=1;DROP TABLE employee", 400, "`key` is a whole number"),
        ("directory/employee?key=99999999999999999999", 400, "64 bits"),
        ("directory/employee?key=1&ky=2", 400, "no parameter `ky`"),
        ("directory/employee?key=1&limit=1000000", 400, "`limit` is 1 to 10000"),
        ("directory/employee?key=1&timeout=-1", 400, "`timeout` is 0 to 60"),
        ("directory/employee?key=1&at_least=1&at_least=2", 400, "`at_least` is there 2 times"),
        ("directory/team_sheet?" + "&".join(["key=1"] * 21), 400, "1 to 20 times"),
        ("directory/%2e%2e%2f%2e%2e%2fetc%2fpasswd", 404, "there is nothing here"),
        ("..%2ftruth/employee?key=1", 404, "there is nothing here"),
    ],
)
def test_a_question_that_can_t_be_asked_is_a_problem(path: str, status: int, said: str, tmp_path: Path) -> None:
    async def story(service: Served) -> None:
        found = await service.client.get(f"/projections/{path}")
        assert found.status_code == status
        assert said in found.json()["detail"]

    lived(written(tmp_path, text=SMALL), tmp_path, story)


def test_an_answer_has_rows_up_to_a_limit_and_says_that_there_are_more(tmp_path: Path) -> None:
    async def story(service: Served) -> None:
        for key in range(1, 8):
            last = await service.command(hire(key))
        at_least = last.json()["position"]
        found = await service.query("directory/best_paid_of_department", department="Legal", limit=5, at_least=at_least)
        assert (len(found.json()["rows"]), found.json()["more"]) == (5, True)
        found = await service.query("directory/best_paid_of_department", department="Legal' OR 1=1 --")
        assert (found.json()["rows"], found.json()["more"]) == ([], False)

    lived(written(tmp_path, text=SMALL), tmp_path, story)


def test_metrics_are_in_the_format_of_prometheus(tmp_path: Path) -> None:
    async def story(service: Served) -> None:
        await service.command(hire(1))
        await service.command(hire(1))
        await service.query("archive/employee", key=1, at_least=1, timeout=0)
        await service.settled("directory", "sums")
        await until(lambda: service.projections["gossip"].journal.counts["applied"] == 1)
        found = await service.client.get("/metrics")
        assert found.headers["content-type"].startswith("text/plain")
        sample = r'[a-z_]+(\{([a-z]+="[^"\\]*",?)+\})? [-+0-9.e]+'
        lines = [line for line in found.text.splitlines() if not line.startswith("# ")]
        assert [line for line in lines if not re.fullmatch(sample, line)] == []
        values = {}
        for family in text_string_to_metric_families(found.text):
            assert family.documentation
            assert family.type in ("counter", "gauge", "histogram")
            values |= {(one.name, *sorted(one.labels.values())): one.value for one in family.samples}
        assert len(values) == len(lines)
        assert values["lab_truth_up",] == values["lab_commits_total",] - 1 == 1
        assert values["lab_commands_total", "accepted"] == 1
        assert values["lab_commands_total", "rejected"] == 1
        assert values["lab_projection_position", "directory"] == 1
        assert values["lab_projection_behind", "archive"] == 1
        assert values["lab_projection_count", "applied", "gossip"] == 1
        assert values["lab_lag_seconds_count", "gossip"] == 1
        assert values["lab_lag_seconds_bucket", "+Inf", "gossip"] == 1
        assert values["lab_http_requests_total", "/projections/{name}/{query}", "504"] == 1
        assert values["lab_http_seconds_total", "/projections/{name}/{query}"] > 0
        health = (await service.client.get("/health")).json()
        assert health["status"] == "ok"
        assert set(health["processes"]) == {"truth", "directory", "sums", "archive", "gossip"}

    lived(written(tmp_path), tmp_path, story)


# --- faults ----------------------------------------------------------------------------------------------------------


def test_an_outage_is_switched_on_and_off_while_commands_come(tmp_path: Path) -> None:
    async def story(service: Served) -> None:
        gossip = service.projections["gossip"].journal
        switched = await service.client.put("/faults", json={"outage": "held"})
        assert switched.status_code == 200
        assert (await service.client.get("/faults")).json()["now"]["outage"] == "held"
        for key in range(1, 6):
            await service.command(hire(key))
        # Catch-up goes on.
        await service.settled("directory")
        assert gossip.counts["messages"] == 0
        truth = (await service.client.get("/projections")).json()["truth"]
        assert truth["channel"]["waiting"] == 5
        assert (await service.client.put("/faults", json={})).status_code == 200
        await until(lambda: gossip.counts["applied"] == 5)
        await service.client.put("/faults", json={"lose": 1.0})
        await service.command(hire(6))
        await service.client.put("/faults", json={"outage": "lost"})
        await service.command(hire(7))
        await service.client.put("/faults", json={"duplicate": 1.0})
        await service.command(hire(8))
        await until(lambda: gossip.counts["messages"] == 7)
        assert gossip.counts["refused"] == 1
        found = await service.query("gossip/team_sheet", key=[5, 6, 7, 8])
        assert [row["key"] for row in found.json()["rows"]] == [5, 8]

    lived(written(tmp_path, text=SMALL), tmp_path, story)


@pytest.mark.parametrize(
    "sent",
    [
        [], {"loose": 1}, {"lose": 2}, {"delay": {"mean": -1}}, {"outage": "perhaps"}, {"lose": "0.5"}, 7, None,
        # A file is read with the scenario; here there would be no values to draw from.
        {"delay": {"kind": "empirical", "file": "x.csv"}},
        {"delay": {"kind": "mixture", "parts": [{"share": 1.0, "kind": "empirical", "file": "x.csv"}]}},
        {"reorder": {"share": 1.0, "extra": {"kind": "empirical", "file": "x.csv"}}},
        {"delay": {"kind": "pareto", "shape": 2.0}},
    ],
)  # fmt: skip
def test_faults_that_there_are_none_of_are_refused(sent: Any, tmp_path: Path) -> None:
    async def story(service: Served) -> None:
        found = await service.client.put("/faults", json=sent)
        assert found.status_code == 400
        assert service.executor.channel is not None
        assert service.executor.fates.options == LiveFaults()

    lived(written(tmp_path, text=SMALL), tmp_path, story)


def test_without_a_channel_there_is_nothing_to_go_wrong(tmp_path: Path) -> None:
    text = TEXT.replace("[channel]\n", "").partition('[[projection]]\nname = "gossip"')[0]

    async def story(service: Served) -> None:
        assert (await service.client.get("/faults")).status_code == 409
        assert (await service.client.put("/faults", json={})).status_code == 409
        await service.command(hire(1))
        await service.settled("directory")

    lived(written(tmp_path, text=text), tmp_path, story)


@pytest.mark.parametrize("domain", ["employees", "marketing"])
def test_messages_alone_amount_to_the_truth_where_nothing_goes_wrong(domain: str, tmp_path: Path) -> None:
    """Before-images and contracts included: the sums are added up of messages."""
    text = TEXT.replace('"employees"', f'"{domain}"').replace(
        'guard = "dedupe"', 'guard = "ordered"\nsubscribe = "channel"'
    )
    change = ["domain.change_at=0.1", "domain.change_takes=0.1"] if domain == "marketing" else []
    made = written(tmp_path, "workload.commands=300", *change, text=text)
    work = workload(made)
    oracle = Oracle.of_commands(made.domain, work)

    async def story(service: Served) -> None:
        await asyncio.gather(*(service.command(body(command), command.entity) for command in work))
        for name in ("sums", "gossip"):
            projection = service.projections[name]
            await until(lambda projection=projection: not projection.inbox)
            layout = projection.item.layout
            for entity in layout.entities:
                must = oracle.expected(layout.keeps, entity, layout.totals)
                found = dump(projection.worker.projector.store, entity)
                if layout.totals:
                    found = found.filter(pl.any_horizontal(pl.col(layout.totals.measures) != 0))
                kept = [column for column in must.columns if column != "committed_at"]
                assert found.select(kept).equals(must.select(kept)), (name, entity)

    lived(made, tmp_path, story)


# --- rebuild ---------------------------------------------------------------------------------------------------------


def test_a_rebuild_beside_ends_in_the_same_content_while_commands_keep_coming(tmp_path: Path) -> None:
    made = written(tmp_path)
    work = workload(made)

    async def story(service: Served) -> None:
        for command in work[:200]:
            await service.command(body(command))
        for name in ("directory", "sums"):
            begun = await service.client.post(f"/projections/{name}/rebuild")
            assert (begun.status_code, begun.headers["location"]) == (202, f"/projections/{name}")
            again = await service.client.post(f"/projections/{name}/rebuild")
            assert again.status_code == 409
        seen = [0]
        for command in work[200:]:
            await service.command(body(command))
            found = (await service.query("directory/employee", key=1)).json()
            assert len(found["rows"]) == 1
            seen.append(found["position"])
        assert seen == sorted(seen)
        for name in ("directory", "sums"):
            await until(lambda name=name: not service.projections[name].rebuild.running)
            told = (await service.client.get(f"/projections/{name}")).json()["rebuild"]
            assert told["state"] == "done", told
            assert told["read"] >= 100
        await service.settled("directory", "sums")

    async def after(service: Served) -> None:
        await service.settled("directory", "sums")
        oracle = Oracle.of_commands(made.domain, work)
        for name in ("directory", "sums"):
            layout = service.projections[name].item.layout
            must = oracle.expected(layout.keeps, "employee", layout.totals)
            kept = [column for column in must.columns if column != "committed_at"]
            found = dump(service.projections[name].worker.projector.store, "employee")
            if layout.totals:
                found = found.filter(pl.any_horizontal(pl.col(layout.totals.measures) != 0))
            assert found.select(kept).equals(must.select(kept))

    lived(made, tmp_path, story)
    assert (tmp_path / "directory.1").is_dir()
    assert not (tmp_path / "directory").exists()
    lived(made, tmp_path, after)


def test_a_rebuild_that_fails_leaves_the_projection_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(service: Served) -> None:
        await service.command(hire(1))
        await service.settled("directory")

        def full(*_: Any) -> int:
            raise OSError("no space left")

        monkeypatch.setattr("lab.service.rebuilding.rebuild", full)
        assert (await service.client.post("/projections/directory/rebuild")).status_code == 202
        await until(lambda: not service.projections["directory"].rebuild.running)
        told = (await service.client.get("/projections/directory")).json()
        assert (told["rebuild"]["state"], told["rebuild"]["detail"]) == ("failed", "OSError: no space left")
        assert len((await service.query("directory/employee", key=1)).json()["rows"]) == 1
        assert not (tmp_path / "directory.1").exists()
        assert (await service.client.post("/projections/gossip/rebuild")).status_code == 409

    lived(written(tmp_path, text=SMALL), tmp_path, story)


def test_a_projection_with_parked_changes_is_rebuilt_with_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put, bad = SqliteTable._put, {2}

    def picky(store: SqliteTable, batch: Batch, replace: bool) -> None:
        if bad & set(batch.rows["key"]):
            raise CannotTake("it is bad")
        put(store, batch, replace)

    monkeypatch.setattr(SqliteTable, "_put", picky)

    async def rows(service: Served) -> list[int]:
        found = [(await service.query("directory/employee", key=key)).json()["rows"] for key in (1, 2, 3)]
        return [len(some) for some in found]

    async def story(service: Served) -> None:
        for key in (1, 2, 3):
            await service.command(hire(key))
        await service.settled("directory")
        for _ in range(2):
            await service.client.post("/projections/directory/rebuild")
            await until(lambda: not service.projections["directory"].rebuild.running)
            assert service.projections["directory"].rebuild.state == "done"
            assert await rows(service) == [1, 0, 1]
            assert (await service.client.get("/projections/directory")).json()["counts"]["parked"] == 1

    async def mended(service: Served) -> None:
        await service.settled("directory")
        await until(lambda: not service.projections["directory"].worker.projector.parked("employee").size)
        assert await rows(service) == [1, 1, 1]

    made = written(tmp_path, text=SMALL)
    lived(made, tmp_path, story)
    bad.clear()
    lived(made, tmp_path, mended)


def test_a_disk_that_is_full_at_the_swap_leaves_the_projection_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(service: Served) -> None:
        await service.command(hire(1))
        await service.settled("directory")

        def full(file: Path, text: str) -> None:
            if file.name == ".directory.generation":
                raise OSError("no space left")
            replace_file(file, text)

        with monkeypatch.context() as patch:
            patch.setattr("lab.place.replace_file", full)
            assert (await service.client.post("/projections/directory/rebuild")).status_code == 202
            await until(lambda: not service.projections["directory"].rebuild.running)
        told = (await service.client.get("/projections/directory")).json()["rebuild"]
        assert (told["state"], told["detail"]) == ("failed", "OSError: no space left")
        await both(service, 2)
        assert {path.name for path in tmp_path.glob("directory*")} == {"directory"}
        # With room again it is rebuilt.
        assert (await service.client.post("/projections/directory/rebuild")).status_code == 202
        await until(lambda: not service.projections["directory"].rebuild.running)
        assert service.projections["directory"].rebuild.state == "done"
        await both(service, 3)
        assert [path.name for path in tmp_path.glob("directory*")] == ["directory.2"]

    async def both(service: Served, newest: int) -> None:
        await service.command(hire(newest))
        await service.settled("directory")
        for key in range(1, newest + 1):
            found = await service.query("directory/employee", key=key)
            assert (found.status_code, len(found.json()["rows"])) == (200, 1)

    lived(written(tmp_path, text=SMALL), tmp_path, story)


def test_a_service_that_stops_gives_up_a_rebuild_that_is_catching_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Follower, "level_with", lambda *_: False)
    rebuilds = []

    async def story(service: Served) -> None:
        await service.command(hire(1))
        await service.settled("directory")
        assert (await service.client.post("/projections/directory/rebuild")).status_code == 202
        rebuilds.append(service.projections["directory"].rebuild)
        await until(lambda: rebuilds[0].state == "catching up")
        # Meanwhile everything goes on.
        await service.command(hire(2))
        await service.settled("directory")

    made = written(tmp_path, text=SMALL)
    lived(made, tmp_path, story)
    assert (rebuilds[0].state, rebuilds[0].detail) == ("failed", "Unavailable: the service stopped")
    assert {path.name for path in tmp_path.glob("directory*")} == {"directory"}


# --- a domain that brings its history --------------------------------------------------------------------------------

FLIGHTS = """
schema = 1
name = "flown"
seed = 3
[domain]
name = "flights"
records = 60
[catch_up]
every = 0.05
[truth]
model = "history"
[[projection]]
name = "board"
store = "sqlite.table"
"""


def test_a_history_that_the_domain_brings_along_is_loaded_once(tmp_path: Path) -> None:
    made = written(tmp_path, text=FLIGHTS)
    frames = made.domain.trace(made.options).frames
    # A start that was cut off after the first entity.
    truth = made.truth(FolderPlace(tmp_path / "truth"))
    truth.load("airline", frames["airline"])
    truth.close()

    whole = sum(frame.height for frame in frames.values())

    async def story(service: Served) -> None:
        assert service.executor.head in (whole, whole + 1)
        await service.settled("board")
        key = frames["flight"]["key"][0]
        found = await service.query("board/flight_by_key", key=key, at_least=service.executor.head)
        assert [row["key"] for row in found.json()["rows"]] == [key]
        carrier = {"command": "register", "key": "ZZ", "fields": {"name": "Zebra Air"}}
        answers.append((await service.command(carrier, "airline")).json())

    answers: list[dict[str, Any]] = []
    lived(made, tmp_path, story)
    lived(made, tmp_path, story)
    assert [found["outcome"] for found in answers] == ["accepted", "rejected"]
    assert answers[0]["position"] == whole + 1


# --- who is let in ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8087", 200),
        ("localhost", 200),
        ("LOCALHOST:1", 200),
        ("[::1]:8087", 200),
        ("evil.example", 421),
        ("127.0.0.1.evil.example", 421),
        ("localhost@evil.example", 421),
        ("192.168.0.7", 421),
        ("", 421),
        ("[::1", 421),
    ],
)
def test_a_host_that_is_not_ours_is_refused(host: str, status: int, tmp_path: Path) -> None:
    async def story(service: Served) -> None:
        found = await service.client.get("/health", headers={"host": host})
        assert found.status_code == status
        foreign = await service.client.get("/health", headers={"origin": f"http://{host}"})
        assert foreign.status_code == (200 if status == 200 else 403)

    lived(written(tmp_path, text=SMALL), tmp_path, story)


def test_with_a_token_nothing_is_answered_without_it(tmp_path: Path) -> None:
    async def story(service: Served) -> None:
        for path in ("/health", "/openapi.json", "/metrics", "/projections", "/nothing", "/changes?entity=employee"):
            for given_token in ({}, {"authorization": "Bearer wrong"}, {"authorization": "Basic secret"}):
                found = await service.client.get(path, headers=given_token)
                assert found.status_code == 401
                assert found.headers["www-authenticate"] == "Bearer"
        assert (await service.command(hire(1))).status_code == 401
        assert (await service.client.get("/health", headers={"authorization": "bearer secret"})).status_code == 200
        assert service.executor.head == 0

    lived(written(tmp_path, text=SMALL), tmp_path, story, token="secret")


def test_beyond_loopback_a_token_is_needed_and_rebinding_is_refused_all_the_same() -> None:
    for host in ("0.0.0.0", "192.168.0.7", "::", "example.org"):
        with pytest.raises(BadInput, match="--token"):
            Access.of(host, None)
    for token in ("", " secret", "se\ncret", "s\u00e9cret"):
        with pytest.raises(BadInput, match="not a token"):
            Access.of("127.0.0.1", token)
    access = Access.of("0.0.0.0", "secret")
    assert access.knows("192.168.0.7:8087")
    assert access.knows("localhost")
    assert not access.knows("evil.example")
    assert not Access.of("127.0.0.2", None).knows("192.168.0.7")


def test_a_large_body_is_refused_without_reading_it(tmp_path: Path) -> None:
    pieces = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal pieces
        while pieces < 10_000:
            pieces += 1
            yield b" " * 8_192

    async def story(service: Served) -> None:
        headers = {"content-type": "application/json"}
        found = await service.client.post("/commands/employee", content=endless(), headers=headers)
        assert found.status_code == 413
        assert found.headers["connection"] == "close"
        assert pieces <= BODY_MAX // 8_192 + 2
        told = await service.client.post(
            "/commands/employee", content=b"", headers=headers | {"content-length": "1" * 12}
        )
        assert told.status_code == 413
        plain = await service.client.post("/commands/employee", content=b"{}", headers={"content-type": "text/plain"})
        assert plain.status_code == 415

    lived(written(tmp_path, text=SMALL), tmp_path, story)


def test_what_there_is_not_is_a_problem_too(tmp_path: Path) -> None:
    async def story(service: Served) -> None:
        for method, path, status in (
            ("GET", "/nothing", 404),
            ("DELETE", "/faults", 405),
            ("GET", "/commands/employee", 405),
        ):
            found = await service.client.request(method, path)
            assert (found.status_code, found.json()["status"]) == (status, status)
            assert found.headers["content-type"] == "application/problem+json"

    lived(written(tmp_path, text=SMALL), tmp_path, story)


def test_a_projection_goes_on_hearing_after_a_message_that_is_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nonsense = (b"", b"\xff", b"{", b"7", b"[7]", b"[[]]", b'[["employee"]]', b"null")

    async def story(service: Served) -> None:
        heard = service.projections["gossip"]
        with tempfile.TemporaryDirectory(prefix="l-") as short:

            async def tell(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                await read(reader)
                for body in nonsense:
                    writer.write(packed(0, MESSAGE, body))
                change = ["employee", [1, 1, 1, False, 5.0, "Ada", None, "Legal", 5_000], [False] + [None] * 4]
                writer.write(packed(0, MESSAGE, json.dumps([change]).encode()))
                await reader.read()
                writer.close()
                await writer.wait_closed()
                hung_up.set()

            hung_up = asyncio.Event()
            server = await asyncio.start_unix_server(tell, f"{short}/s")
            listening = asyncio.create_task(heard.listen(Path(short) / "s"))
            await until(lambda: heard.journal.counts["messages"] == 1)
            assert not listening.done()
            assert heard.counts["unreadable"] == len(nonsense)
            listening.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await listening
            await hung_up.wait()
            server.close()

    lived(written(tmp_path, text=SMALL), tmp_path, story)
    assert capsys.readouterr().err.count("gossip: a message can't be read") == len(nonsense)


NO_RATES = (
    "NaN", "Infinity", "-Infinity", "1e999", "-1e999", "-1", "-0.001", "1000.0001", "1e308", "1" + "0" * 400, '"5"',
    "null", "true", "[1]", "{}",
)  # fmt: skip


def test_a_rate_that_is_none_changes_nothing(tmp_path: Path) -> None:
    async def story(service: Served) -> None:
        headers = {"content-type": "application/json"}
        for rate in NO_RATES:
            for body in (
                f'{{"rate": {rate}}}', f'{{"rate": 1, "users": {rate}}}', f'{{"rate": 1, "rate": {rate}}}', rate,
            ):  # fmt: skip
                found = await service.client.put("/load", content=body, headers=headers)
                kind = found.headers["content-type"]
                assert (found.status_code, kind) == (400, "application/problem+json"), (body, found.text)
                assert service.front.load.rate == 0, body

    lived(written(tmp_path, text=SMALL), tmp_path, story)
