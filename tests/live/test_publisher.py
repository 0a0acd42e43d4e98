"""What a writer publishes through a broker: it delays no command, and what is never published is counted and told."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest
from test_live_run import TEXT, planned

import lab.live.broker as broker
from lab.base import CannotTake, Damaged, LabError, Unavailable
from lab.channel.memory import MemoryChannel
from lab.live.broker import BrokerPublisher
from lab.live.crew import Crew
from lab.live.run import run_live
from lab.live.writer import WriterOrders
from lab.ports import Message
from lab.running.live import Heard


def heard(positions: Sequence[int]) -> list[Heard]:
    return [Heard("item", [position, "a", position], [False]) for position in positions]


def taken(channel: MemoryChannel) -> list[int]:
    return [item.message.position for item in channel.subscribe("group", "one").take(1_000, 0.0)]


class Refusing(MemoryChannel):
    """Refuses with `error` what has one of these positions, or everything."""

    def __init__(self, error: Exception, positions: Sequence[int] | None = None, capacity: int = 1_000) -> None:
        super().__init__(capacity)
        self.error: Exception | None = error
        self.positions = positions
        self.largest = 0
        self.declare("group")

    def publish(self, messages: Sequence[Message]) -> None:
        """Refuse."""
        self.largest = max(self.largest, len(messages))
        refused = self.positions is None or any(item.position in self.positions for item in messages)
        if refused and self.error is not None:
            raise self.error
        super().publish(messages)


def test_a_message_that_the_broker_never_takes_is_dropped_counted_and_told_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    channel = Refusing(CannotTake("a message is too large"), [3, 8])
    publisher = BrokerPublisher(channel, 1_000, 1, tally=tmp_path / "tally")
    publisher.publish(heard(range(1, 11)))
    publisher.close()
    assert taken(channel) == [1, 2, 4, 5, 6, 7, 9, 10]
    assert json.loads((tmp_path / "tally").read_text())["dropped"] == {"a message is too large": 2}
    assert capsys.readouterr().err.count("messages are never published: a message is too large") == 1


@pytest.mark.parametrize("error", [Unavailable("away"), Damaged("no stream is there")])
def test_a_broker_that_is_away_for_good_delays_no_writer_and_its_messages_are_counted(
    error: LabError, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broker, "_CLOSES", 0.5)
    channel = Refusing(error)
    publisher = BrokerPublisher(channel, 5, 1, tally=tmp_path / "tally", most=20)

    def work() -> None:
        for first in range(1, 51, 10):
            publisher.publish(heard(range(first, first + 10)))
        publisher.close()

    writer = threading.Thread(target=work, daemon=True)
    writer.start()
    writer.join(30)
    assert not writer.is_alive()
    told = json.loads((tmp_path / "tally").read_text())["dropped"]
    assert set(told) == {"20 waited for the broker already", "the broker was away until the end"}
    assert sum(told.values()) == 50
    assert taken(channel) == []


def test_a_queue_smaller_than_a_batch_gets_as_much_at_once_as_it_holds() -> None:
    channel = Refusing(Unavailable("away"), [], capacity=5)
    publisher = BrokerPublisher(channel, 5, 1)
    publisher.publish(heard(range(1, 7)))
    found, subscription = [], channel.subscribe("group", "one")
    while len(found) < 6:
        found += subscription.take(10, 20.0)
    publisher.close()
    assert [item.message.position for item in found] == [*range(1, 7)]
    assert channel.largest <= 5


def test_a_defect_of_a_channel_is_raised_to_the_writer() -> None:
    publisher = BrokerPublisher(Refusing(RuntimeError("a defect")), 5, 1)
    publisher.publish(heard([1]))
    publisher._thread.join(20)
    with pytest.raises(RuntimeError, match="a defect"):
        publisher.publish(heard([2]))
    with pytest.raises(RuntimeError, match="a defect"):
        publisher.close()


def test_a_writer_whose_parent_is_gone_waits_for_no_broker() -> None:
    channel = Refusing(Unavailable("away"))
    publisher = BrokerPublisher(channel, 5, 1, gone=lambda: True)
    publisher.publish(heard([1]))
    closing = threading.Thread(target=publisher.close, daemon=True)
    closing.start()
    closing.join(20)
    assert not closing.is_alive()
    # Its thread ends too, once the broker is back.
    channel.error = None


def test_a_live_run_says_how_many_messages_were_never_published_and_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Crew, "unpublished", lambda _: {"a message is too large": 3})
    made = planned(tmp_path, TEXT, "workload.commands=80")
    done = run_live(made, tmp_path / "runs", report=False)
    assert done.manifest["live"]["unpublished"] == 3
    assert "Messages never published: 3; a message is too large." in done.manifest["notes"]


def test_what_each_writer_left_unpublished_is_added_up_by_its_reason(tmp_path: Path) -> None:
    orders = [WriterOrders(number, "", (), 1, str(tmp_path), "", "") for number in (1, 2, 3)]
    channel = Refusing(CannotTake("a message is too large"))
    for number, each in enumerate(orders[:2], 1):
        publisher = BrokerPublisher(channel, 1_000, number, tally=each.tally)
        publisher.publish(heard(range(number)))
        publisher.close()
    crew, process = Crew(), None
    crew._processes = [(each, process, each.journal) for each in orders]  # type: ignore[misc]
    assert crew.unpublished() == {"a message is too large": 3}
    assert crew.published() == 0
