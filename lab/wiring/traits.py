"""What tells a projection's folder, and a service's, from one that was made by other settings: see `lab.identity`."""

from __future__ import annotations

from lab.base import Entity
from lab.identity import Identity, Trait
from lab.stores import store_class
from lab.wiring.plan import Plan, ProjectionPlan

PROJECTION, SERVICE = "a projection", "a service"
# Among an identity's notes: what the lab may remove of its folder, or of the folders beside it; separated by spaces.
FILES, PROJECTIONS = "files", "projections"


def projection_identity(plan: Plan, item: ProjectionPlan) -> Identity:
    """Return what the folder of this projection must have been made with to go on; the epoch is a new one."""
    layout, table, where = item.layout, item.table, f"projection.{item.name}"
    traits: dict[str, Trait] = {
        "domain.name": plan.scenario.domain.name,
        f"{where}.store": table.store,
        f"{where}.keeps": layout.keeps,
        f"{where}.guard": table.guard,
    }
    if layout.totals is not None:
        totals = layout.totals
        traits[f"{where}.totals"] = (f"of {totals.entity}", *(f"by {name}" for name in totals.group_by), *totals.sum)
    traits |= {f"columns of {name}": _columns(entity) for name, entity in layout.entities.items()}
    return Identity(PROJECTION, traits, {FILES: " ".join(store_class(table.store).files)})


def service_identity(plan: Plan) -> Identity:
    """Return what the folder of a service must have been made with to go on, beyond what its parts say themselves."""
    return Identity(SERVICE, {"domain.name": plan.scenario.domain.name}, {"scenario": plan.scenario.name})


def _columns(entity: Entity) -> tuple[str, ...]:
    """The columns with their types, and what a shape may make of them: indexes, links, words, embedded parts."""
    return (
        f"key {entity.key}",
        *(f"{name} {entity.told(name)}" for name in entity.columns),
        *(f"index of {'+'.join(columns)}" for columns in entity.indexes),
        *([f"parent {entity.parent}"] if entity.parent else []),
        *(f"words of {name}" for name in entity.texts),
        *(f"embeds {one.entity} by {one.on}: {'+'.join(one.take)}" for one in entity.embeds),
    )
