"""A projection recovers from a fault as the fluid limit says: debt, drain, and the time until its lag is back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from running import run_text

from lab.measure.recovery import Disturbance, apart, recoveries

# Reports have tests of their own.
pytestmark = pytest.mark.usefixtures("quick")

SCENARIO = """
schema = 1
name = "fluid"
seed = 5
[domain]
name = "employees"
records = 500
[workload]
commands = {commands}
rate = 1000.0
arrivals = "uniform"
[truth]
model = "history"
[catch_up]
every = 0.5
[channel]
delay = {{ kind = "constant", mean = 0.0 }}
{outages}
[time]
service = "modelled"
model = {{ per_batch = {per_batch}, per_row = 0.0 }}
[[projection]]
name = "p"
store = "memory"
keeps = "revisions"
guard = "dedupe"
subscribe = "{subscribe}"
batch = 1
{faults}
[measure]
samples = 1
warm_up = 0
rebuild = false
truth = false
[readers]
sessions = 0
"""


def recovered(root: Path, **settings: Any) -> dict[str, Any]:
    """The only row of `recovery`."""
    usual = {"commands": 6_000, "outages": "", "faults": "", "subscribe": "channel", "per_batch": 0.0005}
    finished = run_text(root, SCENARIO.format(**(usual | settings)))
    table = finished.table("recovery")
    assert table.height == 1
    summary = finished.table("lag_summary").row(0, named=True)
    # What a fault did is not taken for growth without end.
    assert summary["stable"] is True, summary["stable_reason"]
    return table.row(0, named=True)


@pytest.mark.parametrize("rho", [0.3, 0.7])
def test_an_outage_whose_messages_wait_is_over_after_l_rho_by_1_less_rho(rho: float, tmp_path: Path) -> None:
    row = recovered(tmp_path, outages="outages = [{ at = 2.0, lasts = 1.0 }]", per_batch=rho / 1_000)
    assert row["fault"] == "outage"
    assert row["debt_peak"] == pytest.approx(1_000, rel=0.02)
    assert row["back_after_seconds"] == pytest.approx(rho / (1 - rho), rel=0.02)
    assert row["drained_per_second"] == pytest.approx(1_000 * (1 - rho) / rho, rel=0.02)
    assert row["head_room"] == pytest.approx((1 - rho) / rho, rel=0.02)
    assert row["head_room_needed"] == pytest.approx(1.0, rel=0.02)


@pytest.mark.parametrize("rho", [0.5])
def test_so_is_a_crash_with_a_pause(rho: float, tmp_path: Path) -> None:
    crash = 'faults = { crashes = [{ at = 2.0, step = "before-apply", lasts = 1.0 }] }'
    row = recovered(tmp_path, faults=crash, per_batch=rho / 1_000)
    assert row["fault"] == "crash"
    assert row["debt_peak"] == pytest.approx(1_000, rel=0.02)
    assert row["back_after_seconds"] == pytest.approx(rho / (1 - rho), rel=0.02)
    assert row["drained_per_second"] == pytest.approx(1_000 * (1 - rho) / rho, rel=0.02)


@pytest.mark.parametrize("factor", [3.0, 5.0])
def test_a_slow_store_leaves_what_it_could_not_do(factor: float, tmp_path: Path) -> None:
    faults = f"faults = {{ slow = [{{ at = 2.0, lasts = 2.0, factor = {factor} }}] }}"
    row = recovered(tmp_path, faults=faults, per_batch=0.0005)
    debt = (1_000 - 2_000 / factor) * 2.0
    assert row["fault"] == "slow"
    assert row["debt_peak"] == pytest.approx(debt, rel=0.02)
    assert row["drained_per_second"] == pytest.approx(1_000, rel=0.02)
    assert row["back_after_seconds"] == pytest.approx(debt / 1_000, rel=0.02)
    assert row["head_room_needed"] == pytest.approx(debt / 2_000, rel=0.02)


def test_a_slow_store_that_still_keeps_up_leaves_no_debt(tmp_path: Path) -> None:
    faults = "faults = { slow = [{ at = 2.0, lasts = 2.0, factor = 1.5 }] }"
    row = recovered(tmp_path, faults=faults, per_batch=0.0005)
    assert row["debt_peak"] <= 2
    assert row["back_after_seconds"] == pytest.approx(0.0, abs=0.01)


def test_catch_up_reads_what_an_outage_lost_and_the_rest_is_on_time(tmp_path: Path) -> None:
    outage = "outages = [{ at = 2.25, lasts = 2.0, loses = true }]"
    row = recovered(tmp_path, outages=outage, subscribe="both", per_batch=0.0001)
    # Polls every half second: the last lost changes are read at 4.5 s, a page of 250 in 25 ms of work.
    assert row["debt_peak"] == pytest.approx(550, abs=60)
    assert row["back_after_seconds"] <= 0.35


def test_a_projection_without_head_room_does_not_come_back(tmp_path: Path) -> None:
    row = recovered(tmp_path, outages="outages = [{ at = 2.0, lasts = 1.0 }]", per_batch=0.95 / 1_000)
    assert row["back_after_seconds"] is None
    assert row["drained_per_second"] is None
    assert row["reason"] == "the lag was not back in its band by the end of the run"
    assert row["head_room_needed"] > 0.0


def test_without_a_fault_there_is_no_row(tmp_path: Path) -> None:
    finished = run_text(
        tmp_path,
        SCENARIO.format(commands=1_000, outages="", faults="", subscribe="channel", per_batch=0.0005),
    )
    assert not finished.has("recovery")


def test_overload_has_no_quantile(tmp_path: Path) -> None:
    finished = run_text(
        tmp_path, SCENARIO.format(commands=4_000, outages="", faults="", subscribe="channel", per_batch=0.0012)
    )
    row = finished.table("lag_summary").row(0, named=True)
    assert row["stable"] is False
    assert row["stable_reason"] == "not stable at this rate: the lag grows by 0.2 s in each second"
    assert row["slope"] == pytest.approx(0.2, rel=0.01)
    for name in ("p50", "p90", "p99", "p50_low", "p99_high"):
        assert row[f"{name}_seconds"] is None
    assert row["p99_interval_reason"] == "not stable at this rate"
    # The largest would tell how long the run was, too.
    assert row["max_seconds"] is None


def steady_but_for(*outages: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
    """A thousand changes a second for ten seconds, each visible after a millisecond, but for those that wait."""
    at = np.arange(10_000) / 1_000
    visible = at + 0.001
    for begins, ends in outages:
        visible = np.where((at >= begins) & (at < ends), ends + 0.001, visible)
    return at, visible


def test_a_fault_at_the_beginning_does_not_hide_those_that_follow() -> None:
    """Nothing was visible before the first one, so that alone has no band."""
    first, second = Disturbance("outage", 0.0, 0.5), Disturbance("crash", 5.0, 6.0)
    found = recoveries([first, second], *steady_but_for((0.0, 0.5), (5.0, 6.0)))
    assert [each.disturbance for each in found] == [first, second]
    rows = [each.row("p") for each in found]
    assert rows[0]["reason"] == "fewer than 10 changes were visible before it began"
    assert (rows[0]["back_after_seconds"], rows[0]["drained_per_second"]) == (None, None)
    assert rows[0]["debt_peak"] == pytest.approx(500, abs=2)
    assert rows[1]["back_after_seconds"] == pytest.approx(0.0, abs=0.005)
    assert rows[1]["debt_peak"] == pytest.approx(1_000, abs=2)


def test_a_fault_just_after_another_has_the_band_from_before_it() -> None:
    """The second one costs nothing, and is five changes behind the first."""
    faults = Disturbance("crash", 2.0, 3.0), Disturbance("crash", 3.005, 3.005), Disturbance("slow", 8.0, 8.5)
    found = recoveries(faults, *steady_but_for((2.0, 3.0)))
    assert [each.disturbance.faults for each in found] == [1, 1, 1]
    assert [each.band for each in found] == pytest.approx([0.001] * 3)
    assert [each.row("p")["back_after_seconds"] for each in found] == pytest.approx([0.0] * 3, abs=0.005)


def test_many_faults_take_no_time_for_each_change_of_the_run() -> None:
    """Only what was committed until a fault was over is looked at, whatever else there is."""
    looked = 0

    class Counted(np.ndarray):
        def __gt__(self, other: object) -> np.ndarray:
            nonlocal looked
            looked += self.size
            return np.asarray(self) > other  # type: ignore[no-any-return, operator]

    at = np.arange(200_000) / 1_000
    faults = [Disturbance("crash", second, second) for second in range(5, 195)]
    found = recoveries(faults, at, (at + 0.001).view(Counted))
    assert len(found) == len(faults)
    assert 0 < looked < 2_000 * len(faults)


def test_faults_that_meet_share_a_row() -> None:
    at = np.arange(10_000) / 1_000
    visible = np.maximum.accumulate(np.where((at >= 2) & (at < 4), np.maximum(at, 4.0), at + 0.001))
    first, second, third = (
        Disturbance("crash", 2.0, 3.0),
        Disturbance("outage", 2.5, 4.0),
        Disturbance("crash", 8.0, 8.0),
    )
    found = recoveries([third, second, first], at, visible)
    assert [(each.disturbance.kind, each.disturbance.faults) for each in found] == [("crash, outage", 2), ("crash", 1)]
    assert found[0].debt == pytest.approx(2_000, abs=2)
    assert found[0].over_at == pytest.approx(4.0, abs=0.01)
    calm = apart(found, at)
    assert not calm[(at >= 2.0) & (at < 4.0)].any()
    assert calm[(at < 2.0) | ((at > 4.01) & (at < 8.0))].all()
