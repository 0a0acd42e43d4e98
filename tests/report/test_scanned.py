"""Tables that are read a part at a time: a damaged file is blamed, and a mistake of the reader is not."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from fake_run import fake_run

from lab.runs import DamagedRun


def test_a_mistake_of_the_block_is_not_blamed_on_the_file(tmp_path: Path) -> None:
    run = fake_run(tmp_path)
    with pytest.raises(pl.exceptions.ColumnNotFoundError), run.scanned("lag") as lag:
        lag.select("nowhere").collect()
    with pytest.raises(pl.exceptions.InvalidOperationError), run.scanned("lag") as lag:
        lag.select(pl.col("projection").cast(pl.Int64)).collect()


@pytest.mark.parametrize("cut", [0.0, 0.5])
def test_a_file_that_is_cut_off_is_damaged(cut: float, tmp_path: Path) -> None:
    run = fake_run(tmp_path)
    file = run.path / "lag.parquet"
    file.write_bytes(file.read_bytes()[: int(file.stat().st_size * cut)])
    with pytest.raises(DamagedRun, match=r"lag\.parquet"), run.scanned("lag") as lag:
        lag.collect()


def test_a_file_with_bytes_overwritten_is_damaged(tmp_path: Path) -> None:
    run = fake_run(tmp_path)
    file = run.path / "lag.parquet"
    found = bytearray(file.read_bytes())
    # The data are at the beginning, what describes them at the end.
    found[4 : len(found) // 3] = b"\xff" * (len(found) // 3 - 4)
    file.write_bytes(found)
    with pytest.raises(DamagedRun, match=r"lag\.parquet"), run.scanned("lag") as lag:
        lag.collect()
