"""The run folder's tables are what their schemas say: when written, when read, and when an older run is read."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.runs import Run, write_table
from lab.tables import ALWAYS, OPTIONAL, TABLES, TableColumn, WrongColumns


def written(folder: Path, name: str, frame: pl.DataFrame) -> pl.DataFrame:
    """The table as it is read after it has been written."""
    write_table(folder, name, frame)
    return Run(folder).table(name)


@pytest.mark.parametrize("name", TABLES)
@given(data=st.data())
def test_a_column_too_many_or_too_few_is_not_written(
    name: str, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    schema = TABLES[name]
    dropped = data.draw(st.sampled_from(list(schema.types)))
    folder = tmp_path_factory.mktemp("refused")
    for frame in (schema.frame().drop(dropped), schema.frame().with_columns(other=None)):
        with pytest.raises(WrongColumns, match=f"table `{name}`: `({dropped}` is missing|other` is no column)"):
            write_table(folder, name, frame)
    assert not (folder / f"{name}.parquet").exists()


def test_a_row_that_leaves_out_a_column_or_has_one_more_is_refused() -> None:
    row = dict.fromkeys(TABLES["lag"].types)
    assert TABLES["lag"].frame([row, row]).height == 2
    with pytest.raises(WrongColumns, match="`lag_seconds` is missing"):
        TABLES["lag"].frame([row, {"projection": "a", "position": 1}])
    with pytest.raises(WrongColumns, match="`extra` is no column of it"):
        TABLES["lag"].frame([row, row | {"extra": 1}])


@given(order=st.permutations(list(TABLES["lag"].types)))
def test_columns_are_written_in_the_schema_s_order_and_types(
    order: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    frame = pl.DataFrame({"position": pl.Series([1, 2], dtype=pl.Int32), "projection": "a", "lag_seconds": [0, None]})
    found = written(tmp_path_factory.mktemp("lag"), "lag", frame.select(order))
    assert dict(found.schema) == TABLES["lag"].types
    assert found.rows() == [("a", 1, 0.0), ("a", 2, None)]


def test_a_column_that_an_older_run_does_not_have_reads_as_null(tmp_path: Path) -> None:
    TABLES["verdicts"].frame([dict.fromkeys(TABLES["verdicts"].types)]).drop("deliveries").write_parquet(
        tmp_path / "verdicts.parquet"
    )
    found = Run(tmp_path).table("verdicts")
    assert dict(found.schema) == TABLES["verdicts"].types
    assert found["deliveries"].is_null().all()


def test_no_table_is_declared_twice_and_every_column_is_explained() -> None:
    assert not ALWAYS.keys() & OPTIONAL.keys()
    assert all(column.meaning and schema.rows for schema in TABLES.values() for column in schema.columns)


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        ("lag_seconds", "s"),
        ("sent_at", "s"),
        ("p50_low_us", "µs"),
        ("size_bytes", "bytes"),
        ("changes_per_second", "1/s"),
        ("rows", ""),
    ],
)
def test_a_column_s_unit_is_in_its_name(name: str, unit: str) -> None:
    assert TableColumn(name, pl.Float64(), "").unit == unit


@pytest.mark.parametrize(
    ("name", "unit"),
    [("nanoseconds", "ns"), ("p50_us", "µs"), ("lag_seconds", "s"), ("changes_per_second", "1/s"), ("rows", "")],
)
def test_a_unit_is_that_of_the_name(name: str, unit: str) -> None:
    assert TableColumn(name, pl.Int64(), "").unit == unit
