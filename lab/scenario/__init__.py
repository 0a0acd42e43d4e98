"""The file a person writes, validated: TOML in, a frozen `Scenario` out, or every problem at once.

This room knows the words' shapes and ranges (`tables`) and how a file and `--set` become them (`source`). Whether a
word names something that exists (a store, a domain, a column) is decided in `lab.wiring`, which is the only place
that turns words into objects.
"""

from lab.scenario.source import Source, question, refuse
from lab.scenario.tables import (
    NAME,
    ChannelTable,
    CheckpointOrder,
    CrashStep,
    Delay,
    DomainTable,
    EntityTable,
    FaultsTable,
    GapStrategy,
    LevelsTable,
    Outage,
    ProjectionTable,
    QueryTable,
    ReadersTable,
    RebuildTable,
    Reorder,
    Scenario,
    ScheduledCrash,
    ServiceModel,
    Sleep,
    Slow,
    WritersTable,
)

__all__ = [
    "NAME",
    "ChannelTable",
    "CheckpointOrder",
    "CrashStep",
    "Delay",
    "DomainTable",
    "EntityTable",
    "FaultsTable",
    "GapStrategy",
    "LevelsTable",
    "Outage",
    "ProjectionTable",
    "QueryTable",
    "ReadersTable",
    "RebuildTable",
    "Reorder",
    "Scenario",
    "ScheduledCrash",
    "ServiceModel",
    "Sleep",
    "Slow",
    "Source",
    "WritersTable",
    "question",
    "refuse",
]
