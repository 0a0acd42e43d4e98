"""The company as the workload remembers it: which records are live, and how new ones are made."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lab.base import Key
from lab.domain.marketing.entities import CATEGORIES, CHANNELS, REGIONS
from lab.domain.marketing.words import person, text
from lab.domain.model import Options

# The company's master data, in this order, as shares of `records`, with at least one of each.
MASTERS = {"product": 0.05, "strategy": 0.05, "agent": 0.40, "campaign": 0.20, "creative": 0.30}

# Entity, command, key and fields.
Made = tuple[str, str, Key, dict[str, Any]]


@dataclass
class Desks:
    """The slots for one kind of master data. A desk holds a key; after a delete, the next record there gets a new key.

    Desks are picked by a Zipf law over their ranks, in an order of its own.
    """

    keys: list[int | None]
    ranks: list[int]
    cumulated: list[float]
    next_key: int = 1
    gone: list[int] = field(default_factory=list)

    @classmethod
    def make(cls, count: int, skew: float, rng: np.random.Generator) -> Desks:
        """Return `count` empty desks."""
        weight = np.cumsum(1.0 / np.arange(1, count + 1) ** skew)
        return cls([None] * count, rng.permutation(count).tolist(), (weight / weight[-1]).tolist())

    def pick(self, draw: float) -> int:
        """Return a desk for a draw from 0 to 1."""
        return self.ranks[min(bisect_right(self.cumulated, draw), len(self.ranks) - 1)]

    def fill(self, desk: int) -> int:
        """Assign a new key to an empty desk, and return it."""
        key = self.next_key
        self.keys[desk], self.next_key = key, key + 1
        return key

    def clear(self, desk: int) -> int:
        """Empty the desk, whose record is deleted, and return its key."""
        key = self.keys[desk]
        assert key is not None
        self.keys[desk] = None
        self.gone.append(key)
        return key


class Company:
    """The part of the state that is needed to know which commands are valid."""

    def __init__(self, options: Options, rng: np.random.Generator) -> None:
        self.options, self.rng = options, rng
        # Texts use a variable number of draws, so they have a random stream of their own.
        (self.words,) = rng.spawn(1)
        records = options.records or max(10, options.commands // 20)
        self.desks = {
            name: Desks.make(max(1, round(share * records)), options.skew, rng) for name, share in MASTERS.items()
        }
        self.campaigns: dict[int, dict[str, int]] = {}
        self.paused: set[int] = set()
        self.recruiters: dict[int, int | None] = {}
        self.whole_names: set[int] = set()
        self.leads: list[int] = []
        self.agents: dict[int, int | None] = {}
        self.contacted: set[int] = set()
        self.won: list[int] = []
        self.next_lead = 1
        # A campaign's spend on its last day; None if that day's record is deleted.
        self.spent: dict[int, tuple[int, int | None]] = {}
        self.at = 0.0

    @property
    def changed(self) -> bool:
        """Return whether agents have first and last names from now on."""
        return self.options.change_at is not None and self.at >= self.options.change_at

    def make(self, kind: str, desk: int, draw: Sequence[float]) -> Made:
        """Return the command for a new record at an empty desk, or first for a missing record that it depends on."""
        desks = self.desks
        if kind in ("campaign", "creative"):
            for needed, chance in (("product", draw[2]), ("strategy", draw[3])):
                other = desks[needed].pick(chance)
                if desks[needed].keys[other] is None and (kind, needed) != ("creative", "strategy"):
                    return self.make(needed, other, draw)
        key = desks[kind].fill(desk)
        fields: dict[str, Any]
        match kind:
            case "product":
                fields = {"name": text(2, self.words), "category": _one(CATEGORIES, draw[1])}
                return kind, "launch", key, fields | {"price": 100 + int(draw[2] * 9_900)}
            case "strategy":
                name, audience = text(2, self.words), text(2, self.words)
                return kind, "adopt", key, {"name": name, "channel": _one(CHANNELS, draw[1]), "audience": audience}
            case "agent":
                recruiter = None if draw[3] < 0.1 else self.recruiter(key, draw[4])
                self.recruiters[key] = recruiter
                fields = {"recruiter": recruiter, "region": _one(REGIONS, draw[0])}
                return kind, "recruit", key, self.named(key, draw, self.changed) | fields
        product = desks["product"].keys[desks["product"].pick(draw[2])]
        if kind == "creative":
            return kind, "write", key, {"product": product} | self.creative_text()
        strategy = desks["strategy"].keys[desks["strategy"].pick(draw[3])]
        assert product is not None
        self.campaigns[key] = {"product": product, "budget": 1_000 + int(draw[4] * 9_000)}
        fields = {"product": product, "strategy": strategy, "daily_budget": self.campaigns[key]["budget"]}
        return kind, "start", key, self.campaign_text() | fields

    def creative_text(self) -> dict[str, Any]:
        """Return the texts of a creative."""
        return {"headline": text(5, self.words), "body": text(25, self.words)}

    def campaign_text(self) -> dict[str, Any]:
        """Return the name and description of a campaign."""
        return {"name": text(3, self.words), "description": text(12, self.words)}

    def named(self, key: int, draw: Sequence[float], parts: bool) -> dict[str, Any]:
        """Return a name in the write model's current format."""
        first, last = person(draw[1], draw[2])
        if parts:
            self.whole_names.discard(key)
            return {"first_name": first, "last_name": last}
        self.whole_names.add(key)
        return {"name": f"{first} {last}"}

    def recruiter(self, key: int, draw: float) -> int | None:
        """Return an agent who was recruited earlier, so that no valid command closes a cycle."""
        keys = self.desks["agent"].keys
        for desk in range(int(draw * draw * len(keys)), -1, -1):
            found = keys[desk]
            if found is not None and found < key:
                return found
        return None

    def budget(self, key: int, amount: int) -> Made:
        """Set a campaign's daily budget."""
        self.campaigns[key]["budget"] = amount
        return "campaign", "set_budget", key, {"daily_budget": amount}

    def forget(self, place: int) -> int:
        """Remove a lead from the open ones."""
        key = self.leads[place]
        self.leads[place] = self.leads[-1]
        self.leads.pop()
        del self.agents[key]
        self.contacted.discard(key)
        return key


def _one(words: Sequence[str], draw: float) -> str:
    return words[int(draw * len(words))]
