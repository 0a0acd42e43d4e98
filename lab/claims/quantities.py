"""The quantities that a claim can name: their arguments, their units, and how each comes about."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

# Exponents of seconds and of bytes: a rate is (-1, 0), a share or a number of things (0, 0).
Dimension = tuple[int, int]
NUMBER: Dimension = (0, 0)
SECONDS: Dimension = (1, 0)
BYTES: Dimension = (0, 1)
PER_SECOND: Dimension = (-1, 0)

# The units of numbers in a claim, and what each stands for in seconds, bytes or as a share.
UNITS: dict[str, tuple[float, Dimension]] = {
    "s": (1.0, SECONDS),
    "ms": (1e-3, SECONDS),
    "us": (1e-6, SECONDS),
    "µs": (1e-6, SECONDS),
    "%": (0.01, NUMBER),
    "B": (1.0, BYTES),
    "kB": (1e3, BYTES),
    "MB": (1e6, BYTES),
    "GB": (1e9, BYTES),
}

# `counted`: established by the oracle, and exact for the repetition. `simulated`: on the simulated clock, so it varies
# with the machine where the stores' work is measured. `measured`: on the wall clock.
Origin = Literal["counted", "simulated", "measured"]


@dataclass(frozen=True)
class Quantity:
    """One quantity. `arguments` are the kinds of its arguments; those whose kind ends with `?` may be left out.

    A `withheld` one is not told of a projection that doesn't pass its checks. `shown` says what its numbers are:
    durations, sizes, shares, or plain ones.
    """

    name: str
    arguments: tuple[str, ...]
    dimension: Dimension
    origin: Origin
    meaning: str
    withheld: bool = True
    shown: Literal["", "share"] = ""

    @property
    def required(self) -> int:
        """Return how many arguments it needs at the least."""
        return sum(not kind.endswith("?") for kind in self.arguments)

    @property
    def usage(self) -> str:
        """Return how it is written: `query(PROJECTION, QUERY[, TEMPERATURE])`."""
        needed = [kind.upper() for kind in self.arguments[: self.required]]
        left_out = "".join(f"[, {kind.rstrip('?').upper()}]" for kind in self.arguments[self.required :])
        return f"{self.name}({', '.join(needed)}{left_out})"


_OF = ("projection",)
_VISITED = ("page", "policy")
_ASKED = ("projection", "query", "temperature?")


def _lag(name: str, meaning: str) -> Quantity:
    return Quantity(name, _OF, SECONDS, "simulated", f"{meaning} of the consistency lag; infinite where it falls on a "
                    "change that never became visible")  # fmt: skip


def _account(name: str, meaning: str) -> Quantity:
    return Quantity(name, _OF, NUMBER, "counted", f"number of changes: {meaning}", withheld=False)


_ALL = (
    _lag("lag_p50", "the median"),
    _lag("lag_p90", "the p90"),
    _lag("lag_p99", "the p99"),
    _lag("lag_max", "the largest"),
    Quantity(
        "never_visible", _OF, NUMBER, "simulated", "share of its changes that never became visible", False, "share"
    ),
    Quantity(
        "stale",
        _OF,
        NUMBER,
        "simulated",
        "share of the run's time in which a committed change was not visible",
        shown="share",
    ),
    Quantity(
        "violations",
        ("projection", "check?"),
        NUMBER,
        "counted",
        "number of violations that a check found; of all checks that could be made where none is named",
        withheld=False,
    ),
    _account("applied", "written"),
    _account("superseded", "made unnecessary by a later revision"),
    _account("duplicates", "delivered again"),
    _account("parked", "set aside at the end of the run"),
    _account("skipped", "given up and reported"),
    _account("pending", "never delivered"),
    Quantity("rebuild", _OF, SECONDS, "measured", "time of a rebuild from position 0"),
    Quantity("disk", _OF, BYTES, "measured", "size of its store, built anew and closed"),
    Quantity(
        "query",
        _ASKED,
        SECONDS,
        "measured",
        "the median of a query's time, `hot` or `cold`; `truth` as the projection is the source of truth",
    ),
    Quantity("query_p99", _ASKED, SECONDS, "measured", "the p99 of it"),
    Quantity("rate", (), PER_SECOND, "measured", "commands a second of the source of truth"),
    Quantity("write_p50", (), SECONDS, "measured", "the median time of a command at the source of truth"),
    Quantity("write_p99", (), SECONDS, "measured", "the p99 of it"),
    Quantity(
        "consistent_at_once",
        (),
        NUMBER,
        "simulated",
        "with `[replicas]`: share of the reads that are consistent right after the acknowledgement",
        shown="share",
    ),
    Quantity(
        "fresh_p99", (), SECONDS, "simulated", "with `[replicas]`: after which 99 of 100 reads are consistent"
    ),
    Quantity("fresh_p999", (), SECONDS, "simulated", "the same for 999 of 1,000"),
    Quantity(
        "mixed_cuts",
        _VISITED,
        NUMBER,
        "counted",
        "with `[[page]]`: share of a page's answered visits whose parts show no one cut, under a policy",
        withheld=False,
        shown="share",
    ),
    Quantity(
        "dangling_ids",
        _VISITED,
        NUMBER,
        "counted",
        "with `[[page]]`: how often a part didn't have a record that the first part had found",
        withheld=False,
    ),
)  # fmt: skip

QUANTITIES: dict[str, Quantity] = {quantity.name: quantity for quantity in _ALL}
