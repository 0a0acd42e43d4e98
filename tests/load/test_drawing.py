"""Commands of a load: fetched as they are needed, again after an error, and only a domain without any has none."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import gevent
import pytest

from lab.load.client import LoadClient
from lab.load.drawing import Drawing, Unanswered
from lab.load.ledger import NOT_SENT, RequestLedger

DOCUMENT: dict[str, Any] = {
    "paths": {"/changes": {"get": {"parameters": [{"name": "entity", "schema": {"enum": ["employee"]}}]}}}
}


class Service:
    """A service with `size` commands, two at a time; `errors` are raised by the next requests for them."""

    def __init__(self, size: int) -> None:
        self.size, self.errors, self.asked = size, list[BaseException](), 0

    def get(self, path: str) -> Any:
        """The documents that a Drawing reads."""
        parts = urlsplit(path)
        if parts.path == "/projections":
            return {"truth": {"position": 0}}
        if parts.path == "/changes":
            return {"changes": []}
        self.asked += 1
        if self.errors:
            raise self.errors.pop(0)
        since = int(parse_qs(parts.query)["since"][0])
        numbers = range(since, min(self.size, since + 2))
        return {
            "commands": [{"entity": "employee", "command": "hire", "key": str(one), "fields": {}} for one in numbers]
        }


def drawing(service: Service) -> Drawing:
    return Drawing(service.get, DOCUMENT, {}, random.Random(1), (0, 1))


class Bare(LoadClient):
    """A client without a service: `answer` stands for its requests, and there is no Locust."""

    def __init__(self, service: Service, answer: Callable[[], tuple[int, Any]]) -> None:
        self.drawing, self.answer = drawing(service), answer
        self.told: list[tuple[str, str | None]] = []
        self.ledger = RequestLedger(0, None, lambda row, _, failed: self.told.append((row, failed)))
        self.run, self.part, self.workers, self.next_probe = "r", 0, 1, float("inf")

    def call(self, *_: Any, **__: Any) -> tuple[int, Any]:
        """Answer."""
        return self.answer()


def accepted() -> tuple[int, Any]:
    return 201, {"outcome": "accepted", "position": 1}


@pytest.mark.parametrize("error", [Unanswered(503, "busy"), ConnectionResetError("gone"), TimeoutError("late")])
def test_an_error_that_passes_costs_one_command_and_not_all_that_follow(error: Exception) -> None:
    service = Service(5)
    client = Bare(service, accepted)
    assert [client.send(time.time()) for _ in range(2)] == [True, True]
    service.errors = [error]
    assert [client.send(time.time()) for _ in range(5)] == [True, True, True, True, False]
    failed = [why for row, why in client.told if row == "COMMAND" and why]
    assert failed == [f"{type(error).__name__}: {error}"]
    assert [row for row, why in client.told if why is None] == [*["COMMAND"] * 5, NOT_SENT]
    assert not client.ledger.under_way


def test_a_domain_that_replays_a_history_has_no_commands_and_is_asked_once() -> None:
    service = Service(5)
    service.errors = [Unanswered(409, "replays a history of its own")]
    found = drawing(service)
    assert found.dry
    assert [found.command() for _ in range(3)] == [None] * 3
    assert service.asked == 1


def test_another_error_at_the_beginning_is_raised() -> None:
    service = Service(5)
    service.errors = [Unanswered(503, "busy")]
    with pytest.raises(Unanswered, match="busy"):
        drawing(service)


def test_a_user_that_is_ended_while_it_waits_leaves_a_censored_request() -> None:
    client = Bare(Service(5), lambda: gevent.sleep(60))
    user = gevent.spawn(client.send, time.time())
    gevent.sleep(0.01)
    user.kill()
    assert client.told == [("COMMAND", "no answer in time")]
    asked = gevent.spawn(client._ask, client.ledger.offer("QUERY/a/q", time.time()), "/x")
    gevent.sleep(0.01)
    asked.kill()
    assert client.told[1:] == [("QUERY/a/q", "no answer in time")]


def test_an_answer_without_an_outcome_is_a_failure_and_a_rejection_is_none() -> None:
    answers = [(503, {"detail": "busy"}), (422, {"outcome": "rejected", "position": None}), (500, None)]
    client = Bare(Service(5), lambda: answers.pop(0))
    for _ in range(3):
        assert client.send(time.time())
    assert client.told == [("COMMAND", "503: busy"), ("COMMAND", None), ("COMMAND", "500: ")]
