"""Take a claim's quantities from a finished run: a value for each repetition, and the interval within a single one."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import polars as pl

from lab.base import TRUTH
from lab.claims.expression import Bounds, Call
from lab.runs import Run
from lab.statistics.intervals import CONFIDENCE, few
from lab.statistics.quantiles import samples_needed
from lab.statistics.student import t_quantile

_HOST_ONLY = "null"
# The check without which a projection has no verdict: of a store whose content is unknown, nothing is proved.
PROOF = "converged"
_FIGURES = {"query": "query_p50"}
# When reads of replicas are consistent: the columns, and the shares of the reads that they are about.
_FRESH = {"fresh_p99": ("fresh_p99_seconds", 0.99), "fresh_p999": ("fresh_p999_seconds", 0.999)}
# Of pages: the columns of the table `pages`.
_OF_PAGES = {"mixed_cuts": "mixed_share", "dangling_ids": "dangling"}
_OF_ACCOUNTING = ("applied", "superseded", "duplicates", "parked", "skipped", "pending")
# So many degrees of freedom that Student's t is the normal distribution.
_NORMAL = 1e9


@dataclass(frozen=True)
class ClaimReading:
    """What a run says of a quantity: `values` has one of each repetition, or is empty for a `reason`.

    `within` are the ends of the 95 % interval of a run of one repetition; None where its samples give none, for
    `within_reason`.
    """

    values: tuple[float, ...] = ()
    reason: str = ""
    within: Bounds | None = None
    within_reason: str = ""


class Readings:
    """The quantities of one run. `figures` is the function of `lab.measure.figures`, called when one is needed."""

    def __init__(self, run: Run, figures: Callable[[Run], pl.DataFrame]) -> None:
        self.run, self._figures_of = run, figures
        self.repetitions = run.repetitions

    @cached_property
    def figures(self) -> pl.DataFrame:
        """Return the figures of the run, a row each."""
        return self._figures_of(self.run)

    @cached_property
    def modelled(self) -> bool:
        """Return whether its lags follow from the seed alone."""
        clocks: Mapping[str, Any] = self.run.manifest.get("clocks") or {}
        return str(clocks.get("lag", "")).endswith("modelled")

    @cached_property
    def _each(self) -> list[Run]:
        return [self.run.repetition(number) for number in range(1, self.repetitions + 1)]

    @cached_property
    def _withheld(self) -> dict[str, str]:
        """The projections whose figures are not told, with their verdicts."""
        found = {
            entry["name"]: str(entry["verdict"])
            for entry in self.run.manifest["projections"]
            if entry["verdict"] == "fail" or (entry["verdict"] != "pass" and entry["store"] != _HOST_ONLY)
        }
        if (self.run.manifest.get("truth") or {}).get("answers") == "fail":
            found[TRUTH] = "fail"
        return found

    def of(self, call: Call) -> ClaimReading:
        """Return what the run says of a quantity."""
        name, projection = call.quantity.name, call.argument("projection")
        if call.quantity.withheld and projection in self._withheld:
            verdict = self._withheld[projection]
            return ClaimReading(reason=f"`{projection}` has the verdict {verdict}, so its figures are withheld")
        if name == "violations":
            return self._violations(str(projection), call.argument("check"))
        if name in _OF_ACCOUNTING:
            return self._counted(name, str(projection))
        if name in _OF_PAGES:
            return self._of_page(_OF_PAGES[name], str(call.argument("page")), str(call.argument("policy")))
        if name == "consistent_at_once":
            return self._consistent_at_once()
        return self._fresh(name) if name in _FRESH else self._figure(call)

    def _violations(self, projection: str, check: str | None) -> ClaimReading:
        """The number of violations; without a check of all that were made, if they could show what it holds at all."""
        values = []
        for one in self._each:
            rows = one.table("verdicts").filter(projection=projection)
            proof = rows.filter(check=check or PROOF)
            if proof.is_empty() or (proof["verdict"] == "unknown").any():
                return ClaimReading(reason=f"`{check or PROOF}` of `{projection}` is unknown: {_why(proof)}")
            values.append(float((rows if check is None else proof)["count"].sum()))
        return ClaimReading(tuple(values))

    def _counted(self, column: str, projection: str) -> ClaimReading:
        rows = [one.table("accounting").filter(projection=projection) for one in self._each]
        if any(row.is_empty() for row in rows):
            return ClaimReading(reason=f"the changes of `{projection}` were not counted")
        return ClaimReading(tuple(float(row[column].sum()) for row in rows))

    def _of_page(self, column: str, page: str, policy: str) -> ClaimReading:
        rows = [one.table("pages").filter(page=page, policy=policy) for one in self._each]
        if any(row.is_empty() for row in rows):
            return ClaimReading(reason=f"`{page}` was not visited")
        told = [row.row(0, named=True) for row in rows]
        if untold := next((row for row in told if row[column] is None), None):
            return ClaimReading(reason=untold["reason"] or f"no visit to `{page}` was answered under `{policy}`")
        return ClaimReading(tuple(float(row[column]) for row in told))

    @cached_property
    def _replicas(self) -> list[dict[str, Any]] | str:
        """The row of each repetition about reads of replicas; else the reason why there is none."""
        rows = [one.table("replicas") for one in self._each]
        if any(row.is_empty() for row in rows):
            return "the replicas were not read"
        found = [row.row(0, named=True) for row in rows]
        if unread := sum(not row["reads"] for row in found):
            often = f" in {unread} of {len(found)} repetitions" if len(found) > 1 else ""
            return f"no write was acknowledged{often}, so nothing was read"
        return found

    def _consistent_at_once(self) -> ClaimReading:
        if isinstance(rows := self._replicas, str):
            return ClaimReading(reason=rows)
        values = tuple(float(row["consistent_at_once"]) for row in rows)
        return ClaimReading(values, within=_of_share(values[0], int(rows[0]["reads"])))

    def _fresh(self, name: str) -> ClaimReading:
        if isinstance(rows := self._replicas, str):
            return ClaimReading(reason=rows)
        column, share = _FRESH[name]
        needed, least = samples_needed(share), min(int(row["reads"]) for row in rows)
        if least < needed:
            return ClaimReading(reason=f"{name}() is not told: {few(least, needed)}")
        values = tuple(math.inf if row[column] is None else float(row[column]) for row in rows)
        return ClaimReading(values, within_reason="it has no interval within a repetition")

    def _figure(self, call: Call) -> ClaimReading:
        name, query = call.quantity.name, call.argument("query")
        which = (pl.col("quantity") == _FIGURES.get(name, name)) & (
            pl.col("projection") == (call.argument("projection") or "")
        )
        if query is not None:
            which &= pl.col("query") == query
        if (temperature := call.argument("temperature")) is not None:
            which &= pl.col("temperature") == temperature
        rows = self.figures.filter(which)
        if rows.is_empty():
            return ClaimReading(reason=f"{call} was not measured")
        row = rows.row(0, named=True)
        if any(value is None for value in row["values"]):
            return ClaimReading(reason=f"{call} is not told: {row['reason'] or 'there is nothing to measure'}")
        values = tuple(float(value) for value in row["values"])
        if row["low"] is None and row["high"] is None:
            return ClaimReading(values, within_reason=str(row["reason"] or ""))
        low, high = row["low"], row["high"]
        within = (0.0 if low is None else float(low), math.inf if high is None else float(high))
        return ClaimReading(values, within=within, within_reason=str(row["reason"] or ""))


def _why(rows: pl.DataFrame) -> str:
    unknown = rows.filter(verdict="unknown")
    texts = [" ".join(str(text).split()) for text in unknown["witness"].drop_nulls()]
    return next(filter(None, texts), "the check was not made")


def _of_share(share: float, count: int) -> Bounds:
    """Return the 95 % interval of a share of so many independent ones (E. B. Wilson, 1927)."""
    z = t_quantile(_NORMAL, (1 + CONFIDENCE) / 2)
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    wide = z / (1 + z * z / count) * math.sqrt(share * (1 - share) / count + (z / (2 * count)) ** 2)
    return max(0.0, middle - wide), min(1.0, middle + wide)
