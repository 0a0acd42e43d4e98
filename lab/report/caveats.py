"""What a reader must know before any figure of a run: that its load is void, that a lag grows without end, or that its
machine was not quiet."""

from __future__ import annotations

from typing import Any

from lab.formatting import listed
from lab.runs import Run


def caveats(run: Run) -> list[str]:
    """Return sentences for the top of the page and of the terminal; none for most runs."""
    said = []
    if (void := run.void) is not None:
        said.append(f"This load is void, and its figures don't mean what they say: {void}.")
    summary = run.table("lag_summary")
    for name, reason in summary.filter(stable=False).select("projection", "stable_reason").iter_rows():
        said.append(f"{name} is {reason}. It takes fewer changes than are committed, so no quantile of it is told.")
    if names := emulated(run):
        said.append(emulated_said(names))
    activity: dict[str, Any] = run.manifest.get("activity") or {}
    if activity.get("quiet") is False:
        average = activity.get("load_average_ended") or []
        load = f"; load average {average[0]:g} at the end" if average else ""
        said.append(
            f"This machine was not quiet: {' and '.join(activity['why'])}{load}. "
            "Times on the wall clock may be longer than they are by themselves."
        )
    return said


def emulated(run: Run) -> list[str]:
    """Return the projections whose stores are emulated."""
    return [str(entry["name"]) for entry in run.manifest["projections"] if entry.get("level") == "emulated"]


def emulated_said(names: list[str]) -> str:
    """Return why these projections have no times."""
    return (
        f"{listed(names)}: kept in an emulator, which shows whether a projection is right. How long it takes says "
        "nothing about the system, so its times are left out."
    )


def repetitions_said(run: Run) -> str:
    """Return what the figures of a run of several repetitions are; empty for a run of one."""
    if (several := run.repetitions) == 1:
        return ""
    return (
        f"Figures are the median of {several} repetitions, each in a process and with a seed of its own, with the 95 % "
        "interval of both what varies within a repetition and what varies between them. A verdict is the worst of all."
    )


def quietness_said(run: Run) -> str:
    """Return how busy the machine was with other things, in a sentence; that it is unknown where it is."""
    activity: dict[str, Any] | None = run.manifest.get("activity")
    if activity is None:
        # A run of an older version.
        return ""
    if activity.get("quiet") is None:
        return "How busy the machine was with other things is unknown on this system."
    others, stolen = activity["others_share"], activity["steal_share"]
    return f"Other processes had {others:.1%} of its CPU time, and {stolen:.1%} was stolen by the host."
