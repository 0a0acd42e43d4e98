"""The HTTP layer under attack: half-open requests, slow readers, too many connections, and what is no HTTP/1.1."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from serving import SMALL, Served, hire, served, written

from lab.service import front, live, protocol
from lab.service.protocol import Bounded, Patrol, server_of

HOST = b"host: localhost\r\n"
JSON = b"content-type: application/json\r\n"


class Listening:
    """A service in this process behind a real socket, with a patrol whose looks are a moment apart."""

    def __init__(self, service: Served) -> None:
        self.service = service
        self.server = server_of(service.front.app())
        self.listening = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port: int = self.listening.getsockname()[1]
        self.patrol = Patrol(self.server.server_state.connections)
        self.clients: list[asyncio.StreamWriter] = []

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        self.clients.append(writer)
        return reader, writer

    async def hang_up(self) -> None:
        """Close every connection that was made."""
        for writer in self.clients:
            writer.transport.abort()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def say(self, sent: bytes) -> list[tuple[int, dict[str, str], bytes]]:
        """Send these bytes on a connection of their own; all the answers until it is closed."""
        reader, writer = await self.connect()
        with contextlib.suppress(ConnectionError):
            writer.write(sent)
            await writer.drain()
        return await answers(reader)

    async def gone(self, count: int = 0) -> None:
        """Until no more than so many connections are left."""
        async with asyncio.timeout(10):
            while len(self.server.server_state.connections) > count:
                await asyncio.sleep(0.01)


async def answers(reader: asyncio.StreamReader) -> list[tuple[int, dict[str, str], bytes]]:
    """Every answer on a connection until it is closed: status, headers, body."""
    raw = bytearray()
    with contextlib.suppress(ConnectionError):
        async with asyncio.timeout(20):
            while piece := await reader.read(65_536):
                raw += piece
    found = []
    rest = bytes(raw)
    while rest:
        head, _, rest = rest.partition(b"\r\n\r\n")
        line, *lines = head.decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (one.partition(": ") for one in lines)}
        length = int(headers.get("content-length", 0))
        found.append((int(line.split()[1]), headers, rest[:length]))
        rest = rest[length:]
    return found


@contextlib.asynccontextmanager
async def listening(service: Served) -> AsyncIterator[Listening]:
    found = Listening(service)
    serving = asyncio.create_task(found.server.serve(sockets=[found.listening]))
    walking = asyncio.create_task(found.patrol.walk())
    while not found.server.started:
        await asyncio.sleep(0.01)
    try:
        yield found
    finally:
        await service.front.close()
        found.server.should_exit = found.patrol.stopping = True
        await asyncio.wait_for(serving, 20)
        walking.cancel()
        await found.hang_up()


@pytest.fixture
def lived(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Tells a story of a service that listens, within `seconds`; limits of the protocol are set by name."""

    def living(story: Callable[[Listening], Awaitable[None]], seconds: float = 60.0, **limits: float) -> None:
        for name, value in ({"LOOK": 0.05} | limits).items():
            monkeypatch.setattr(protocol, name, value)

        async def whole() -> None:
            async with served(written(tmp_path, text=SMALL), tmp_path) as service, listening(service) as found:
                await story(found)

        asyncio.run(asyncio.wait_for(whole(), seconds))

    return living


def problem(answer: tuple[int, dict[str, str], bytes], status: int) -> dict[str, Any]:
    """The problem document of an answer."""
    found, headers, body = answer
    assert (found, headers["content-type"], headers["connection"]) == (status, "application/problem+json", "close")
    document: dict[str, Any] = json.loads(body)
    assert (document["status"], bool(document["title"]), bool(document["detail"])) == (status, True, True)
    return document


REFUSED = {
    "no request": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 501),
    "a method in lower case": (b"get /health HTTP/1.1\r\n" + HOST + b"\r\n", 501),
    "a method of its own": (b"FROB /health HTTP/1.1\r\n" + HOST + b"\r\n", 501),
    "a proxy": (b"CONNECT localhost:80 HTTP/1.1\r\n" + HOST + b"\r\n", 501),
    "a word too many": (b"GET /health HTTP/1.1 please\r\n" + HOST + b"\r\n", 400),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    "HTTP/2.0": (b"GET /health HTTP/2.0\r\n" + HOST + b"\r\n", 505),
    "HTTP/9.9": (b"GET /health HTTP/9.9\r\n" + HOST + b"\r\n", 505),
    "HTTP/0.9": (b"GET /health\r\n\r\n", 505),
    "no host": (b"GET /health HTTP/1.1\r\n\r\n", 400),
    "two hosts": (b"GET /health HTTP/1.1\r\n" + HOST + HOST + b"\r\n", 400),
    "another host": (b"GET /health HTTP/1.1\r\nhost: evil.example\r\n\r\n", 421),
    "another host in the target": (b"GET http://evil.example/health HTTP/1.1\r\n" + HOST + b"\r\n", 421),
    "a header with a space": (b"GET /health HTTP/1.1\r\n" + HOST + b"bad name: 1\r\n\r\n", 400),
    "two lengths": (b"PUT /load HTTP/1.1\r\n" + HOST + b"content-length: 1\r\ncontent-length: 2\r\n\r\n", 400),
    "a length and chunks": (
        b"POST /commands/employee HTTP/1.1\r\n" + HOST + b"content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n", 400
    ),
    "a chunk of no size": (
        b"POST /commands/employee HTTP/1.1\r\n" + HOST + JSON + b"transfer-encoding: chunked\r\n\r\nzz\r\n", 400
    ),
    "a long target": (b"GET /" + b"x" * 40_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n", 414),
    "a long target in pieces": (b"GET /" + b"x" * 400_000, 414),
    "a long head": (b"GET / HTTP/1.1\r\n" + HOST + b"x: " + b"y" * 40_000 + b"\r\n\r\n", 431),
    "a long head in pieces": (b"GET / HTTP/1.1\r\n" + HOST + b"x: y\r\n" * 100_000, 431),
    "a body that is too long": (b"PUT /load HTTP/1.1\r\n" + HOST + JSON + b"content-length: 99999999\r\n\r\n", 413),
    "a body that is no JSON": (b"PUT /load HTTP/1.1\r\n" + HOST + b"content-length: 2\r\n\r\nhi", 415),
}  # fmt: skip


def test_what_cannot_be_served_is_a_problem_document(lived: Callable[..., None]) -> None:
    async def story(found: Listening) -> None:
        for name, (sent, status) in REFUSED.items():
            [answer] = await found.say(sent)
            assert problem(answer, status), name
        await found.gone()

    lived(story)


def test_what_is_unusual_and_right_is_answered(lived: Callable[..., None]) -> None:
    async def story(found: Listening) -> None:
        last = b"connection: close\r\n\r\n"
        [(status, headers, _)] = await found.say(b"OPTIONS /health HTTP/1.1\r\n" + HOST + last)
        assert (status, {*headers["allow"].split(", ")}) == (405, {"GET", "HEAD"})
        [(status, headers, body)] = await found.say(b"HEAD /health HTTP/1.1\r\n" + HOST + last)
        assert (status, body) == (200, b"")
        [(status, _, _)] = await found.say(
            b"GET http://localhost:8087/health HTTP/1.1\r\nhost: evil.example\r\n" + last
        )
        assert status == 200
        # Another protocol is not spoken, and not needed either: the request is answered, and nothing that follows.
        upgrade = b"GET /health HTTP/1.1\r\n" + HOST + b"connection: upgrade\r\nupgrade: h2c\r\n\r\n"
        [(status, headers, _)] = await found.say(upgrade + b"GET /health HTTP/1.1\r\n" + HOST + b"\r\n")
        assert (status, headers["connection"]) == (200, "close")
        # The head alone is the answer to HEAD, also of a stream.
        [(status, headers, _)] = await found.say(b"HEAD /live HTTP/1.1\r\n" + HOST + last)
        assert (status, headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
        assert not found.service.front.live._viewers

    lived(story)


def test_a_refusal_is_never_taken_for_the_answer_to_an_earlier_request(lived: Callable[..., None]) -> None:
    async def story(found: Listening) -> None:
        slow = b"GET /changes?entity=employee&wait=0.5 HTTP/1.1\r\n" + HOST + b"\r\n"
        for nonsense in (b"nonsense\r\n\r\n", b"GET / HTTP/2.0\r\n\r\n", b"CONNECT a:80 HTTP/1.1\r\n\r\n"):
            [(status, headers, body)] = await found.say(slow + nonsense)
            assert (status, headers["connection"], json.loads(body)["changes"]) == (200, "close", [])
        # What follows a refused request is not executed.
        order = json.dumps(hire(1)).encode()
        sent = (
            b"POST /commands/employee HTTP/1.1\r\n" + HOST + JSON + b"content-length: %d\r\n\r\n" % len(order) + order
        )
        for refused in (b"GET / HTTP/2.0\r\n" + HOST + b"\r\n", b"CONNECT a:80 HTTP/1.1\r\n" + HOST + b"\r\n"):
            assert len(await found.say(refused + sent)) == 1
        await asyncio.sleep(0.05)
        assert found.service.executor.head == 0

    lived(story)


HALVES = {
    "nothing": (b"", None),
    "half a line": (b"GET /hea", 408),
    "half a head": (b"GET /health HTTP/1.1\r\n" + HOST, 408),
    "half a body": (b"PUT /load HTTP/1.1\r\n" + HOST + JSON + b"content-length: 900\r\n\r\n{", 408),
    "half a chunk": (b"PUT /load HTTP/1.1\r\n" + HOST + JSON + b"transfer-encoding: chunked\r\n\r\n500\r\n{", 408),
    "half a second head": (b"GET /health HTTP/1.1\r\n" + HOST + b"\r\nGET /he", 408),
}  # fmt: skip


@pytest.mark.parametrize("drip", [False, True])
def test_half_a_request_is_waited_for_only_so_long(drip: bool, lived: Callable[..., None]) -> None:
    async def ended(found: Listening, sent: bytes, status: int | None) -> None:
        reader, writer = await found.connect()
        writer.write(sent)
        reading = asyncio.create_task(answers(reader))
        # A byte now and then doesn't help.
        while drip and sent and not reading.done():
            with contextlib.suppress(ConnectionError):
                writer.write(b"1" if b"chunked" in sent else b"a" if b"length" not in sent else b" ")
                await writer.drain()
            await asyncio.wait([reading], timeout=0.1)
        got = await reading
        if status is None:
            assert got == []
        elif got or not drip:
            # While more is sent, the answer to it may be lost with the connection.
            problem(got[-1], status)

    async def story(found: Listening) -> None:
        await asyncio.gather(*(ended(found, *half) for half in HALVES.values()))
        await found.gone()
        assert found.service.front.load.rate == 0

    lived(story, HEAD_SECONDS=0.6, BODY_SECONDS=0.6)


def test_idle_connections_make_room_for_others(lived: Callable[..., None]) -> None:
    async def story(found: Listening) -> None:
        idle = []
        for number in range(60):
            idle.append(await found.connect())
            idle[-1][1].write(b"GET /health HTTP/1.1\r\n" if number % 2 else b"")
        await asyncio.sleep(0.1)
        # Others are served, and those that waited longest have lost their places.
        for _ in range(40):
            [(status, _, _)] = await found.say(b"GET /health HTTP/1.1\r\n" + HOST + b"connection: close\r\n\r\n")
            assert status == 200
        assert len(found.server.server_state.connections) <= 31
        first = await asyncio.wait_for(answers(idle[1][0]), 5)
        assert "another connection needed the place" in problem(first[0], 408)["detail"]
        reader, writer = idle[-1]
        writer.write(HOST + b"connection: close\r\n\r\n")
        [(status, _, _)] = await asyncio.wait_for(answers(reader), 20)
        assert status == 200

    lived(story, CONNECTIONS_MAX=30)


def test_where_every_connection_is_being_answered_a_further_one_is_told(lived: Callable[..., None]) -> None:
    async def story(found: Listening) -> None:
        poll = b"GET /changes?entity=employee&wait=20 HTTP/1.1\r\n" + HOST + b"\r\n"
        waiting = [await found.connect() for _ in range(10)]
        for _, writer in waiting:
            writer.write(poll)
        async with asyncio.timeout(10):
            while found.service.front.waiting < 10:
                await asyncio.sleep(0.01)
        [answer] = await found.say(b"GET /health HTTP/1.1\r\n" + HOST + b"\r\n")
        problem(answer, 503)
        assert answer[1]["retry-after"] == "1"
        waiting.pop()[1].close()
        await found.gone(9)
        [(status, _, _)] = await found.say(b"GET /health HTTP/1.1\r\n" + HOST + b"connection: close\r\n\r\n")
        assert status == 200

    lived(story, CONNECTIONS_MAX=10)


def test_an_answer_that_is_not_read_is_not_kept_for_ever(lived: Callable[..., None]) -> None:
    async def story(found: Listening) -> None:
        # More than the system takes for a client that doesn't read.
        found.service.front.document = b" " * 32_000_000
        reader, writer = await found.connect()
        reader._transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(b"GET /openapi.json HTTP/1.1\r\n" + HOST + b"\r\n")
        async with asyncio.timeout(20):
            while not any(one.unread_since for one in connections(found)):
                await asyncio.sleep(0.01)
        await found.gone()

    lived(story, READ_SECONDS=0.5)


def connections(found: Listening) -> list[Bounded]:
    return [one for one in found.server.server_state.connections if isinstance(one, Bounded)]


def test_of_much_that_is_not_read_the_most_is_dropped(lived: Callable[..., None]) -> None:
    class Deaf:
        def __init__(self, size: int) -> None:
            self.size, self.aborted = size, False

        def get_write_buffer_size(self) -> int:
            return 0 if self.aborted else self.size

        def abort(self) -> None:
            self.aborted = True

    found = []
    for size in (1, 50, 30, 0):
        one = Bounded.__new__(Bounded)
        one.transport = Deaf(size)  # type: ignore[assignment]
        found.append(one)
    patrol = Patrol(found)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(protocol, "UNREAD_MAX", 40)
        patrol.look(1.0)
    assert [one.transport.aborted for one in found] == [False, True, False, False]  # type: ignore[attr-defined]


def test_streams_are_few_and_free_their_places(lived: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "VIEWERS_MAX", 3)
    watch = b"GET /live HTTP/1.1\r\n" + HOST + b"\r\n"

    async def story(found: Listening) -> None:
        for _ in range(3):
            watching = [await found.connect() for _ in range(3)]
            for reader, writer in watching:
                writer.write(watch)
                await asyncio.wait_for(reader.readuntil(b"data: "), 10)
            [(status, _, _)] = await found.say(watch.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n"))
            assert status == 503
            for _, writer in watching:
                writer.transport.abort()
            await found.gone()
        # One that hangs up before its first event holds no place either.
        for _ in range(10):
            _, writer = await found.connect()
            writer.write(watch)
            await writer.drain()
            writer.transport.abort()
        await found.gone()
        async with asyncio.timeout(10):
            while found.service.front.live._viewers:
                await asyncio.sleep(0.01)

    lived(story)


def test_a_stop_does_not_wait_for_what_is_half_open(lived: Callable[..., None]) -> None:
    async def story(found: Listening) -> None:
        halves = [await found.connect() for _ in range(len(HALVES))]
        for (_, writer), (sent, _) in zip(halves, HALVES.values(), strict=True):
            writer.write(sent)
        await asyncio.sleep(0.2)
        await found.service.front.close()
        found.server.should_exit = found.patrol.stopping = True
        # Long before the limits of a head or a body.
        await found.gone()
        for reader, _ in halves:
            await asyncio.wait_for(reader.read(), 5)

    lived(story, HEAD_SECONDS=600.0, BODY_SECONDS=600.0)


def test_those_that_wait_leave_room_for_others(lived: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(front, "WAITING_MAX", 5)
    last = b"connection: close\r\n\r\n"

    async def story(found: Listening) -> None:
        poll = b"GET /changes?entity=employee&wait=20 HTTP/1.1\r\n" + HOST
        for _ in range(5):
            _, writer = await found.connect()
            writer.write(poll + b"\r\n")
        async with asyncio.timeout(10):
            while found.service.front.waiting < 5:
                await asyncio.sleep(0.01)
        [answer] = await found.say(poll + last)
        assert "wait already" in problem(answer, 503)["detail"]
        [answer] = await found.say(b"GET /projections/directory/employee?key=1&at_least=0 HTTP/1.1\r\n" + HOST + last)
        problem(answer, 503)
        # Without waiting everything is answered.
        for path in (b"/changes?entity=employee", b"/projections/directory/employee?key=1", b"/health"):
            [(status, _, _)] = await found.say(b"GET " + path + b" HTTP/1.1\r\n" + HOST + last)
            assert status == 200
        # A change ends the wait of all of them.
        assert (await found.service.command(hire(1))).status_code == 201
        async with asyncio.timeout(10):
            while found.service.front.waiting:
                await asyncio.sleep(0.01)

    lived(story)


PIECES = (
    b"GET ", b"POST ", b"/health", b" HTTP/1.1\r\n", b"\r\n", b"\n", b"\r", HOST, JSON, b"content-length: ", b"0", b"7",
    b"-1", b"transfer-encoding: chunked\r\n", b"5\r\n", b"{}", b"\0", b"\xff", b":", b" ", b"connection: upgrade\r\n",
    b"expect: 100-continue\r\n", b"a" * 9_000,
)  # fmt: skip
WHOLE = b"PUT /load HTTP/1.1\r\n" + HOST + JSON + b"content-length: 11\r\n\r\n" + b'{"rate": 0}'


def test_requests_that_are_torn_and_put_together_anew_take_nothing_down(
    lived: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    rng, count = random.Random(7), int(os.environ.get("HISTORIES", "150"))
    taken = refused = 0

    def torn() -> bytes:
        sent = bytearray(WHOLE * rng.randint(1, 2))
        for _ in range(rng.randint(1, 4)):
            at = rng.randrange(len(sent))
            sent[at : at + rng.choice((0, 1, 5, 20))] = b"".join(rng.choices(PIECES, k=rng.randint(0, 3)))
        return bytes(sent[: rng.randint(1, len(sent))] if rng.random() < 0.3 else sent)

    async def story(found: Listening) -> None:
        nonlocal taken, refused
        for _ in range(count // 25):
            for got in await asyncio.gather(*(found.say(torn()) for _ in range(25))):
                for answer in got:
                    taken += answer[0] < 400
                    refused += answer[0] >= 400
                    if answer[0] >= 400:
                        assert answer[0] in (400, 404, 405, 408, 413, 414, 415, 421, 431, 501, 505), answer
                        assert answer[1]["content-type"] == "application/problem+json"
                        assert json.loads(answer[2])["status"] == answer[0]
        [(status, _, _)] = await found.say(b"GET /health HTTP/1.1\r\n" + HOST + b"connection: close\r\n\r\n")
        assert status == 200
        await found.gone()

    lived(story, seconds=60.0 + count / 10, HEAD_SECONDS=0.2, BODY_SECONDS=0.2)
    assert capsys.readouterr().err == ""
    # Some pieces make a request that is carried out, and most make none.
    assert taken > 0
    assert refused > count // 10
