"""`lab new`: write a commented scenario to start from, with the domain's entities and queries."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.base import BadInput, Problem
from lab.domain import OWN_DATA
from lab.domain import domain as find_domain
from lab.domain.trace.reading import CsvReading
from lab.starter.own import WrittenScenario, write_own
from lab.starter.place import free_path, write_valid

__all__ = ["Started", "WrittenScenario", "start", "write_own", "write_starter"]

TEXT = """\
# {name}: change what you like, then `lab run {name}.toml`. Every key is explained in scenarios/README.md.
schema = 1
name = "{name}"
seed = {seed}                # a run with the same seed is the same run

[domain]
name = "{domain}"
{size}
[truth]
model = "history"            # snapshot | history | events
durability = "normal"        # full: a commit survives a power cut, and costs a sync

[catch_up]
every = 1.0                  # seconds between polls of the source of truth

[channel]                    # leave this table out: no messages, catch-up alone
delay = {{ kind = "lognormal", mean = 0.020, sigma = 1.0 }}
duplicate = 0.05             # share of messages that arrive twice
lose = 0.001                 # share of copies that never arrive
reorder = {{ share = 0.10, extra = {{ kind = "exponential", mean = 0.200 }} }}

[[projection]]
name = "table"
store = "sqlite.table"
guard = "revision"           # none | dedupe | revision | ordered
batch = 10_000               # changes taken at once, at the most; equal settings compare the stores alone
linger = 0.1                 # seconds that a batch may wait to fill: lag bought for throughput

[[projection]]
name = "columns"
store = "duckdb.columnar"
guard = "revision"
batch = 10_000
linger = 0.1

[[projection]]
name = "words"               # an index of words, which a table hasn't got
store = "sqlite.search"
guard = "revision"
batch = 10_000
linger = 0.1
"""

WORKLOAD = """records = 1_000

[workload]
commands = 10_000
rate = 1_000.0               # commands per simulated second
arrivals = "poisson"         # poisson | uniform | bursty
skew = 0.8                   # Zipf exponent over the records
deletes = 0.01               # shares of all commands
invalid = 0.02
"""
TRACE = """days = 14                    # leave it out for the whole history
"""


@dataclass(frozen=True)
class Started:
    """The result of `lab new` for one of the lab's domains."""

    path: Path

    def document(self) -> dict[str, Any]:
        """Return the result for `--json`."""
        return {"scenario": str(self.path)}

    def text(self) -> str:
        """Return the result as text."""
        return f"wrote {self.path.name}; next: lab run {self.path.name}"


def start(
    folder: Path, name: str, domain: str | None, file: str | None, own: Mapping[str, Any], seed: int | None,
    overrides: Sequence[str],
) -> Started | WrittenScenario:  # fmt: skip
    """Write `name`.toml into the folder, for a domain or for a file.

    `own` has the options about a file: key, time, deleted, revision, entity, text, header, encoding, null, decimal,
    dates, skip_bad_rows. Raises BadInput if
    one is given without a file, if both a file and a domain are given, or if an option is invalid.
    """
    if file is None:
        given = ["--" + option.replace("_", "-") for option, value in own.items() if value]
        if given:
            raise BadInput([Problem(", ".join(given), "speaks of a file, and there is none", "add --from FILE")])
        return Started(write_starter(folder, name, domain or "employees", seed, overrides))
    if domain not in (None, OWN_DATA):
        raise BadInput([Problem("--domain", "your own data is the domain `trace`", "leave --domain or --from out")])
    told = {role: own[role] for role in ("key", "time", "deleted", "revision") if own.get(role) is not None}
    texts, null = (tuple(word.strip() for word in (own.get(one) or "").split(",") if word) for one in ("text", "null"))
    header = {"yes": True, "no": False}.get(own.get("header") or "")
    how = CsvReading(header, own.get("encoding"), null, own.get("decimal"), own.get("dates"))
    skip = bool(own.get("skip_bad_rows"))
    return write_own(folder, name, file, told, own.get("entity"), texts, skip, seed, overrides, how)


def write_starter(folder: Path, name: str, domain: str, seed: int | None, overrides: Sequence[str]) -> Path:
    """Write `name`.toml into the folder and return its path. Raises BadInput rather than overwrite anything."""
    path = free_path(folder, name, overrides)
    if domain == OWN_DATA:
        raise BadInput([Problem("--domain trace", "your own data begins with a file", "add --from FILE")])
    business = find_domain(domain)
    size = TRACE if business.has_trace else WORKLOAD
    drawn = secrets.randbelow(100_000) if seed is None else seed
    write_valid(path, TEXT.format(name=name, seed=drawn, domain=domain, size=size))
    return path
