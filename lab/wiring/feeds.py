"""How projections are fed: by polls, notifications, an outbox or the log of the source of truth; and what can't be."""

from __future__ import annotations

from lab.base import LabError, Problem
from lab.formatting import listed
from lab.projection.guards import guard_class
from lab.scenario import ProjectionTable, Scenario
from lab.stores.kept import KEPT
from lab.truth import truth_class
from lab.truth.outlets import LOG, OUTBOX, PGOUTPUT, POLL, STREAMS


def kind(table: ProjectionTable, scenario: Scenario) -> str:
    """Return how a projection is fed."""
    return table.feed or scenario.catch_up.feed


def decoder(table: ProjectionTable, scenario: Scenario) -> str:
    """Return the plugin that makes changes of PostgreSQL's log for it."""
    return table.decoder or scenario.catch_up.decoder


def strategy(table: ProjectionTable, scenario: Scenario) -> str:
    """Return its strategy for gaps: of what comes by itself, how it is told up to where that is complete.

    Where the engine doesn't tell, missing positions are waited for, and nothing depends on that but what is told.
    """
    chosen = table.gaps or scenario.catch_up.gaps
    if kind(table, scenario) not in STREAMS or chosen == "serialise":
        return chosen
    return settles(scenario.truth.engine, scenario.truth.model)


def settles(engine: str, model: str) -> str:
    """Return the strategy by which an engine that has streams tells what is settled."""
    try:
        return "horizon" if "horizon" in truth_class(engine, model).strategies else "hold"
    except LabError:
        # An engine that is unknown or not installed is reported as such.
        return "horizon"


def _decoders(table: ProjectionTable, scenario: Scenario, where: str) -> list[Problem]:
    """Refuse a plugin of PostgreSQL's log where that is no feed."""
    logged = scenario.truth.engine == "postgres" and any(kind(one, scenario) == LOG for one in scenario.projection)
    place, named = f"{where}.decoder", table.decoder
    if named is None and table.name == scenario.projection[0].name and scenario.catch_up.decoder != PGOUTPUT:
        # Said once for all of them; refused where none of them is fed by the log.
        place, named = f"{where.partition(':')[0]}: catch_up.decoder", scenario.catch_up.decoder
        if logged:
            return []
    if named is None or (logged and kind(table, scenario) == LOG):
        return []
    what = f"`{named}` decodes the log of PostgreSQL, and that is not how this is fed"
    return [Problem(place, what, 'set feed = "log" and truth.engine = "postgres", or leave decoder out')]


def problems(table: ProjectionTable, keeps: str, scenario: Scenario, where: str) -> list[Problem]:
    """Refuse a feed that the engine, the clock or the projection can't have, with the reason and the way out."""
    feed, truth = kind(table, scenario), scenario.truth
    if (
        refused := _decoders(table, scenario, where)
        + _atomic(table, scenario, where)
        + _forgets(table, keeps, scenario, where)
    ):
        return refused
    if feed == POLL:
        return []
    place = f"{where}.feed" if table.feed else f"{where.partition(':')[0]}: catch_up.feed"
    try:
        feeds = truth_class(truth.engine, truth.model).feeds
    except LabError:
        # An engine that is unknown or not installed is reported as such.
        return []
    if feed not in feeds:
        has = "its readers poll" if feeds == (POLL,) else f"it has {listed([f'`{one}`' for one in feeds])}"
        what, way_out = f"`{truth.engine}` has no `{feed}`: {has}", 'truth.engine = "postgres"'
        return [Problem(place, what, f'set {way_out}, or feed = "poll"')]
    if scenario.time.mode != "live":
        what = f"`{feed}` is for the wall clock: on the simulated one every reader polls"
        return [Problem(place, what, 'run it with --live, or set time.mode = "live"')]
    if table.subscribe == "channel":
        what = f"it lives on messages alone, and `{feed}` is how catch-up is fed"
        return [Problem(place, what, 'subscribe = "catch-up", or leave feed out')]
    return [Problem(place, *told) for told in [_streamed(table, feed, keeps, scenario)] if told]


def _atomic(table: ProjectionTable, scenario: Scenario, where: str) -> list[Problem]:
    """Refuse batches by transaction where something else can part its changes, or where they aren't known."""
    if table.atomic == "batch":
        return []
    refused = {
        "messages bring each change by itself, and one transaction can overtake another": (
            table.subscribe != "catch-up",
            'subscribe = "catch-up"',
        ),
        "a snapshot feed leaves out what was overwritten, so that not every change of a transaction is there": (
            scenario.truth.model == "snapshot",
            'set truth.model to "history" or "events"',
        ),
        "which changes were committed together is known on the simulated clock only": (
            scenario.time.mode == "live",
            "leave it out",
        ),
    }
    return [Problem(f"{where}.atomic", what, way_out) for what, (wrong, way_out) in refused.items() if wrong]


def _forgets(table: ProjectionTable, keeps: str, scenario: Scenario, where: str) -> list[Problem]:
    """Refuse tombstones that expire where no guard goes by them, or where that isn't simulated."""
    kept = table.tombstones
    if kept is None:
        return []
    place = f"{where}.tombstones"
    if kept.seconds is None and kept.rows is None:
        return [Problem(place, "it says no limit", "seconds or rows, or leave it out: then they are kept for ever")]
    if table.guard != "revision" or not KEPT[keeps].replaces:
        what = "only the guard `revision` over records goes by tombstones"
        return [Problem(place, what, 'guard = "revision" and keeps = "records", or leave it out')]
    if table.rebuild is not None:
        return [Problem(place, "a rebuild knows nothing of what was forgotten", "leave `rebuild` out, or this")]
    if scenario.time.mode == "live":
        return [Problem(place, "tombstones expire on the simulated clock only", "leave it out")]
    return []


def _streamed(table: ProjectionTable, feed: str, keeps: str, scenario: Scenario) -> tuple[str, str] | None:
    if feed not in STREAMS:
        return None
    if table.gaps is not None:
        return f"`{feed}` brings what is committed, whatever its position, and has no gaps", "leave gaps out"
    if feed == LOG and scenario.truth.model == "events":
        return "the log of an event-sourced model has events, and a projection takes states", 'feed = "outbox"'
    if feed == LOG and KEPT[keeps].adds and not guard_class(table.guard, KEPT[keeps]).remembers_contributions:
        what = f"adding up under guard `{table.guard}` needs each record as it was before, and the log doesn't have it"
        return what, 'guard = "revision", or feed = "outbox"'
    if feed == OUTBOX and any((other.gaps or scenario.catch_up.gaps) == "xmin" for other in scenario.projection):
        what = "beside a reader with `xmin` writers write rows with the commit, and the outbox has no part in that"
        return what, "leave the projection with `xmin` out"
    if feed == OUTBOX and not scenario.workload.commands:
        return "a history is loaded in bulk, without commands that write into an outbox", 'feed = "log"'
    return None
