"""Entities, events and running aggregates of the marketing company, and the contract of agents.

The write model of an agent changes during a run: `name` becomes `first_name` and `last_name`. The published agent has
a `name` before, during and after.
"""

from __future__ import annotations

import polars as pl

from lab.base import Embed, Entity, Totals
from lab.domain.model import Contract, EventType, State

PRODUCT = Entity(name="product", key="int", columns={"name": "str", "category": "str", "price": "int"})
STRATEGY = Entity(name="strategy", key="int", columns={"name": "str", "channel": "str", "audience": "str"})
CREATIVE = Entity(
    name="creative",
    key="int",
    columns={"product": "int", "headline": "str", "body": "str"},
    texts=("headline", "body"),
)
CAMPAIGN = Entity(
    name="campaign", key="int",
    columns={"name": "str", "description": "str", "product": "int", "strategy": "int", "daily_budget": "int",
             "status": "str"},
    indexes=(("status",),), texts=("name", "description"),
    embeds=(Embed("product", "product", ("name", "category", "price")),),
)  # fmt: skip
AGENT = Entity(
    name="agent", key="int",
    columns={"name": "str", "first_name": "str", "last_name": "str", "recruiter": "int", "region": "str"},
    parent="recruiter",
)  # fmt: skip
LEAD = Entity(
    name="lead", key="int",
    columns={"campaign": "int", "agent": "int", "status": "str", "value": "int"},
    indexes=(("agent", "status", "value"),),
)  # fmt: skip
# A record for each campaign and day; its key is `spend_key` of the two. Amounts are in whole cents.
SPEND = Entity(
    name="spend", key="str",
    columns={"campaign": "int", "day": "int", "amount": "int", "revenue": "int", "profit": "int"},
    indexes=(("campaign", "day"),),
)  # fmt: skip
ENTITIES = {entity.name: entity for entity in (PRODUCT, STRATEGY, CREATIVE, CAMPAIGN, AGENT, LEAD, SPEND)}

CATEGORIES = ("books", "clothes", "garden", "kitchen", "music", "sports", "tools", "toys")
CHANNELS = ("letters", "mail", "posters", "radio", "search", "social")
REGIONS = ("centre", "east", "north", "south", "west")

EVENTS: dict[str, dict[str, EventType]] = {
    "product": {
        "launched": EventType(tuple(PRODUCT.columns)),
        "repriced": EventType(("price",)),
        "discontinued": EventType((), deletes=True),
    },
    "strategy": {
        "adopted": EventType(tuple(STRATEGY.columns)),
        "refocused": EventType(("audience",)),
        "dropped": EventType((), deletes=True),
    },
    "creative": {
        "written": EventType(tuple(CREATIVE.columns)),
        "revised": EventType(("headline", "body")),
        "withdrawn": EventType((), deletes=True),
    },
    "campaign": {
        "started": EventType(tuple(CAMPAIGN.columns)),
        "described": EventType(("name", "description")),
        "budget_set": EventType(("daily_budget",)),
        "paused": EventType(("status",)),
        "resumed": EventType(("status",)),
        "closed": EventType(("status",), deletes=True),
    },
    "agent": {
        "recruited": EventType(tuple(AGENT.columns)),
        "renamed": EventType(("name", "first_name", "last_name")),
        "name_split": EventType(("name", "first_name", "last_name")),
        "handed_over": EventType(("recruiter",)),
        "dismissed": EventType((), deletes=True),
    },
    "lead": {
        "captured": EventType(tuple(LEAD.columns)),
        "assigned": EventType(("agent", "status")),
        "contacted": EventType(("status",)),
        "won": EventType(("status", "value")),
        "lost": EventType(("status",)),
        "discarded": EventType((), deletes=True),
    },
    "spend": {
        "booked": EventType(tuple(SPEND.columns)),
        "added": EventType(("amount", "revenue", "profit")),
        "voided": EventType((), deletes=True),
    },
}

TOTALS = {
    "profit_by_campaign": Totals("spend", ("campaign",), ("amount", "revenue", "profit")),
    "profit_by_day": Totals("spend", ("day",), ("amount", "revenue", "profit")),
    "agents_by_region": Totals("agent", ("region",)),
    "leads_by_agent": Totals("lead", ("agent", "status"), ("value",)),
}


def spend_key(campaign: int, day: int) -> str:
    """Return the key of a campaign's spend on a day."""
    return f"{campaign}-{day}"


def split(name: str) -> tuple[str, str | None]:
    """Split a name into the first name and the rest (None if there is none); the inverse of `joined`."""
    first, _, last = name.partition(" ")
    return first, last or None


def joined(first: str, last: str | None) -> str:
    """Join a first and a last name."""
    return first if last is None else f"{first} {last}"


def publish_agent(state: State) -> State:
    """Return the published agent, with a `name` in either format of the write model."""
    name = state["name"]
    if name is None and state["first_name"] is not None:
        name = joined(state["first_name"], state["last_name"])
    return {"name": name, "recruiter": state["recruiter"], "region": state["region"]}


CONTRACTS = {
    "agent": Contract(
        entity=Entity(
            name="agent",
            key="int",
            columns={"name": "str", "recruiter": "int", "region": "str"},
            parent="recruiter",
        ),
        publish=publish_agent,
        expressions={
            "name": pl.coalesce("name", pl.concat_str("first_name", "last_name", separator=" "), "first_name")
        },
    )
}
