"""Your own data, as it was found lying about: remarks above a header, prices like keys, keys with fractions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from owndata import SMALL, new, refused, runs
from running import call

# Reports have tests of their own.
pytestmark = pytest.mark.usefixtures("quick", "here")


def key(told: dict[str, Any]) -> list[str]:
    return list(told["guessed"]["key"]["columns"])


def test_remarks_above_the_header_of_a_csv_are_passed_over() -> None:
    days = [f"1990-{month:02}-01" for month in range(1, 13)]
    rows = "".join(f"{day},{place / 8 if place % 3 else ''},^x\n" for place, day in enumerate(days))
    Path("stocks.csv").write_text(f"# Source: somewhere, by somebody\n# more\nDate,^IBM,sign\n{rows}1990-13-01,1,x,y\n")
    found = new("stocks.csv", "--skip-bad-rows")
    assert found["rows"] == 12
    assert found["bad_rows"] == 1
    # Where nothing else is unique, the times are the key as well.
    assert key(found) == found["guessed"]["time"]["columns"] == ["Date"]
    runs()


def test_the_line_of_a_malformed_row_counts_the_remarks() -> None:
    Path("some.csv").write_text("# a remark\nid,n\n1,2\n2,3,4\n3,4\n")
    assert "some.csv, line 4" in refused("some.csv")


def test_a_header_may_begin_with_a_hash() -> None:
    Path("some.csv").write_text("#id,n\n1,2\n2,3\n")
    found = new("some.csv")
    assert (key(found), found["rows"]) == (["#id"], 2)


def changes(images: bool) -> str:
    """Prices are all different and texts, orders are numbered, customers come again."""
    lines = []
    for step in range(400):
        order = step % 100
        state = {"O_CUST": order % 7, "O_PRICE": f"{step * 7.25:.2f}", "O_NUMERO": order, "O_DAY": f"d{order % 5}"}
        before = None if step < 100 or not images else {**state, "O_PRICE": f"{(step - 100) * 7.25:.2f}"}
        op = "r" if step < 100 else "u"
        lines.append(json.dumps({"payload": {"op": op, "before": before, "after": state, "ts_ms": 1_000 * step}}))
    return "\n".join(lines)


def test_a_key_is_what_no_update_of_a_log_alters() -> None:
    Path("orders.ndjson").write_text(changes(images=True))
    found = new("orders.ndjson")
    assert key(found) == ["O_NUMERO"]
    assert found["records"] == 100
    runs()


def test_without_former_states_a_log_s_key_is_a_guess() -> None:
    Path("orders.ndjson").write_text(changes(images=False))
    assert "no update altered it" not in new("orders.ndjson")["guessed"]["key"]["why"]


def test_a_number_with_a_fraction_is_part_of_a_key_only_where_nothing_else_will_do() -> None:
    rows = [(name, tick / 4, tick % 3) for name in ("a", "b") for tick in range(20)]
    pl.DataFrame(rows, schema=["series", "at", "n"], orient="row").write_parquet("ticks.parquet")
    assert sorted(key(new("ticks.parquet"))) == ["at", "series"]
    runs()
    pl.DataFrame(rows, schema=["series", "at", "n"], orient="row").with_row_index("row").write_parquet("rows.parquet")
    assert key(new("rows.parquet", name="other")) == ["row"]


def test_a_column_may_have_any_name_that_an_engine_keeps_for_itself() -> None:
    names = ["rowid", "_rowid_", "oid", "lab_words", "rank", "position", "body", "key"]
    pl.DataFrame({"id": [1, 2, 3], **{name: [f"{name} {row}" for row in range(3)] for name in names}}).write_parquet(
        "names.parquet"
    )
    new("names.parquet", "--key", "id")
    runs()
    found = call("run", "mine.toml", "--json", *SMALL, "--set", "projections=all")
    assert found.exit_code == 0, found.output
