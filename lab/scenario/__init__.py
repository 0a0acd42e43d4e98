"""Scenario files: TOML in, a frozen `Scenario` out, or every problem at once.

`tables` has the keys with their types and ranges, and `source` reads a file and applies `--set`. Whether a name
refers to something that exists (a store, a domain, a column) is checked in `lab.wiring`.
"""

from lab.scenario.source import Source, question, refuse
from lab.scenario.tables import (
    NAME,
    ChannelFaults,
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
    "ChannelFaults",
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
