"""The ledger of one worker: each request that was offered, and what became of it.

What is offered is counted when it is due, and what became of it is a line of `events-N.ndjson`: answered, failed, or
censored, if it was still under way when the load gave up waiting. The two counts are kept apart, so a request that is
forgotten shows (`lab.load.events.unaccounted`).
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# The row of arrivals for which there was nothing to send: no values to ask with yet, or no command left.
NOT_SENT = "NOT-SENT"

# Called with the row, seconds, and why there was no answer (None: there was one).
Tell = Callable[[str, float, str | None], object]


@dataclass(eq=False)
class Offered:
    """A request that was offered: its row, when it was meant to start (seconds since 1970), what is noted with it."""

    row: str
    intended: float
    more: dict[str, Any]


class RequestLedger:
    """Counts what is offered and notes what becomes of it, in the log and by `tell`. Nothing is noted once closed."""

    def __init__(self, part: int, folder: Path | None, tell: Tell) -> None:
        self.part, self.tell = part, tell
        self.offered: Counter[str] = Counter()
        self.counts: Counter[str] = Counter()
        self.under_way: set[Offered] = set()
        self.closed = False
        self._log = None if folder is None else (folder / f"events-{part}.ndjson").open("w", encoding="utf-8")

    def offer(self, row: str, intended: float, **more: Any) -> Offered:
        """Count a request as offered; it is under way until it is concluded."""
        request = Offered(row, intended, more)
        self.offered[row] += 1
        self.under_way.add(request)
        return request

    def conclude(self, request: Offered, failed: str | None = None, censored: bool = False, **more: Any) -> None:
        """Note what became of a request, unless that has been noted: an answer, a failure, or none in time."""
        if request in self.under_way:
            self.under_way.remove(request)
            seconds = time.time() - request.intended
            self._note(request.row, seconds, failed=failed, censored=censored, **(request.more | more))

    def withdraw(self, request: Offered) -> None:
        """Count it as an arrival for which there was nothing to send."""
        if request in self.under_way:
            self.under_way.remove(request)
            self.offered[request.row] -= 1
            self.observe(NOT_SENT, 0.0, began=request.intended)

    def observe(self, row: str, seconds: float, **more: Any) -> None:
        """Note something that is no request, and is over when it is seen."""
        self.offered[row] += 1
        self._note(row, seconds, **more)

    def give_up(self) -> None:
        """Note all that is under way as censored: it has waited at least so long."""
        for request in list(self.under_way):
            self.conclude(request, censored=True)

    def close(self) -> None:
        """Give up, and write the last line of the log: what was offered and what was noted, by row."""
        self.give_up()
        self.closed = True
        if self._log is not None:
            last = {"end": True, "part": self.part, "counts": self.counts, "offered": +self.offered}
            self._log.write(json.dumps(last) + "\n")
            self._log.close()
            self._log = None

    def _note(self, row: str, seconds: float, **more: Any) -> None:
        if self.closed:
            return
        self.counts[row] += 1
        if self._log is not None:
            self._log.write(json.dumps({"row": row, "seconds": seconds, **more}) + "\n")
        self.tell(row, seconds, more.get("failed") or ("no answer in time" if more.get("censored") else None))
