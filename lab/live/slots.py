"""What readers of the server's log have before them, looked at while a live run goes on.

PostgreSQL keeps its log for a slot until that has acknowledged it. MariaDB keeps it by rules of its own.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from lab.base import LabError
from lab.tables import TABLES
from lab.truth import Truth
from lab.truth.outlets import LOG, LOG_SUFFIX
from lab.wiring import Plan

# Seconds between two looks.
EVERY = 0.5

# By projection: whether it reads, bytes of the log, their state in the server's words, and what is left.
Looked = Mapping[str, tuple[bool, int, str, int | None]]


class SlotWatch:
    """Looks at the log twice a second, for the projections that are fed by it; without any it does nothing."""

    def __init__(self, plan: Plan, truth: Truth, folder: Path) -> None:
        """`truth` is the run's source of truth, open; `folder` that of its projections."""
        self.rows: list[dict[str, Any]] = []
        self._looks: Callable[[], Looked] | None = None
        fed = [item.name for item in plan.projections if item.feed == LOG]
        if fed and truth.engine == "mariadb":
            self._looks = partial(_binlog, [(name, folder / f"{name}{LOG_SUFFIX}") for name in fed])
        elif fed:
            # Imported here: the driver of the server is there, since the scenario was planned.
            from lab.truth.postgres import Postgres
            from lab.truth.slots import slot_name

            assert isinstance(truth, Postgres)
            self._looks = partial(_slots, {slot_name(truth.on.schema, name): name for name in fed})

    async def run(self) -> None:
        """Look until it is cancelled."""
        while self._looks is not None:
            await asyncio.get_running_loop().run_in_executor(None, self._look, self._looks)
            await asyncio.sleep(EVERY)

    def _look(self, looks: Callable[[], Looked]) -> None:
        """Look once. While the server is away there is nothing to be seen."""
        at = time.time()
        try:
            found = looks()
        except LabError:
            return
        for name, (active, retained, status, safe) in found.items():
            self.rows.append(
                {
                    "projection": name,
                    "at_seconds": at,
                    "active": active,
                    "retained_bytes": retained,
                    "status": status,
                    "safe_bytes": safe,
                }
            )

    def table(self, began: float) -> pl.DataFrame:
        """The table `slots`, its times counted from `began`."""
        rows = [row | {"at_seconds": row["at_seconds"] - began} for row in self.rows if row["at_seconds"] >= began]
        return TABLES["slots"].frame(rows)


def _slots(names: Mapping[str, str]) -> Looked:
    from lab.truth.slots import states

    return {names[state.name]: tuple(state[1:]) for state in states(list(names))}  # type: ignore[misc]


def _binlog(files: list[tuple[str, Path]]) -> Looked:
    from lab.truth.binlog import state

    return {name: found for name, file in files if (found := state(file)) is not None}
