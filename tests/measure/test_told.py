"""Which quantiles are told of how many samples, in the summary of the lag, of messages, and where they are shown."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from lab.base import stream
from lab.channel.simulated import summary as fates
from lab.formatting import NOTHING
from lab.measure import lag
from lab.report.facts import lag_said


def lags(seconds: np.ndarray) -> pl.DataFrame:
    """A table `lag`; infinite ones never became visible."""
    found = pl.Series(seconds).replace(float("inf"), None)
    return pl.DataFrame({"projection": "p", "position": np.arange(seconds.size) + 1, "lag_seconds": found})


def test_a_summary_of_few_changes_has_no_p99_and_says_why() -> None:
    seconds = stream(1, "lags").exponential(1.0, 400)
    few, some, many = (lag.summary("p", lags(seconds[:count])) for count in (99, 100, 400))
    assert few["p50_seconds"] is not None
    assert (few["p99_seconds"], few["p99_interval_reason"]) == (None, "99 samples; 100 are needed")
    assert some["p99_seconds"] == np.sort(seconds[:100])[98]
    assert (some["p99_high_seconds"], some["p99_interval_reason"]) == (
        None,
        "100 samples; 368 are needed for an upper end",
    )
    assert many["p99_low_seconds"] < many["p99_seconds"] < many["p99_high_seconds"]
    assert many["p99_interval_reason"] is None


def test_few_messages_have_no_p99_of_their_delay() -> None:
    journal = pl.DataFrame({"fate": ["delivered"] * 100 + ["lost"] * 99, "sent_at": 0.0, "arrives_at": 1.0})
    journal = journal.with_columns(held=pl.lit(False), overtaken=pl.lit(False))
    found = dict(fates(journal).select("fate", "delay_p99_seconds").iter_rows())
    assert found == {"delivered": 1.0, "lost": None}


@pytest.mark.parametrize(
    ("changes", "visible", "p99", "said"),
    [(1_000, 1_000, 0.5, "500 ms"), (1_000, 900, None, "never"), (50, 40, None, NOTHING), (50, 50, None, NOTHING)],
)
def test_never_is_said_of_what_never_came_and_not_of_what_is_too_little(
    changes: int, visible: int, p99: float | None, said: str
) -> None:
    row = {"changes": changes, "visible": visible, "never_visible": changes - visible, "p99_seconds": p99}
    assert lag_said(row, "p99") == said
