"""Scenario files: TOML in, a frozen `Scenario` out, or every problem at once.

`tables` has the keys with their types and ranges, and `source` reads a file and applies `--set`. Whether a name
refers to something that exists (a store, a domain, a column) is checked in `lab.wiring`.
"""

from lab.scenario.chance import Delay, DelayLaw, DelayPart, ServiceModel
from lab.scenario.faults import CrashStep, FaultsTable, RebuildTable, ScheduledCrash, Slow
from lab.scenario.own_data import EntityTable, FileFormat, LinkTable
from lab.scenario.pages import PageStepTable, PageTable
from lab.scenario.replicas import ReadersTable, ReplicasTable
from lab.scenario.source import AdviceQuestion, Source, question, refusal, refuse
from lab.scenario.tables import (
    AdviceTable,
    ChannelFaults,
    ChannelTable,
    CheckpointOrder,
    ClaimTable,
    DomainTable,
    GapStrategy,
    LevelsTable,
    Outage,
    ProjectionTable,
    QueryTable,
    Reorder,
    Scenario,
    Sleep,
    WritersTable,
)
from lab.scenario.values import NAME
from lab.scenario.vary import VaryTable

__all__ = [
    "NAME",
    "AdviceQuestion",
    "AdviceTable",
    "ChannelFaults",
    "ChannelTable",
    "CheckpointOrder",
    "ClaimTable",
    "CrashStep",
    "Delay",
    "DelayLaw",
    "DelayPart",
    "DomainTable",
    "EntityTable",
    "FaultsTable",
    "FileFormat",
    "GapStrategy",
    "LevelsTable",
    "LinkTable",
    "Outage",
    "PageStepTable",
    "PageTable",
    "ProjectionTable",
    "QueryTable",
    "ReadersTable",
    "RebuildTable",
    "Reorder",
    "ReplicasTable",
    "Scenario",
    "ScheduledCrash",
    "ServiceModel",
    "Sleep",
    "Slow",
    "Source",
    "VaryTable",
    "WritersTable",
    "question",
    "refusal",
    "refuse",
]
