"""The ports: what adapters of this package offer has the members and the parameters that the protocols name."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from lab import ports
from lab.channel.faulty import Faulty, MonotonicClock
from lab.channel.memory import MemoryChannel, MemorySubscription
from lab.feed.live import LiveFeed
from lab.place import FolderPlace
from lab.stores import Store
from lab.truth import Truth

ADAPTERS: list[tuple[Any, type]] = [
    (ports.Place, FolderPlace),
    (ports.Clock, MonotonicClock),
    (ports.Feed, LiveFeed),
    (ports.Channel, MemoryChannel),
    (ports.Subscription, MemorySubscription),
    (ports.Subscription, Faulty),
    (ports.StorePort, Store),
    (ports.WriteModel, Truth),
]


def members(port: Any) -> dict[str, Any]:
    """The public members that a protocol asks for."""
    return {name: member for name, member in vars(port).items() if not name.startswith("_")}


@pytest.mark.parametrize(("port", "adapter"), ADAPTERS, ids=lambda one: one.__name__)
def test_an_adapter_has_what_its_port_asks_for(port: Any, adapter: type) -> None:
    assert members(port)
    for name, member in members(port).items():
        assert hasattr(adapter, name), name
        if inspect.isfunction(member):
            asked = list(inspect.signature(member).parameters.values())
            given = list(inspect.signature(getattr(adapter, name)).parameters.values())
            assert [one.name for one in given[: len(asked)]] == [one.name for one in asked], name
            assert all(one.default is not one.empty for one in given[len(asked) :]), name


def test_every_method_of_a_port_says_what_it_does() -> None:
    for port in (getattr(ports, name) for name in ports.__all__):
        assert port.__doc__, port
        for name, member in members(port).items():
            if inspect.isfunction(member) and getattr(port, "_is_protocol", False):
                assert member.__doc__, f"{port.__name__}.{name}"
