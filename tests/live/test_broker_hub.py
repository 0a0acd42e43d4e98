"""When a live run on a broker is over: once each message is done with, wherever it is."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from lab.channel.memory import MemoryChannel
from lab.live import broker
from lab.live.broker import BrokerHub
from lab.scenario import Source
from lab.service.listening import ChannelFiles
from lab.wiring import plan

TWO = """
schema = 1
name = "two"
seed = 1
[domain]
name = "employees"
[workload]
commands = 10
[channel]
broker = "rabbitmq"
[[projection]]
name = "board"
store = "sqlite.table"
[[projection]]
name = "gossip"
store = "sqlite.table"
"""


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> BrokerHub:
    monkeypatch.setattr(broker, "CHANNELS", {"rabbitmq": lambda capacity, name: MemoryChannel()})
    (tmp_path / "two.toml").write_text(TWO)
    made = plan(Source(tmp_path / "two.toml", ("time.mode=live",)))
    assert made.scenario.channel is not None
    return BrokerHub(made.scenario.channel, made.projections, tmp_path)


def idle(hub: BrokerHub, folder: Path, **sent: int) -> bool:
    for name, count in sent.items():
        ChannelFiles(folder).counts(name).write_text(json.dumps({"sent": count, "open": 0}))
    return asyncio.run(hub.idle())


def test_what_a_broker_has_sent_and_no_process_has_taken_yet_is_waited_for(hub: BrokerHub, tmp_path: Path) -> None:
    hub.expect(4)
    assert not idle(hub, tmp_path, board=4, gossip=3)
    assert idle(hub, tmp_path, board=4, gossip=4)


def test_what_a_broker_has_lost_is_not_waited_for_for_ever(
    hub: BrokerHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.expect(4)
    assert not idle(hub, tmp_path, board=4, gossip=2)
    monkeypatch.setattr(broker, "_LOST", 1_000.0)
    assert not idle(hub, tmp_path, board=4, gossip=3)
    monkeypatch.setattr(broker, "_LOST", 0.0)
    assert idle(hub, tmp_path, board=4, gossip=3)
