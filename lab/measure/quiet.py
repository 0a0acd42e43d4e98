"""How quiet the machine was during a run: load average, CPU time of other processes, time stolen by the hypervisor.

Measured from Linux's `/proc/loadavg` and `/proc/stat` at the beginning and at the end; elsewhere it is unknown.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LOAD_AVERAGE, STAT = Path("/proc/loadavg"), Path("/proc/stat")
# Shares of the CPU time of all processors, at the most. A run that wants all of them takes 1 / (1 - share) times as
# long beside others: with 5 % that is half of the smallest difference that the benchmarks look for (10 %).
OTHERS_MAX = 0.05
# A processor is stolen for milliseconds at a time: with 1 % of it, one measurement in a hundred is hit, so the p99 is.
STEAL_MAX = 0.01


@dataclass(frozen=True)
class MachineActivity:
    """What the machine had done by some moment.

    `load_average` is over 1, 5 and 15 minutes. Seconds of CPU time since it was started, over all processors: at work,
    stolen, and all there was. `own` are those of this process and of its children that have ended.
    """

    load_average: tuple[float, ...] | None
    busy: float | None
    stolen: float | None
    all: float | None
    own: float


def activity() -> MachineActivity:
    """Read what the machine has done up to now; None of what this system doesn't tell."""
    times = os.times()
    own = times.user + times.system + times.children_user + times.children_system
    try:
        average = tuple(float(word) for word in LOAD_AVERAGE.read_text().split()[:3])
    except (OSError, ValueError):
        average = None
    try:
        # user nice system idle iowait irq softirq steal; guests are in user.
        ticks = [int(word) / os.sysconf("SC_CLK_TCK") for word in STAT.read_text().split("\n", 1)[0].split()[1:9]]
        user, nice, system, idle, waiting, hard, soft, stolen = ticks
    except (OSError, ValueError):
        return MachineActivity(average, None, None, None, own)
    busy = user + nice + system + hard + soft
    return MachineActivity(average, busy, stolen, busy + idle + waiting + stolen, own)


def quietness(began: MachineActivity, ended: MachineActivity) -> dict[str, Any]:
    """Compare two moments, as `activity` in the manifest: shares of all processors' time, and whether it was quiet.

    `quiet` and the shares are None where the system doesn't tell. `why` says what made it not quiet.
    """
    found: dict[str, Any] = {
        "load_average_began": None if began.load_average is None else list(began.load_average),
        "load_average_ended": None if ended.load_average is None else list(ended.load_average),
        "others_share": None,
        "steal_share": None,
        "quiet": None,
        "why": [],
    }
    if began.all is None or ended.all is None or ended.all <= began.all:
        return found
    assert None not in (began.busy, ended.busy, began.stolen, ended.stolen)
    there = ended.all - began.all
    others = max(0.0, (ended.busy - began.busy - (ended.own - began.own)) / there)  # type: ignore[operator]
    stolen = (ended.stolen - began.stolen) / there  # type: ignore[operator]
    shares = (("other processes used", others, OTHERS_MAX), ("the host stole", stolen, STEAL_MAX))
    why = [
        f"{who} {share:.1%} of the CPU time (quiet: at most {most:.0%})" for who, share, most in shares if share > most
    ]
    return found | {"others_share": others, "steal_share": stolen, "quiet": not why, "why": why}
