"""Delays follow their laws, what a scenario says of chance is checked, and files of values are read or refused."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pieces import SCENARIO

from lab.base import BadInput, stream
from lab.experiment import record
from lab.scenario import Delay, ReadersTable, Source
from lab.scenario.chance import DelayPart
from lab.scenario.draws import ENDLESS, delays, expected, longest
from lab.scenario.limits import DELAY_VALUES_MAX
from lab.wiring import Plan, plan

COUNT = 100_000
MIXED = {
    "kind": "mixture",
    "parts": [
        {"share": 0.4, "kind": "pareto", "scale": 1.0, "shape": 2.0},
        {"share": 0.6, "kind": "exponential", "mean": 3.0},
    ],
}


def pareto(x: np.ndarray) -> np.ndarray:
    return np.where(x < 1, 0.0, 1 - np.maximum(x, 1.0) ** -2)


LAWS: list[tuple[dict[str, Any], Callable[[np.ndarray], np.ndarray]]] = [
    ({"kind": "pareto", "scale": 1.0, "shape": 2.0}, pareto),
    # The same by its mean: scale = mean (shape - 1) / shape.
    ({"kind": "pareto", "mean": 2.0, "shape": 2.0}, pareto),
    # Of shape 2, an Erlang: P(x) = 1 - e^(-x / s) (1 + x / s) with s = mean / 2.
    ({"kind": "gamma", "mean": 3.0, "shape": 2.0}, lambda x: 1 - np.exp(-x / 1.5) * (1 + x / 1.5)),
    ({"kind": "empirical", "values": [1.0, 2.0, 2.0, 5.0]}, lambda x: ((x >= 1) + 2.0 * (x >= 2) + (x >= 5)) / 4),
    (MIXED, lambda x: 0.4 * pareto(x) + 0.6 * (1 - np.exp(-x / 3))),
]


def drawn(options: dict[str, Any], count: int = COUNT, seed: int = 1) -> np.ndarray:
    return delays(Delay.model_validate(options), count, stream(seed, "delays"))


@pytest.mark.parametrize(("options", "law"), LAWS, ids=[str(options["kind"]) for options, _ in LAWS])
def test_delays_follow_their_law(options: dict[str, Any], law: Callable[[np.ndarray], np.ndarray]) -> None:
    found = np.sort(drawn(options))
    points = np.unique(found)
    share = np.searchsorted(found, points, side="right") / COUNT
    # Kolmogorov's distance; at this number it is above 0.0062 once in a thousand.
    assert np.abs(share - law(points)).max() < 0.0065


def test_a_law_of_another_shape_would_be_seen() -> None:
    found = np.sort(drawn({"kind": "pareto", "scale": 1.0, "shape": 2.1}))
    assert np.abs(np.arange(1, COUNT + 1) / COUNT - pareto(found)).max() > 0.0065


@pytest.mark.parametrize(("options", "law"), LAWS)
def test_what_is_expected_of_them_is_near_what_is_drawn(options: dict[str, Any], law: object) -> None:
    found = Delay.model_validate(options)
    assert drawn(options).mean() == pytest.approx(expected(found), rel=0.05)
    assert longest(found, COUNT) > np.quantile(drawn(options), 0.999) / 2


def test_a_law_without_a_mean_is_endless_and_still_a_number() -> None:
    assert expected(Delay(kind="pareto", scale=0.001, shape=0.9)) == ENDLESS
    assert longest(Delay(kind="pareto", scale=1e9, shape=0.1), 2**40) == ENDLESS
    assert np.isfinite(drawn({"kind": "pareto", "scale": 1e9, "shape": 0.1})).all()


@given(st.integers(0, 200), st.integers(0, 5))
def test_a_mixture_has_as_many_as_are_asked_for_and_the_same_for_a_seed(count: int, seed: int) -> None:
    found = drawn(MIXED, count, seed)
    assert found.size == count
    assert (found >= 0).all()
    assert np.array_equal(found, drawn(MIXED, count, seed))


def test_constant_exponential_and_lognormal_delays_are_drawn_as_ever() -> None:
    """A seed's runs must not change."""
    rng = stream(3, "delays")
    assert np.array_equal(drawn({"kind": "exponential", "mean": 0.5}, 9, 3), rng.exponential(0.5, 9))
    rng = stream(3, "delays")
    assert np.array_equal(drawn({"kind": "lognormal", "mean": 0.5}, 9, 3), rng.lognormal(np.log(0.5) - 0.5, 1.0, 9))


# --- in a scenario ---------------------------------------------------------------------------------------------------


def planned(folder: Path, *overrides: str) -> Plan:
    path = folder / "mine.toml"
    path.write_text(SCENARIO)
    return plan(Source(path, overrides))


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ('channel.delay={kind="pareto", scale=1.0}', "channel.delay: a Pareto needs its `shape`"),
        ('channel.delay={kind="pareto", shape=0.9, mean=1.0}', "has no mean: give its `scale`"),
        ('channel.delay={kind="pareto", shape=2.0, mean=1.0, scale=1.0}', "not both"),
        ('channel.delay={kind="exponential", shape=2.0}', "kind `exponential` has no `shape`"),
        ('channel.delay={kind="exponential", sigma=2.0}', "kind `exponential` has no `sigma`"),
        ('channel.delay={kind="mixture", sigma=2.0, parts=[{share=1.0}]}', "kind `mixture` has no `sigma`"),
        ('channel.delay={kind="mixture", parts=[{share=1.0, sigma=0.5}]}', "kind `constant` has no `sigma`"),
        ('channel.delay=5', "channel.delay: must be a table, not 5"),
        ('channel.delay={kind="mixture", parts=5}', "channel.delay.parts: must be a list, not 5"),
        ('time.model={sigma=1.0}', "`constant` has no `sigma`"),
        ('time.model={distribution="gamma", shape=2.0, sigma=1.0}', "`gamma` has no `sigma`"),
        ('time.model={distribution="empirical", run="x", per_row=0.1}', "an empirical distribution has no `per_row`"),
        ('channel.delay={kind="empirical"}', "needs either `values`"),
        ('channel.delay={kind="empirical", values=[1.0], mean=2.0}', "has no `mean`"),
        ('channel.delay={kind="empirical", values=[1.0], column="x"}', "a column of a `file`"),
        ('channel.delay={kind="mixture"}', "needs `parts`"),
        ('channel.delay={kind="mixture", parts=[{share=0.4}]}', "add up to 0.4, not to 1"),
        ('channel.delay={kind="mixture", parts=[{share=1.0, kind="mixture"}]}', "`mixture` is not valid"),
        ('time.model={distribution="gamma"}', "time.model: a gamma needs its `shape`"),
        ('time.model={shape=2.0}', "`constant` has no `shape`"),
        ('time.model={distribution="empirical"}', "needs `run`"),
        ('time.model={run="x"}', "drawn from no `run`"),
        ('time.model={distribution="empirical", run="nowhere"}', "nowhere: neither a run folder"),
        ('channel.delay={kind="pareto", shape=0.2, scale=1000.0}', "years of simulated time"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(override: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput) as refused:
        planned(tmp_path, override)
    assert said in str(refused.value)


@pytest.mark.parametrize("value", ["nan", '"a"', "-1.0"])
def test_a_wrong_value_is_one_mistake_and_not_a_list_that_is_too_short(value: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput) as refused:
        planned(tmp_path, f'channel.delay={{kind="empirical", values=[{value}]}}')
    assert [problem.where for problem in refused.value.problems] == ["mine.toml: channel.delay.values.#1"]


def test_an_empty_list_of_values_is_refused_as_such(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="at least 1 item"):
        planned(tmp_path, 'channel.delay={kind="empirical", values=[]}')


def test_values_are_read_from_a_column_of_a_file(tmp_path: Path) -> None:
    pl.DataFrame({"seconds": [0.1, 0.2], "other": ["a", "b"]}).write_csv(tmp_path / "d.csv")
    pl.DataFrame({"only": [3, 4]}).write_parquet(tmp_path / "d.parquet")
    parts = '[{share=0.5, kind="empirical", file="d.parquet"}, {share=0.5}]'
    found = planned(
        tmp_path,
        'channel.delay={kind="empirical", file="d.csv", column="seconds"}',
        f'readers.think={{kind="mixture", parts={parts}}}',
    ).scenario
    assert found.channel is not None
    assert found.channel.delay.values == (0.1, 0.2)
    assert found.channel.delay.file is None
    assert found.readers.think.parts is not None
    assert found.readers.think.parts[0].values == (3.0, 4.0)


def test_of_a_long_file_evenly_spaced_quantiles_are_taken(tmp_path: Path) -> None:
    seconds = stream(1, "long").permutation(3 * DELAY_VALUES_MAX) / 1_000
    pl.DataFrame({"seconds": seconds}).write_parquet(tmp_path / "d.parquet")
    channel = planned(tmp_path, 'channel.delay={kind="empirical", file="d.parquet"}').scenario.channel
    assert channel is not None
    assert channel.delay.values == tuple(np.sort(seconds)[1::3])


@pytest.mark.parametrize(
    ("name", "written", "column", "said"),
    [
        ("d.csv", "seconds\n", None, "has no row"),
        ("d.csv", "a,b\n1,2\n", None, "has 2 columns (say which with `column`)"),
        ("d.csv", "a,b\n1,2\n", "seconds", "channel.delay.column: `d.csv` has no column `seconds`"),
        ("d.csv", "a\nslow\n", None, "is no number"),
        ("d.csv", "a\n-1\n", None, "no delay: negative"),
        ("d.csv", "a,b\n1,2\n,3\n", "a", "no delay: negative, missing"),
        ("d.txt", "1\n", None, "neither a .csv nor a .parquet file"),
        ("d.parquet", "no parquet", None, "can't be read"),
    ],
)  # fmt: skip
def test_a_file_that_has_no_delays_is_refused(
    name: str, written: str, column: str | None, said: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(written)
    named = f', column="{column}"' if column else ""
    with pytest.raises(BadInput) as refused:
        planned(tmp_path, f'channel.delay={{kind="empirical", file="{name}"{named}}}')
    assert said in str(refused.value)


def test_a_file_that_is_not_there_is_refused_with_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "delays.csv").write_text("a\n1\n")
    with pytest.raises(BadInput) as refused:
        planned(tmp_path, 'channel.delay={kind="empirical", file="delay.csv"}')
    assert "mine.toml: channel.delay.file: there is no file `delay.csv`" in str(refused.value)
    assert "delays.csv" in str(refused.value)


def test_a_folder_or_a_pipe_is_told_as_what_it_is(tmp_path: Path) -> None:
    (tmp_path / "dir.csv").mkdir()
    os.mkfifo(tmp_path / "pipe.csv")
    for name, said in (("dir.csv", "is a folder"), ("pipe.csv", "is a pipe or a device")):
        with pytest.raises(BadInput) as refused:
            planned(tmp_path, f'channel.delay={{kind="empirical", file="{name}"}}')
        assert said in str(refused.value)
        assert "did you mean" not in str(refused.value)


def test_long_lists_of_values_are_summed_up_in_the_manifest() -> None:
    values = tuple(place / 100 for place in range(1, 31))
    few = Delay(kind="empirical", values=values[:3])
    many = Delay(kind="mixture", parts=(DelayPart(kind="empirical", values=values, share=1.0),))
    found = record._told(ReadersTable(think=few, delay=many))
    assert found["think"]["values"] == [0.01, 0.02, 0.03]
    told = found["delay"]["parts"][0]["values"]
    assert (told["count"], told["least"], told["largest"], len(told["sha256"])) == (30, 0.01, 0.3, 64)
    other = record._told(ReadersTable(think=Delay(kind="empirical", values=(*values[:-1], 0.31))))
    assert other["think"]["values"]["sha256"] != told["sha256"]
