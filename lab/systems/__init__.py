"""The systems that architects choose from, each with how far the lab has tried it, and what proves that.

A system is not a store: `postgres.table` is a store, PostgreSQL a system. Most systems are here by name alone, with the
embedded store of their family that stands for them. What a row claims, its proof must have shown.
"""

from __future__ import annotations

from lab.systems.databases import DATABASES
from lab.systems.others import OTHERS
from lab.systems.system import LEVELS, ROLES, System

SYSTEMS: dict[str, System] = {one.name: one for one in (*DATABASES, *OTHERS)}

__all__ = ["LEVELS", "ROLES", "SYSTEMS", "System"]
