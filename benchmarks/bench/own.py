"""Own data of any size: a file of orders that change, written a part at a time, and a scenario that replays it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

# Rows that are made together, and changes of a record on average.
AT_ONCE, CHANGES_EACH = 1_000_000, 5
STATES = ("placed", "paid", "packed", "sent", "returned", "closed")
SCENARIO = """
schema = 1
name = "own"
seed = 1

[domain]
name = "trace"
time_scale = {scale}

[[domain.entity]]
name = "order"
file = "orders.parquet"
format = "parquet"
key = ["id"]
time = "at"

[domain.entity.columns]
id = "int"
at = "float"
status = "str"
amount = "float"
quantity = "int"
note = "str"
region = "str"

[truth]
model = "history"

[catch_up]
page = 50_000

[channel]
delay = {{ kind = "lognormal", mean = 0.020, sigma = 1.0 }}
duplicate = 0.05
lose = 0.001
reorder = {{ share = 0.10, extra = {{ kind = "exponential", mean = 0.200 }} }}

[time]
service = "modelled"
model = {{ per_batch = 0.000_5, per_row = 0.000_001 }}

[measure]
samples = 5
budget = 0.1
trials = false

[[query]]
name = "by_key"
kind = "get"
entity = "order"

[[query]]
name = "per_status"
kind = "aggregate"
entity = "order"
group_by = ["status"]
sum = ["amount"]
"""
PROJECTION = """
[[projection]]
name = "{name}"
store = "{store}"
guard = "revision"
subscribe = "both"
batch = 50_000
linger = 0.25
"""


def written(folder: Path, changes: int, stores: tuple[str, ...]) -> Path:
    """Write so many changes and a scenario of a minute that projects them into these stores; return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    parts = [folder / f"{number:05}.part" for number in range(-(-changes // AT_ONCE))]
    for number, part in enumerate(parts):
        first = number * AT_ONCE
        _rows(first, min(AT_ONCE, changes - first), changes).write_parquet(part)
    pl.scan_parquet(parts).sink_parquet(folder / "orders.parquet")
    for part in parts:
        part.unlink()
    text = SCENARIO.format(scale=changes / 60)
    path = folder / "own.toml"
    path.write_text(text + "".join(PROJECTION.format(name=store.replace(".", "-"), store=store) for store in stores))
    return path


def _rows(first: int, rows: int, changes: int) -> pl.DataFrame:
    """So many changes, a second apart on average."""
    random = np.random.default_rng([5, first])
    at = 1_700_000_000 + first + np.sort(random.random(rows)) * rows
    number = random.integers(0, max(1, changes // CHANGES_EACH), rows)
    return pl.DataFrame(
        {
            "id": number,
            "at": np.round(at, 3),
            "status": np.array(STATES)[random.integers(0, len(STATES), rows)],
            "amount": np.round(random.gamma(2, 30, rows), 2),
            "quantity": random.integers(1, 50, rows),
            "note": random.integers(0, 10**6, rows),
        }
    ).with_columns(
        pl.format("region {}", pl.col("id") % 40).alias("region"), pl.format("note number {}", "note").alias("note")
    )
