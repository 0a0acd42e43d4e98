"""`marketing`: a company that runs campaigns for products, pays for them by the day, and sells through agents.

One write model has very different readers: an agent's work list, profit by campaign and day, full-text search, who
recruited whom. A deleted record is a tombstone and accepts no commands.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from lab.base import Entity, Totals
from lab.domain import model
from lab.domain.marketing import rules
from lab.domain.marketing.entities import CONTRACTS, ENTITIES, EVENTS, TOTALS
from lab.domain.marketing.workload import MarketingWorkload
from lab.domain.model import Command, Contract, Event, EventType, Options, Rejection, Trace, View


class Marketing:
    """The decider, its queries and its workload."""

    name = "marketing"
    has_trace = False
    entities: Mapping[str, Entity] = ENTITIES
    contracts: Mapping[str, Contract] = CONTRACTS
    events: Mapping[str, Mapping[str, EventType]] = EVENTS
    totals: Mapping[str, Totals] = TOTALS
    queries: tuple[dict[str, Any], ...] = (
        {
            "name": "work_list", "kind": "filter", "entity": "lead", "weight": 5.0,
            "where": {"agent": "?", "status": "?"}, "order_by": "value", "descending": True, "limit": 50,
        },
        {"name": "campaign_by_id", "kind": "get", "entity": "campaign", "weight": 5.0},
        {"name": "campaigns_about", "kind": "search", "entity": "campaign", "limit": 20, "weight": 3.0},
        {"name": "creative_by_id", "kind": "get", "entity": "creative", "weight": 5.0},
        {"name": "creatives_by_id", "kind": "get_many", "entity": "creative", "count": 10},
        {
            "name": "profit_by_campaign", "kind": "aggregate", "entity": "spend",
            "group_by": ["campaign"], "sum": ["amount", "revenue", "profit"],
        },
        {
            "name": "profit_by_campaign_and_day", "kind": "aggregate", "entity": "spend",
            "group_by": ["campaign", "day"], "sum": ["amount", "revenue", "profit"],
        },
        {
            "name": "campaigns_with_product", "kind": "join", "entity": "campaign", "on": "product", "to": "product",
            "take": ["name", "category", "price"], "where": {"status": "?"}, "limit": 50,
        },
        {
            "name": "agents_of_region", "kind": "filter", "entity": "agent",
            "where": {"region": "?"}, "order_by": "name", "limit": 50,
        },
        {"name": "recruited_below", "kind": "traverse", "entity": "agent"},
        {"name": "line_between_agents", "kind": "traverse", "entity": "agent", "walk": "path"},
        {"name": "lead_as_of", "kind": "as_of", "entity": "lead"},
        {"name": "lead_history", "kind": "history", "entity": "lead"},
    )  # fmt: skip

    def decide(self, view: View, command: Command) -> tuple[Event, ...] | Rejection:
        """Return the event of a valid command, or every reason against an invalid one."""
        return rules.decide(view, command)

    evolve = staticmethod(model.evolve)

    def workload(self, options: Options, rng: np.random.Generator) -> Iterator[Command]:
        """Draw the commands: master data first, then mostly leads and spend, which select records by a Zipf law."""
        return MarketingWorkload(options, rng).commands()

    def trace(self, options: Options) -> Trace:
        """Raise NotImplementedError: the history of the company is made by commands."""
        raise NotImplementedError


MARKETING = Marketing()
