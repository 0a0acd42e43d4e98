"""The link that can fail: what it passes on, refuses, and keeps to itself until it is open again."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from test_live_on_brokers import TEXT, verdicts
from test_live_run import planned

from lab.base import BadInput
from lab.live.link import Link
from lab.live.run import run_live
from lab.scenario import Outage

OUTAGE = 'broker = "redis"\noutages = [{ at = 0.5, lasts = 1.0, link = "%s" }]'


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while found := await reader.read(100):
        writer.write(found)
    writer.close()


async def linked() -> tuple[Link, asyncio.Server]:
    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    link = Link("127.0.0.1", server.sockets[0].getsockname()[1])
    await link.open()
    return link, server


async def closed(link: Link, server: asyncio.Server, *writers: asyncio.StreamWriter) -> None:
    for writer in writers:
        writer.close()
    await link.close()
    server.close()
    await asyncio.sleep(0.05)


def test_a_cut_link_ends_its_connections_and_refuses_others_until_it_is_open() -> None:
    async def story() -> None:
        link, server = await linked()
        reader, writer = await asyncio.open_connection("127.0.0.1", link.port)
        writer.write(b"one")
        assert await reader.readexactly(3) == b"one"
        await link.become("cut")
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await asyncio.wait_for(reader.readexactly(1), 10)
        with pytest.raises(OSError, match="Connect call failed"):
            await asyncio.open_connection("127.0.0.1", link.port)
        await link.become("open")
        reader, other = await asyncio.open_connection("127.0.0.1", link.port)
        other.write(b"two")
        assert await reader.readexactly(3) == b"two"
        await closed(link, server, writer, other)

    asyncio.run(story())


def test_nothing_gets_through_a_hole_and_what_was_sent_arrives_after_it() -> None:
    async def story() -> None:
        link, server = await linked()
        reader, writer = await asyncio.open_connection("127.0.0.1", link.port)
        now = asyncio.get_running_loop().time()
        link.fail([Outage(at=0.0, lasts=0.4, link="hole")], now)
        await asyncio.sleep(0.05)
        other_reader, other = await asyncio.open_connection("127.0.0.1", link.port)
        for each in (writer, other):
            each.write(b"one")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.readexactly(3), 0.1)
        for each in (reader, other_reader):
            assert await asyncio.wait_for(each.readexactly(3), 10) == b"one"
        await closed(link, server, writer, other)

    asyncio.run(story())


def test_a_link_whose_port_is_taken_meanwhile_opens_once_it_is_free() -> None:
    async def story() -> None:
        link, server = await linked()
        link.fail([Outage(at=0.0, lasts=0.2, link="cut")], asyncio.get_running_loop().time())
        # Cut, and its port taken before it is open again.
        await asyncio.sleep(0.05)
        taken = await asyncio.start_server(echo, "127.0.0.1", link.port)
        await asyncio.sleep(0.4)
        taken.close()
        for _ in range(200):
            await asyncio.sleep(0.05)
            if link._server is not None:
                break
        reader, writer = await asyncio.open_connection("127.0.0.1", link.port)
        writer.write(b"one")
        assert await asyncio.wait_for(reader.readexactly(3), 10) == b"one"
        await closed(link, server, writer)

    asyncio.run(story())


@pytest.mark.server("redis")
@pytest.mark.parametrize("how", ["cut", "hole"])
def test_a_run_goes_on_after_its_link_has_failed(how: str, tmp_path: Path) -> None:
    # Nothing else brings what the outage would lose.
    text = TEXT.replace("lose = 0.05", "lose = 0.0").replace('expect = "fail"\n', "")
    made = planned(tmp_path, text.replace('broker = "redis"', OUTAGE % how))
    done = run_live(made, tmp_path / "runs", report=False)
    assert verdicts(done) == {"board": "pass", "ordered": "pass", "gossip": "pass"}
    assert done.manifest["live"]["caught_up"]
    for name in verdicts(done):
        counts = done.manifest["live"]["channel"][name]
        assert counts["sent"] - counts["repeated"] <= done.manifest["changes"] <= counts["sent"]


@pytest.mark.parametrize(
    ("broker", "more", "said"),
    [
        ("", "", "without a broker there is no link"),
        ('broker = "kafka"\n', "", "go past the link that fails"),
        ('broker = "nats"\n', ", loses = true", "a link that fails loses nothing"),
    ],
)
def test_a_link_that_can_t_fail_is_refused(broker: str, more: str, said: str, tmp_path: Path) -> None:
    outages = f'{broker}outages = [{{ at = 1.0, lasts = 1.0, link = "cut"{more} }}]'
    with pytest.raises(BadInput, match=rf"channel\.outages\.1\.link: .*{said}"):
        planned(tmp_path, TEXT.replace('broker = "redis"', outages))
