"""Several repetitions of a scenario, each in a process of its own, one after the other: one run folder for all.

A process of its own has a memory layout, caches and a hash seed of its own, which move a figure by some percent for as
long as the process lives: more samples within it would not show that.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TextIO

from lab.base import BadInput, LabError, Problem, stream
from lab.ending import INTERNAL, stopping
from lab.experiment.once import replay_command
from lab.experiment.printing import Printing
from lab.experiment.progress import Progress
from lab.experiment.record import overall
from lab.experiment.repetition import FAILURE, RepetitionJob
from lab.runs import merge_tables
from lab.wiring import Plan

# Seconds in which a repetition that is told to stop has to end its own processes.
_ENDS = 10.0
# What each repetition has of its own in the manifest, whether it differs or not.
_OWN = ("seed", "verdict", "replay", "started_at", "wall_seconds", "phases", "activity", "clock_seconds", "order")
_WORST = ("fail", "unknown", "pass")
_SEEDS = 2**31


class RepetitionFailed(BadInput):
    """A repetition came to no run. The problems are its own, and so is the exit status."""

    def __init__(self, problems: Sequence[Problem], status: int) -> None:
        super().__init__(problems)
        self.exit_status = status


def seeds(seed: int, repetitions: int) -> list[int]:
    """Return the seed of each repetition: that of the scenario first, and others that are drawn from it."""
    found = [seed]
    drawn = stream(seed, "repetitions")
    while len(found) < repetitions:
        another = int(drawn.integers(_SEEDS))
        found += [another] if another not in found else []
    return found


def run_all(plan: Plan, folder: Path, name: str, progress: Progress, module: str = "lab.experiment") -> None:
    """Run all repetitions of a scenario into a folder that is there: tables and manifest.

    Each is run by `python -m MODULE` (see `lab.experiment.process`).
    Raises RepetitionFailed for the first one that comes to no run.
    """
    several = plan.scenario.repeat
    parts = [folder / f"repetition-{number}" for number in range(1, several + 1)]
    for number, (part, seed) in enumerate(zip(parts, seeds(plan.scenario.seed, several), strict=True), 1):
        part.mkdir()
        source = plan.source
        once = (*(item for item in source.overrides if not source.sets_repeat(item)), "repeat=1")
        RepetitionJob(str(source.path), source.text, once, seed, name).write(part)
        _run(part, f"repetition {number} of {several}", progress, module)
    progress.step("merging", 1)
    merge_tables(folder, parts)
    manifests = [json.loads((part / "manifest.json").read_text(encoding="utf-8")) for part in parts]
    whole = merged(manifests) | {"replay": replay_command(plan)}
    whole["scenario"] = whole["scenario"] | {"overrides": list(plan.source.overrides)}
    # After all keys of the whole are what they will be: what differs from it is a repetition's own.
    whole["repetitions"] = [_own(each, whole) for each in manifests]
    (folder / "manifest.json").write_text(json.dumps(whole, indent=2), encoding="utf-8")
    for part in parts:
        shutil.rmtree(part)
    progress.done(1)


def _run(part: Path, who: str, progress: Progress, module: str) -> None:
    """Start the process of one repetition, and pass on what it says of its progress, and what it prints."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "PYTHONIOENCODING": "utf-8"}
    # A channel of its own: what domains, stores and projectors print must not get in between.
    ours, theirs = os.pipe()
    with os.fdopen(ours, encoding="utf-8") as lines:
        try:
            process = subprocess.Popen(
                [sys.executable, "-m", module, str(part), str(theirs)],
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
                pass_fds=(theirs,),
            )
        finally:
            os.close(theirs)
        with Printing(process) as printing:
            try:
                _follow(process, lines, who, progress)
            except BaseException:
                _end(process)
                raise
    _confirm(part, who, process.returncode, printing.last_line)


def _follow(process: subprocess.Popen[bytes], lines: TextIO, who: str, progress: Progress) -> None:
    assert process.stdin is not None
    with process.stdin:
        for line in lines:
            said = json.loads(line)
            if "step" in said:
                progress.step(f"{who}: {said['step']}", said["total"])
            elif "say" in said:
                progress.say(f"{who}: {said['say']}")
            else:
                progress.done(said["done"])
            stopping.check()
        process.wait()


def _end(process: subprocess.Popen[bytes]) -> None:
    """Let a repetition end its own processes, and then end it."""
    with stopping.held():
        process.terminate()
        try:
            process.wait(_ENDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _confirm(part: Path, who: str, status: int, last_line: str) -> None:
    """Raise RepetitionFailed unless a process has left a run; `last_line` is the last of what it has complained."""
    if (part / FAILURE).exists():
        found = json.loads((part / FAILURE).read_text(encoding="utf-8"))
        raise RepetitionFailed([Problem(*each) for each in found["problems"]], found["status"])
    if status or not (part / "manifest.json").exists():
        how = f"a signal ({signal.Signals(-status).name})" if status < 0 else f"exit status {status}"
        raise RepetitionFailed(
            [Problem(who, f"its process ended by {how}: {last_line or 'it said nothing'}")], INTERNAL
        )


def merged(manifests: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the manifest of the whole run: the first repetition's, with the worst verdicts and the sums of times."""
    first = dict(manifests[0])
    entries = [_worst_entry(each) for each in zip(*(one["projections"] for one in manifests), strict=True)]
    answers = _worst([one["truth"]["answers"] for one in manifests])
    verdicts = [overall(one["projections"], one["truth"]["answers"]) for one in manifests]
    phases = {name: sum(one["phases"].get(name, 0.0) for one in manifests) for name in first["phases"]}
    return first | {
        "verdict": _worst(verdicts),
        "projections": entries,
        "truth": first["truth"] | {"answers": answers},
        "wall_seconds": sum(one["wall_seconds"] for one in manifests),
        "phases": phases,
        "peak_rss_bytes": max(one["peak_rss_bytes"] for one in manifests),
        "activity": _activity([one["activity"] for one in manifests]),
    }


def _worst(verdicts: Sequence[str | None]) -> str | None:
    return next((verdict for verdict in _WORST if verdict in verdicts), None)


def _worst_entry(entries: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The entry of the first repetition with the worst verdict, and its number; as expected if each of them is.

    `unexpected` has the numbers of those that are not.
    """
    numbered = list(enumerate(entries, 1))
    verdict = _worst([entry["verdict"] for entry in entries])
    number, found = next(each for each in numbered if each[1]["verdict"] == verdict)
    odd = [place for place, entry in numbered if not entry["as_expected"]]
    return found | {"repetition": number, "as_expected": not odd, "unexpected": odd}


def _activity(found: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """How quiet the machine was over all repetitions: the largest shares, and what was not quiet in which."""
    known = [one["quiet"] for one in found if one["quiet"] is not None]
    shares = {
        name: max((one[name] for one in found if one[name] is not None), default=None)
        for name in ("others_share", "steal_share")
    }
    why = [f"repetition {number}: {text}" for number, one in enumerate(found, 1) for text in one["why"]]
    ends = {"load_average_began": found[0]["load_average_began"], "load_average_ended": found[-1]["load_average_ended"]}
    return ends | shares | {"quiet": all(known) if known else None, "why": why}


def _own(manifest: dict[str, Any], whole: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in manifest.items() if name in _OWN or value != whole.get(name)}


__all__ = ["LabError", "RepetitionFailed", "merged", "run_all", "seeds"]
