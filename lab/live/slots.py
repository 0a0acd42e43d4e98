"""What the replication slots of a live run keep back of the server's log, looked at while it runs."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import polars as pl

from lab.base import LabError
from lab.tables import TABLES
from lab.truth import Truth
from lab.truth.outlets import LOG
from lab.wiring import Plan

# Seconds between two looks.
EVERY = 0.5


class SlotWatch:
    """Looks at the slots of projections that are fed by the log, twice a second; without any it does nothing."""

    def __init__(self, plan: Plan, truth: Truth) -> None:
        """`truth` is the run's source of truth, open."""
        self._names: dict[str, str] = {}
        self.rows: list[dict[str, Any]] = []
        fed = [item.name for item in plan.projections if item.feed == LOG]
        if fed:
            # Imported here: the driver of the server is there, since the scenario was planned.
            from lab.truth.postgres import Postgres
            from lab.truth.slots import slot_name

            assert isinstance(truth, Postgres)
            self._names = {slot_name(truth.on.schema, name): name for name in fed}

    async def run(self) -> None:
        """Look until it is cancelled."""
        while self._names:
            await asyncio.get_running_loop().run_in_executor(None, self._look)
            await asyncio.sleep(EVERY)

    def _look(self) -> None:
        """Look once. While the server is away there is nothing to be seen."""
        from lab.truth.slots import states

        at = time.time()
        try:
            found = states(list(self._names))
        except LabError:
            return
        for name, active, retained, status, safe in found:
            self.rows.append(
                {
                    "projection": self._names[name],
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
