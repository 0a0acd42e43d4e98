"""A domain of another package: meters that are installed, read, and taken down."""

from lab.base import Entity
from lab.domain.model import Command, Event, EventType, Rejection, evolve

METER = Entity("meter", "int", {"place": "str", "kilowatt_hours": "int"}, indexes=(("place",),))
EVENTS = {
    "installed": EventType(("place", "kilowatt_hours")),
    "read": EventType(("kilowatt_hours",)),
    "removed": EventType(deletes=True),
}
ENTITIES, EVENTS_OF, NONE = {"meter": METER}, {"meter": EVENTS}, {}


class Meters:
    name = "meters"
    entities = ENTITIES
    contracts = totals = NONE
    events = EVENTS_OF
    queries = ({"name": "by_key", "kind": "get", "entity": "meter"},)
    has_trace = False

    def decide(self, view, command):
        record = view.get("meter", command.key)
        if (record is None or record.deleted) != (command.name == "install"):
            return Rejection(("the meter is not there" if record is None else "the meter is there",))
        names = {"install": "installed", "read": "read", "remove": "removed"}
        return (Event(names[command.name], command.fields),)

    def evolve(self, state, event):
        return evolve(state, event)

    def workload(self, options, rng):
        known = options.records or 20
        for number in range(options.commands):
            at, key = number / options.rate, int(rng.integers(known)) + 1
            if number < known:
                yield Command("meter", "install", number + 1, {"place": f"P{key}", "kilowatt_hours": 0}, at=at)
            elif rng.random() < options.deletes:
                yield Command("meter", "remove", key, at=at)
            else:
                yield Command("meter", "read", key, {"kilowatt_hours": int(rng.integers(10**6))}, at=at)

    def trace(self, options):
        raise NotImplementedError


METERS = Meters()
