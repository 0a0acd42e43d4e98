"""Say how several processes shared a projection: hand-overs, kills, and what the store refused as stale."""

from __future__ import annotations

from typing import Any

import polars as pl

from lab.formatting import count, plural

Row = dict[str, Any]


def shared_rows(table: pl.DataFrame) -> list[Row]:
    """Return a row for each projection: partitions, members, hand-overs, kills, and what was refused as stale."""
    return [_row(str(name[0]), some) for name, some in table.group_by("projection", maintain_order=True)]


def _row(name: str, some: pl.DataFrame) -> Row:
    partitions = some["partition"].n_unique()
    return {
        "projection": name,
        "partitions": partitions,
        "members": some["member"].n_unique(),
        # Before the scenario's first moment members find each other.
        "handovers": some.filter(pl.col("from_seconds") > 0).height,
        "killed": some.filter(pl.col("ended") == "killed").height,
        "stale_owners": some.filter(pl.col("ended") == "refused as stale").height,
        "stale": int(some["stale"].sum()),
    }


def on_sharing(table: pl.DataFrame) -> str:
    """Describe in a sentence for each projection what became of its partitions."""
    told = []
    for row in shared_rows(table):
        shared = plural(row["partitions"], "partition"), plural(row["members"], "member")
        said = f"{row['projection']}: {shared[0]}, shared by {shared[1]}"
        said += f"; {plural(row['handovers'], 'assignment')} to another owner, or to the same one anew, in the run"
        if row["killed"]:
            said += f"; {count(row['killed'])} ended with a kill"
        if row["stale_owners"]:
            said += f"; {plural(row['stale_owners'], 'owner')} wrote after being replaced, and the store refused "
            said += plural(row["stale"], "change")
        told.append(f"{said}.")
    return " ".join(told)
