"""The live channels by name, one file and one line each; other packages add theirs as entry points `lab.channels`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lab.ports import Channel
from lab.registry import Registry

SHIPPED = {"memory": "lab.channel.memory:MemoryChannel"}


def _problem(name: str, found: Any) -> str:
    missing = [member for member in vars(Channel) if not member.startswith("_") and not hasattr(found, member)]
    return f"is no channel: it has no {', '.join(missing)}" if missing else ""


# Each makes a channel whose queues hold at most so many messages.
CHANNELS: Registry[Callable[[int], Channel]] = Registry("lab.channels", SHIPPED, _problem)
