"""`lab new`: a commented scenario to start from, filled with what the domain has."""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from pathlib import Path

from lab.base import BadInput, Problem
from lab.domain import domain as find_domain
from lab.scenario import NAME, Source
from lab.wiring import plan

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
batch = 1_000                # changes taken at once, at the most
linger = 0.1                 # seconds that a batch may wait to fill: lag bought for throughput

[[projection]]
name = "columns"
store = "duckdb.columnar"
guard = "revision"
batch = 10_000
linger = 1.0
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


def write_starter(folder: Path, name: str, domain: str, seed: int | None, overrides: Sequence[str]) -> Path:
    """Write `name`.toml into the folder and return its path. Raises BadInput rather than overwrite anything."""
    path = folder / f"{name}.toml"
    if overrides:
        raise BadInput(
            [Problem("--set", "there is no scenario yet to set it in", "edit the file that `lab new` writes")]
        )
    if not re.fullmatch(NAME, name):
        what = "not a scenario's name: a letter, then letters, digits, - and _"
        raise BadInput([Problem(f"NAME {name!r}", what, "for example `lab new mine`")])
    if path.exists():
        raise BadInput([Problem(str(path.name), "is there already", "choose another name, or move it away")])
    business = find_domain(domain)
    size = TRACE if business.has_trace else WORKLOAD
    drawn = secrets.randbelow(100_000) if seed is None else seed
    path.write_text(TEXT.format(name=name, seed=drawn, domain=domain, size=size), encoding="utf-8")
    try:
        plan(Source(path))
    except BadInput:
        path.unlink()
        raise
    return path
