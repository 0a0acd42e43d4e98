"""The service under requests that nobody would write: made from its own OpenAPI document, and a few by hand.

HISTORIES says how many are made: `make nightly` takes 10,000. They go to the application itself, in this process, over
the protocol that a server would speak to it. Whatever comes in: no failure, no traceback, nothing undocumented; and the
source of truth and the files are as if only the commands that were accepted had been there.
"""

from __future__ import annotations

import asyncio
import json
import os
import threading
from collections import Counter
from collections.abc import Coroutine
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import jsonschema_rs
import polars as pl
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis import GenerationMode
from serving import TEXT, Served, hire, lived, served, written

from lab.feed.reader import ChangeReader
from lab.service import loading
from lab.stores.whole import dump

REQUESTS = int(os.environ.get("HISTORIES", "250"))
# Of one address, before it is the next one's turn.
AT_ONCE = 4
# How the inside of a program looks that should have stayed inside.
INSIDE = ("Traceback", 'File "', "site-packages", "sqlite3.", "Binder Error", "Parser Error", "Catalog Error")
# The document does not say which commands a domain has; a made-up one is only ever rejected.
COMMANDS = ("hire", "give_raise", "move", "rename", "dismiss")


class Loop:
    """A service at work in a thread of its own, so that requests can be made one after the other from here."""

    def __init__(self, folder: Path) -> None:
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever)
        self.thread.start()
        self.made = written(folder, text=TEXT)
        self._context = served(self.made, folder / "shop")
        (folder / "shop").mkdir()
        self.service: Served = self.run(self._context.__aenter__())

    def run(self, story: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(story, self.loop).result(60)

    def close(self) -> None:
        self.run(self._context.__aexit__(None, None, None))
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()


async def called(app: Any, method: str, target: str, headers: dict[str, str], body: bytes) -> tuple[int, str, bytes]:
    """What the application answers to these very bytes; a client would refuse to send some of them."""
    url = urlsplit(target)
    scope: dict[str, Any] = {"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method}
    scope |= {"scheme": "http", "path": unquote(url.path), "raw_path": url.path.encode(), "root_path": ""}
    scope |= {"query_string": url.query.encode(), "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 8087)}
    scope["headers"] = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    sent: list[dict[str, Any]] = []
    waiting = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> dict[str, Any]:
        if not waiting:
            await asyncio.Event().wait()
        return waiting.pop()

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await app(scope, receive, send)
    start, *pieces = sent
    kind = dict(start["headers"]).get(b"content-type", b"").decode()
    return start["status"], kind, b"".join(piece["body"] for piece in pieces)


def asked(case: Any) -> requests.PreparedRequest:
    """The request of a case; where it would wait for long, it waits for a moment."""
    if isinstance(case.query, dict):
        for name in ("wait", "timeout"):
            if isinstance(case.query.get(name), int | float) and case.query[name] > 0.01:
                case.query[name] = 0.01
        if {"at_least", "revision_at_least"} & case.query.keys():
            case.query.setdefault("timeout", 0.01)
    if case.path.startswith("/commands/") and isinstance(case.body, dict) and isinstance(case.body.get("key"), int):
        # Few records, so that some of them are met again.
        case.body |= {"command": COMMANDS[len(str(case.body)) % len(COMMANDS)], "key": case.body["key"] % 20}
    made = case.as_transport_kwargs(base_url="http://127.0.0.1:8087")
    return requests.Request(**made).prepare()


def checked(documented: dict[str, Any], schemas: Any, status: int, kind: str, body: bytes, said: str) -> None:
    """Fail unless an answer is one of those that the document has for this operation."""
    assert status < 500 or status == 504, f"{status} {said} {body[:500]!r}"
    assert str(status) in documented, f"{status} is not documented: {said}"
    text = body.decode()
    assert not [word for word in INSIDE if word in text], f"{said} {text[:500]}"
    if status >= 400:
        problem = json.loads(text)
        assert kind == "application/problem+json"
        assert (problem["status"], bool(problem["title"]), bool(problem["detail"])) == (status, True, True)
    elif kind == "application/json":
        described = documented[str(status)]["content"][kind]["schema"]
        rules = jsonschema_rs.Draft202012Validator(described | {"components": {"schemas": schemas}})
        errors = [error.message for error in rules.iter_errors(json.loads(text))]
        assert not errors, f"{said} {errors} {text[:500]}"


def test_requests_made_from_the_document_are_answered_as_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # A load that a request switches on goes slowly: it is not what this is about.
    monkeypatch.setattr(loading, "PORTION_MAX", 2)
    monkeypatch.setattr(loading, "BEAT", 0.2)
    monkeypatch.setattr(loading, "COMMANDS", 2_000)
    around = {path.name for path in tmp_path.iterdir()} | {"served.toml", "shop"}
    host = Loop(tmp_path)
    statuses: Counter[int] = Counter()
    try:
        for key in range(10):
            assert host.run(host.service.command(hire(key))).status_code == 201
        app, document = host.service.front.app(), json.loads(host.service.front.document)
        schema = schemathesis.openapi.from_dict(document)
        # A stream has no end; it has tests of its own.
        operations = [found.ok() for found in schema.get_all_operations()]
        operations = [one for one in operations if one.path != "/live"]

        def ask_some(operation: Any, mode: GenerationMode, number: int) -> None:
            documented = document["paths"][operation.path][operation.method]["responses"]
            schemas = document["components"]["schemas"]

            # Seeded and not kept: what fails is shown whole, and nothing is searched for afterwards.
            @seed(number)
            @settings(
                max_examples=AT_ONCE, database=None, deadline=None,
                phases=[Phase.generate], suppress_health_check=list(HealthCheck),
            )  # fmt: skip
            @given(case=operation.as_strategy(generation_mode=mode))
            def ask(case: Any) -> None:
                made = asked(case)
                body = made.body.encode() if isinstance(made.body, str) else made.body or b""
                headers = {**{str(name): str(value) for name, value in made.headers.items()}, "host": "127.0.0.1:8087"}
                found = host.run(called(app, str(made.method), str(made.url), headers, bytes(body)))
                statuses[found[0]] += 1
                checked(documented, schemas, *found, f"{made.method} {made.url} {body[:500]!r}")

            ask()

        number = 0
        while statuses.total() < REQUESTS:
            for operation in operations:
                for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
                    # What takes nothing at all can't be given anything wrong.
                    takes = operation.body or operation.query or operation.headers
                    if takes or (mode is GenerationMode.POSITIVE and number % 10 == 0):
                        ask_some(operation, mode, number)
            number += 1
        host.run(host.service.client.put("/load", json={"rate": 0}))
        host.run(amounts_to_what_was_accepted(host.service))
    finally:
        host.close()
    with capsys.disabled():
        print(f"\n{statuses.total():,} requests: {dict(sorted(statuses.items()))}")
    assert {200, 400} <= set(statuses)
    assert {path.name for path in tmp_path.iterdir()} == around


async def amounts_to_what_was_accepted(service: Served) -> None:
    """The commands that were accepted are all that there is; and a projection shows what they amount to."""
    service.front.load.rate = 0.0
    await service.settled("directory")
    frame = ChangeReader(service.executor.truth).changes_since("employee", 0, 1_000_000)
    assert frame["position"].to_list() == list(range(1, service.executor.head + 1))
    live = frame.unique("key", keep="last", maintain_order=True).filter(~pl.col("deleted"))
    shown = dump(service.projections["directory"].worker.projector.store, "employee").filter(~pl.col("deleted"))
    columns = ["key", "revision", "name", "department", "salary"]
    assert live.select(columns).sort("key").equals(shown.select(columns).sort("key"))


NASTY = (
    "'; DROP TABLE change; --", "1 OR 1=1", "x' UNION SELECT * FROM sqlite_master --",
    '"; ATTACH \'/tmp/x\' AS y; --',
    "Legal' OR '1'='1", "%27%20OR%201=1", "read_csv('/etc/passwd')", "\\'; DELETE FROM employee; --", "$1", "?",
)  # fmt: skip


def test_sql_in_a_parameter_is_a_text_like_any_other(tmp_path: Path) -> None:
    async def story(service: Served) -> None:
        # What is meant as SQL can be a name: it is kept as it is, and found by what it is.
        for key, text in enumerate(NASTY, 1):
            assert (await service.command(hire(key, name=text, department=text))).status_code in (201, 422)
        assert (await service.command(hire(100))).status_code == 201
        await service.settled("directory", "sums")
        for text in NASTY:
            for path, name in (
                ("directory/best_paid_of_department", "department"),
                ("gossip/named", "words"),
                ("directory/employee", "key"),
                ("sums/payroll", "department"),
            ):
                found = await service.query(path, **{name: text})
                assert found.status_code in (200, 400), found.text
                rows = found.json().get("rows", [])
                # Never everybody, as it would be if a condition could be talked away.
                assert all(text in row.values() for row in rows if name == "department"), (text, rows)
                assert len(rows) <= 1
        found = await service.query("directory/employee", key=100)
        assert len(found.json()["rows"]) == 1
        head = service.executor.head
        frame = ChangeReader(service.executor.truth).changes_since("employee", 0, 1_000)
        assert frame.height == head

    lived(written(tmp_path), tmp_path, story)


@pytest.mark.parametrize(
    "target", ["../../../../etc/passwd", "..", ".", "/etc/passwd", "served.toml", "truth", "page.js"]
)
def test_no_path_leads_to_a_file(target: str, tmp_path: Path) -> None:
    async def story(service: Served) -> None:
        app = service.front.app()
        for base in ("", "/projections", "/projections/directory", "/commands", "/page"):
            for written_as in (target, quote(target, safe=""), quote(quote(target, safe=""), safe=""), target + "%00"):
                for method in ("GET", "POST", "PUT"):
                    headers = {"host": "localhost", "content-type": "application/json"}
                    status, _, body = await called(app, method, f"http://localhost{base}/{written_as}", headers, b"{}")
                    assert status in (400, 404, 405), (status, base, written_as, body)
                    assert b"root:" not in body
                    assert b"[domain]" not in body

    lived(written(tmp_path), tmp_path, story)
