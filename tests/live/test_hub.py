"""The hub of a live run: what a projection that is away, or reads nothing, gets later, and what it costs meanwhile."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from lab.live import hub as hubs
from lab.live.hub import Hub
from lab.scenario import ChannelTable
from lab.service.messages import PublishChanges, Subscribe, encoded_message
from lab.service.wire import MESSAGE, REQUEST, packed, read

CHANGES = [["item", [position, position, 1, False, 0.0], [False]] for position in range(1, 21)]


async def subscribed(path: Path, name: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_unix_connection(str(path))
    writer.write(packed(0, REQUEST, encoded_message(Subscribe(name))))
    return reader, writer


async def closed(hub: Hub, *writers: asyncio.StreamWriter) -> None:
    for writer in writers:
        writer.close()
    await hub.close()
    await asyncio.sleep(0.05)


async def heard(reader: asyncio.StreamReader, count: int) -> list[int]:
    found: list[int] = []
    while len(found) < count:
        _, status, _, body = await asyncio.wait_for(read(reader), 10)
        assert status == MESSAGE
        found += [row[0] for _, row, _ in json.loads(body)]
    return found


def test_a_projection_that_is_away_gets_its_messages_when_it_is_back_and_the_hub_rests_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = 0
    deliver = Hub._deliver

    def counted(self: Hub) -> None:
        nonlocal looks
        looks += 1
        deliver(self)

    monkeypatch.setattr(Hub, "_deliver", counted)

    async def away() -> None:
        hub = Hub(ChannelTable(), 1, ["here", "away"])
        await hub.listen(tmp_path / "hub")
        here, one = await subscribed(tmp_path / "hub", "here")
        _, publisher = await asyncio.open_unix_connection(str(tmp_path / "hub"))
        publisher.write(packed(1, REQUEST, encoded_message(PublishChanges(CHANGES))))
        assert await heard(here, 20) == list(range(1, 21))
        before = looks
        await asyncio.sleep(0.3)
        assert looks == before
        assert not await hub.idle()
        back, other = await subscribed(tmp_path / "hub", "away")
        assert await heard(back, 20) == list(range(1, 21))
        assert await hub.idle()
        await closed(hub, one, other, publisher)

    asyncio.run(away())


def test_messages_of_a_projection_that_reads_nothing_wait_in_the_channel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hubs, "PILE_MAX", 1)
    monkeypatch.setattr(asyncio.selector_events._SelectorSocketTransport, "get_write_buffer_size", lambda _: piled[0])
    piled = [2]

    async def stalled() -> None:
        hub = Hub(ChannelTable(), 1, ["slow"])
        await hub.listen(tmp_path / "hub")
        slow, one = await subscribed(tmp_path / "hub", "slow")
        _, publisher = await asyncio.open_unix_connection(str(tmp_path / "hub"))
        publisher.write(packed(1, REQUEST, encoded_message(PublishChanges(CHANGES))))
        await asyncio.sleep(0.2)
        assert hub.counts()["slow"]["delivered"] == 0
        piled[0] = 0
        assert await heard(slow, 20) == list(range(1, 21))
        await closed(hub, one, publisher)

    asyncio.run(stalled())
