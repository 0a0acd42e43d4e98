"""Draw the commands of `marketing`: master data, then mostly leads and spend, and the migration of agents' names.

Everything is drawn from the seed, and the migration draws nothing, so it doesn't change the other commands.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import numpy as np

from lab.domain.arrivals import arrivals
from lab.domain.marketing.company import Company, Made
from lab.domain.marketing.entities import spend_key
from lab.domain.marketing.words import text
from lab.domain.model import Command

# The shares of commands by kind, apart from the deletes that the scenario asks for.
MIX = {
    "lead": 0.60,
    "spend": 0.28,
    "campaign": 0.05,
    "agent": 0.03,
    "creative": 0.02,
    "product": 0.01,
    "strategy": 0.01,
}
# The shares of deletes by entity.
DELETES = {
    "lead": 0.6,
    "spend": 0.1,
    "agent": 0.12,
    "creative": 0.1,
    "campaign": 0.06,
    "product": 0.01,
    "strategy": 0.01,
}
DELETE = {
    "product": "discontinue", "strategy": "drop", "creative": "withdraw", "campaign": "close", "agent": "dismiss",
    "lead": "discard", "spend": "void",
}  # fmt: skip
NEW_LEADS = 0.28  # The share of the commands on leads that capture a new one.
SECONDS_A_DAY = 1.0  # A day of the company goes by in a second of the run.
NOBODY = 1_000_000_000  # A key that no record ever has.


class MarketingWorkload(Company):
    """Draws commands one after the other, each with whether it must be refused."""

    def commands(self) -> Iterator[Command]:
        """Yield all commands in the order of their arrival."""
        return (command for command, _ in self.marked())

    def marked(self) -> Iterator[tuple[Command, bool]]:
        """Yield `options.commands` commands, each with whether it must be refused."""
        return itertools.islice(self._all(), self.options.commands)

    def _all(self) -> Iterator[tuple[Command, bool]]:
        rng, count = self.rng, self.options.commands
        times = arrivals(self.options, rng).tolist()
        invalid = (rng.random(count) < self.options.invalid).tolist()
        deletes = (rng.random(count) < self.options.deletes).tolist()
        kinds = rng.choice(list(MIX), p=list(MIX.values()), size=count).tolist()
        gone = rng.choice(
            list(DELETES), p=np.array(list(DELETES.values())) / sum(DELETES.values()), size=count
        ).tolist()
        # Draws are made in blocks, which bounds the memory.
        draws = (row for _ in range(0, count, 1_000) for row in rng.random((1_000, 5)).tolist())
        first = [(kind, desk) for kind, desks in self.desks.items() for desk in range(len(desks.keys))]
        splits: Iterator[tuple[float, int]] | None = None
        due: tuple[float, int] | None = None
        change_at = self.options.change_at
        for index, (at, draw) in enumerate(zip(times, draws, strict=False)):
            if change_at is not None and at >= change_at:
                if splits is None:
                    splits = self._migration(change_at)
                    due = next(splits, None)
                while due is not None and due[0] <= at:
                    if due[1] in self.whole_names:
                        self.whole_names.remove(due[1])
                        yield Command("agent", "split_name", due[1], {}, at=due[0]), False
                    due = next(splits, None)
            self.at = at
            bad = invalid[index] and index >= len(first)
            if index < len(first):
                kind, desk = first[index]
                entity, name, key, fields = self.make(kind, desk, draw)
            elif bad:
                entity, name, key, fields = self._bad(draw)
            else:
                made = self._delete(gone[index], draw) if deletes[index] else None
                entity, name, key, fields = made or self._ordinary(kinds[index], draw)
            yield Command(entity, name, key, fields, at=at), bad

    def _migration(self, change_at: float) -> Iterator[tuple[float, int]]:
        """Return when each agent that exists at the change has its name split: evenly, one after the other."""
        there = sorted(self.whole_names)
        for number, key in enumerate(there):
            yield change_at + self.options.change_takes * number / len(there), key

    # What is made, and what is done to it

    def _ordinary(self, kind: str, draw: Sequence[float]) -> Made:
        if kind == "lead":
            return self._lead(draw)
        if kind == "spend":
            return self._spend(draw)
        desk = self.desks[kind].pick(draw[0])
        key = self.desks[kind].keys[desk]
        if key is None:
            return self.make(kind, desk, draw)
        match kind:
            case "product":
                return kind, "reprice", key, {"price": 100 + int(draw[1] * 9_900)}
            case "strategy":
                return kind, "refocus", key, {"audience": text(2, self.words)}
            case "creative":
                return kind, "revise", key, self.creative_text()
            case "agent":
                return self._agent(key, draw)
        return self._campaign(key, draw)

    def _agent(self, key: int, draw: Sequence[float]) -> Made:
        if draw[3] < 0.5:
            recruiter = self.recruiter(key, draw[4])
            self.recruiters[key] = recruiter
            return "agent", "hand_over", key, {"recruiter": recruiter}
        return "agent", "rename", key, self.named(key, draw, key not in self.whole_names)

    def _campaign(self, key: int, draw: Sequence[float]) -> Made:
        if key in self.paused:
            if self.campaigns[key]["product"] in self.desks["product"].keys:
                self.paused.remove(key)
                return "campaign", "resume", key, {}
        elif draw[1] < 0.2:
            self.paused.add(key)
            return "campaign", "pause", key, {}
        if draw[1] < 0.6:
            return "campaign", "describe", key, self.campaign_text()
        return self.budget(key, 1_000 + int(draw[2] * 9_000))

    def _of_running(self, draw: Sequence[float]) -> tuple[int, None] | tuple[None, Made]:
        """Return a running campaign, or the command that makes one."""
        desks = self.desks["campaign"]
        desk = desks.pick(draw[0])
        key = desks.keys[desk]
        if key is None:
            return None, self.make("campaign", desk, draw)
        return (None, self._campaign(key, draw)) if key in self.paused else (key, None)

    def _lead(self, draw: Sequence[float]) -> Made:
        if draw[1] < NEW_LEADS or not self.leads:
            campaign, instead = self._of_running(draw)
            if instead is not None:
                return instead
            key, self.next_lead = self.next_lead, self.next_lead + 1
            self.leads.append(key)
            self.agents[key] = None
            return "lead", "capture", key, {"campaign": campaign, "value": 100 + int(draw[2] * 20_000)}
        place = int(draw[2] * len(self.leads))
        key = self.leads[place]
        agent = self.agents[key]
        if agent is None or agent not in self.recruiters:
            return self._assign(key, draw)
        if key not in self.contacted:
            self.contacted.add(key)
            return "lead", "contact", key, {}
        if draw[3] < 0.2:
            return self._assign(key, draw)
        self.forget(place)
        if draw[3] < 0.5:
            self.won.append(key)
            return "lead", "win", key, {"value": 100 + int(draw[4] * 20_000)}
        return "lead", "lose", key, {}

    def _assign(self, key: int, draw: Sequence[float]) -> Made:
        desks = self.desks["agent"]
        desk = desks.pick(draw[4])
        agent = desks.keys[desk]
        if agent is None:
            return self.make("agent", desk, draw)
        self.agents[key] = agent
        self.contacted.discard(key)
        return "lead", "assign", key, {"agent": agent}

    def _spend(self, draw: Sequence[float]) -> Made:
        campaign, instead = self._of_running(draw)
        if campaign is None:
            assert instead is not None
            return instead
        day = int(self.at / SECONDS_A_DAY)
        last, amount = self.spent.get(campaign, (day, 0))
        spent = amount if last == day else 0
        left = 0 if spent is None else self.campaigns[campaign]["budget"] - spent
        if spent is None:
            # That day's record is void: there is nothing more to be booked.
            return "campaign", "describe", campaign, self.campaign_text()
        if left <= 0:
            return self.budget(campaign, spent + 1_000 + int(draw[1] * 9_000))
        now = 1 + int(draw[1] * 0.5 * (left - 1))
        self.spent[campaign] = day, spent + now
        fields = {"campaign": campaign, "day": day, "amount": now, "revenue": int(draw[2] * 3 * now)}
        return "spend", "book", spend_key(campaign, day), fields

    # What is deleted, and what must be refused

    def _delete(self, kind: str, draw: Sequence[float]) -> Made | None:
        """Return a delete of this kind; None if there is nothing to delete."""
        if kind == "lead":
            if not self.leads:
                return None
            return kind, "discard", self.forget(int(draw[0] * len(self.leads))), {}
        if kind == "spend":
            if not self.spent:
                return None
            campaign = list(self.spent)[int(draw[0] * len(self.spent))]
            day, amount = self.spent[campaign]
            self.spent[campaign] = day, None
            return None if amount is None else (kind, "void", spend_key(campaign, day), {})
        desk = self.desks[kind].pick(draw[0])
        if self.desks[kind].keys[desk] is None:
            return None
        key = self.desks[kind].clear(desk)
        if kind == "agent":
            del self.recruiters[key]
            self.whole_names.discard(key)
        elif kind == "campaign":
            del self.campaigns[key]
            self.spent.pop(key, None)
            self.paused.discard(key)
        return kind, DELETE[kind], key, {}

    def _bad(self, draw: Sequence[float]) -> Made:
        """Return an invalid command: a lead won twice or without agent, too much spend, a cycle, a deleted product."""
        case = int(draw[0] * 5)
        if case == 0 and self.won:
            return "lead", "win", self.won[int(draw[1] * len(self.won))], {"value": 100}
        if case == 1 and self.leads:
            gone = self.desks["agent"].gone or [NOBODY]
            return (
                "lead",
                "assign",
                self.leads[int(draw[1] * len(self.leads))],
                {"agent": gone[int(draw[2] * len(gone))]},
            )
        if case == 2 and self.campaigns:
            campaign = list(self.campaigns)[int(draw[1] * len(self.campaigns))]
            day, amount = int(self.at / SECONDS_A_DAY), self.campaigns[campaign]["budget"] + 1
            fields = {"campaign": campaign, "day": day, "amount": amount, "revenue": 0}
            return "spend", "book", spend_key(campaign, day), fields
        if case == 3 and (agents := [key for key in self.recruiters.values() if key in self.recruiters]):
            above = agents[int(draw[1] * len(agents))]
            assert above is not None
            below = next(key for key, recruiter in self.recruiters.items() if recruiter == above)
            return "agent", "hand_over", above, {"recruiter": below}
        products = self.desks["product"].gone or [NOBODY]
        fields = {"product": products[int(draw[1] * len(products))], "strategy": NOBODY, "daily_budget": 1_000}
        return "campaign", "start", self.desks["campaign"].next_key, self.campaign_text() | fields
