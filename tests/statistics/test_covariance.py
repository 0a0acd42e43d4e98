"""A ratio beside a control: its interval contains the true factor, and is narrower where the control tells anything."""

from __future__ import annotations

import math

import numpy as np
import pytest

from lab.base import stream
from lab.statistics.covariance import FREEDOM_LEAST, adjusted
from lab.statistics.replicated import Ratio, ratio

EXPERIMENTS = 2_000
FACTOR = 1.1


def experiment(number: int, repetitions: int, follows: float, drift: float) -> tuple[list[list[float]], ...]:
    """A figure and its control in two runs: both move with the machine, the figure `follows` times as far."""
    rng = stream(number, "covariance")
    figure, control = [], []
    for run in (0, 1):
        machine = 0.05 * rng.standard_normal(repetitions) + drift * run
        control.append(np.exp(machine + 0.005 * rng.standard_normal(repetitions)).tolist())
        own = 0.01 * rng.standard_normal(repetitions) + run * math.log(FACTOR)
        figure.append(np.exp(follows * machine + own).tolist())
    return figure, control


def held(found: Ratio) -> bool:
    assert found.low is not None
    assert found.high is not None
    return found.low <= FACTOR <= found.high


@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize(("follows", "repetitions"), [(0.0, 10), (1.0, 10), (0.5, 6)])
def test_its_interval_contains_the_factor_in_19_of_20_experiments(
    paired: bool, follows: float, repetitions: int
) -> None:
    found = []
    for number in range(EXPERIMENTS):
        figure, control = experiment(number, repetitions, follows, 0.0)
        found.append(held(adjusted((figure[0], figure[1]), (control[0], control[1]), paired)))
    assert 0.93 <= np.mean(found) <= 0.97


def test_a_figure_that_moves_with_the_control_is_seen_sooner_and_one_that_does_not_hardly_later() -> None:
    def wide(found: Ratio) -> float:
        return found.error

    gain: dict[float, list[float]] = {0.0: [], 1.0: []}
    for follows, each in gain.items():
        for number in range(200):
            figure, control = experiment(number, 10, follows, 0.0)
            pair = (figure[0], figure[1])
            each.append(wide(ratio(*pair, paired=False)) / wide(adjusted(pair, (control[0], control[1]), paired=False)))
    # The machine moves by 5 %, the figure by itself by 1 %, its control by half of that.
    assert np.median(gain[1.0]) > 3
    assert 0.9 < np.median(gain[0.0]) < 1.1


@pytest.mark.parametrize("slope", [0.5, 1.0])
def test_a_slope_that_is_given_takes_out_a_machine_that_became_slower(slope: float) -> None:
    found = []
    for number in range(400):
        figure, control = experiment(number, 10, slope, 0.3)
        pair = (figure[0], figure[1])
        found.append(held(adjusted(pair, (control[0], control[1]), paired=False, slope=slope)))
        assert not held(ratio(*pair, paired=False))
    assert np.mean(found) > 0.92


def test_by_hand() -> None:
    # In logarithms to base 2: the control is 0, 1, 2 and 1, 2, 3; the figure twice that, and 3 more in the second run.
    control = ([1.0, 2.0, 4.0], [2.0, 4.0, 8.0])
    figure = ([1.0, 4.0, 16.0], [8 * 4.0, 8 * 16.0, 8 * 64.0])
    found = adjusted(figure, control, paired=False)
    assert found.value == pytest.approx(8)
    assert found.freedom == 6 - 3
    assert adjusted(figure, control, paired=False, slope=1.0).value == pytest.approx(16)


@pytest.mark.parametrize(
    "control",
    [([1.0] * 5, [1.0] * 5), ([1.0, 2.0], [2.0, 1.0]), ([0.0, 1, 2, 3, 4], [1.0, 2, 3, 4, 5])],
    ids=["constant", "other number", "a zero"],
)
def test_without_a_line_it_is_the_ratio_by_itself(control: tuple[list[float], list[float]]) -> None:
    figure = ([1.0, 1.1, 1.2, 1.1, 1.0], [2.0, 2.2, 2.1, 2.0, 2.3])
    for paired in (True, False):
        assert adjusted(figure, control, paired) == ratio(*figure, paired)


def test_few_repetitions_have_no_line() -> None:
    repetitions = FREEDOM_LEAST + 1
    figure, control = experiment(1, repetitions, 1.0, 0.0)
    pair, beside = (figure[0], figure[1]), (control[0], control[1])
    assert adjusted(pair, beside, paired=True) == ratio(*pair, paired=True)
    assert adjusted(pair, beside, paired=False) != ratio(*pair, paired=False)
