"""Rules for products, strategies, creatives, campaigns and spend."""

from __future__ import annotations

from lab.domain.marketing.cases import CommandCase, Found, among, live, of_running, positive, running, words
from lab.domain.marketing.entities import CATEGORIES, CHANNELS, spend_key

# Products, strategies, creatives


def launch(case: CommandCase) -> Found:
    """Launch a product with a name, a known category and a price."""
    fields = case.fields
    return words(fields, "name") + among(fields, "category", CATEGORIES) + positive(fields, "price"), dict(fields)


def reprice(case: CommandCase) -> Found:
    """Set a product's price, above 0."""
    return positive(case.fields, "price"), dict(case.fields)


def adopt(case: CommandCase) -> Found:
    """Adopt a strategy with a known channel and an audience."""
    return words(case.fields, "name", "audience") + among(case.fields, "channel", CHANNELS), dict(case.fields)


def refocus(case: CommandCase) -> Found:
    """Set a strategy's audience, which must not be empty."""
    return words(case.fields, "audience"), dict(case.fields)


def write(case: CommandCase) -> Found:
    """Write a creative about a live product, with a headline and a body."""
    reasons = words(case.fields, "headline", "body") + live(case.view, "product", case.fields["product"])
    return reasons, dict(case.fields)


def revise(case: CommandCase) -> Found:
    """Revise the texts of a creative, which must not be empty."""
    return words(case.fields, "headline", "body"), dict(case.fields)


# Campaigns


def start(case: CommandCase) -> Found:
    """Start a campaign for a live product, with a live strategy and a budget."""
    fields = case.fields
    reasons = words(fields, "name", "description") + positive(fields, "daily_budget")
    reasons += live(case.view, "product", fields["product"]) + live(case.view, "strategy", fields["strategy"])
    return reasons, {**fields, "status": "running"}


def describe(case: CommandCase) -> Found:
    """Set a campaign's name and description, which must not be empty."""
    return words(case.fields, "name", "description"), dict(case.fields)


def set_budget(case: CommandCase) -> Found:
    """Set a campaign's daily budget, above 0; earlier spend is unaffected."""
    return positive(case.fields, "daily_budget"), dict(case.fields)


def pause(case: CommandCase) -> Found:
    """Pause a running campaign."""
    return running(case.key, case.state), {"status": "paused"}


def resume(case: CommandCase) -> Found:
    """Resume a paused campaign whose product is live."""
    reasons = [] if case.state["status"] == "paused" else [f"campaign {case.key} is running already"]
    return reasons + live(case.view, "product", case.state["product"]), {"status": "running"}


def close(_: CommandCase) -> Found:
    """Close a campaign for good."""
    return [], {"status": "closed"}


# Spend


def book(case: CommandCase) -> Found:
    """Book spend of a running campaign; all bookings of a day together must be within its daily budget."""
    fields = case.fields
    campaign, day = fields["campaign"], fields["day"]
    reasons, state = of_running(case.view, campaign)
    if case.key != spend_key(campaign, day):
        reasons.append(f"the key of this spend is {spend_key(campaign, day)}, not {case.key}")
    if day < 0:
        reasons.append("days are counted from 0")
    reasons += positive(fields, "amount")
    if fields["revenue"] < 0:
        reasons.append("a revenue is no negative amount")
    amount = case.state.get("amount", 0) + fields["amount"]
    revenue = case.state.get("revenue", 0) + fields["revenue"]
    if state and amount > state["daily_budget"]:
        reasons.append(f"{amount} is more than the daily budget of campaign {campaign}, {state['daily_budget']}")
    sums = {"amount": amount, "revenue": revenue, "profit": revenue - amount}
    return reasons, sums if case.state else {"campaign": campaign, "day": day} | sums
