"""What the front asks of the executor and of the projections: one class for each request, and its form on a socket."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from lab.base import Key

# What ids of requests begin with: no key of a client is one of the lab's own.
CLIENT, LOAD = "client:", "load:"


class ExecuteCommand(NamedTuple):
    """To the executor: decide a command. `request` is the id under which it is done once; None if it has none.

    It begins with a namespace, given by the front: `CLIENT` before an Idempotency-Key, `LOAD` for the front's own load.
    """

    entity: str
    command: str
    key: Key
    fields: dict[str, Any]
    expected: int | None = None
    request: str | None = None


class ChangeFaults(NamedTuple):
    """To the executor: replace the channel's faults by these, or with None only report them."""

    faults: Any = None


class Subscribe(NamedTuple):
    """To the executor: send every message that the channel delivers over this connection, to a projection's `name`."""

    name: str = ""


class PublishChanges(NamedTuple):
    """To the hub of a live run: changes that were just committed, each with entity, row and before-image."""

    changes: list[Any]


class AskQuery(NamedTuple):
    """To a projection: answer a query, if need be after `timeout` seconds of waiting for position `at_least`.

    With `revision`, a query by key is answered once it shows that revision of the record or a later one.
    """

    query: str
    parameters: list[Any]
    limit: int
    at_least: int | None = None
    timeout: float = 0.0
    revision: int | None = None


class ReadApplied(NamedTuple):
    """To a projection: the changes that became visible after the first `since`, `limit` at most."""

    since: int
    limit: int


class StartRebuild(NamedTuple):
    """To a projection: build it anew beside, then swap it in."""


class ReadStatus(NamedTuple):
    """To both: position and counts; of a projection if need be after `timeout` seconds of waiting for `at_least`."""

    at_least: int | None = None
    timeout: float = 0.0


Message = (
    ExecuteCommand | ChangeFaults | Subscribe | PublishChanges | AskQuery | ReadApplied | StartRebuild | ReadStatus
)

_CLASSES = (ExecuteCommand, ChangeFaults, Subscribe, PublishChanges, AskQuery, ReadApplied, StartRebuild, ReadStatus)
_BY_NAME: dict[str, Any] = {one.__name__: one for one in _CLASSES}


def encoded_message(message: Message) -> bytes:
    """The JSON array of the class's name and the fields."""
    return json.dumps([type(message).__name__, *message]).encode()


def decoded_message(body: bytes) -> Message:
    """The message of such an array. Raises KeyError or TypeError for one that there is not."""
    name, *fields = json.loads(body)
    found: Message = _BY_NAME[name](*fields)
    return found
