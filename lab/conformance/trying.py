"""Has stores tried in a process of its own, and gives what came of it."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from lab.conformance.job import JOBS, RESULTS, Conformance, ConformanceJob, TrialResult
from lab.conformance.values import told
from lab.queries.model import Query
from lab.stores.layout import Layout
from lab.stores.port import Store

# More than all trials of a large scenario take on a slow machine.
SECONDS_MAX = 600


def job_of(
    store: type[Store], layout: Layout, policy: str, hold: int, queries: Sequence[Query], seed: int
) -> ConformanceJob | str:
    """The job to try a store that holds such a projection; or, in words, why another process can't."""
    if not hasattr(os, "fork"):
        return "does not apply: this system can't fork a process"
    if store.name == "null":
        return "does not apply: it keeps nothing"
    # The trials look at each batch at once, and not after a refresh.
    layout = replace(layout, refresh=0.0)
    job = ConformanceJob(store.__module__, store.__qualname__, layout, policy, hold, tuple(queries), seed)
    try:
        found: object = job.store_class if store.__module__ != "__main__" else None
    except (ImportError, AttributeError):
        found = None
    try:
        pickle.dumps(job)
    except Exception as error:
        return f"another process can't be told of its projection: {told(error)}"
    if found is not store:
        return f"another process can't import `{store.__module__}:{store.__qualname__}`"
    return job


# What came of trials in this process already, by class and job: a class that was loaded anew is tried anew. Jobs are
# compared as they are: pickled, equal ones differ, since what they refer to keeps what it has once computed.
_KNOWN: list[tuple[type[Store], ConformanceJob, Conformance]] = []


def tried(jobs: Sequence[ConformanceJob], folder: Path) -> list[Conformance]:
    """Try stores, in a folder that need not exist. What can't be made is unknown, with the reason."""
    new = [job for at, job in enumerate(jobs) if _known(job) is None and job not in jobs[:at]]
    found = list(zip(new, _tried(new, folder), strict=True)) if new else []
    for job, one in found:
        if not (one.values.transient or one.crashes.transient):
            _KNOWN.append((job.store_class, job, one))
    return [_known(job) or next(one for each, one in found if each == job) for job in jobs]


def _known(job: ConformanceJob) -> Conformance | None:
    store = job.store_class
    return next((found for kind, one, found in _KNOWN if kind is store and one == job), None)


def _tried(jobs: Sequence[ConformanceJob], folder: Path) -> list[Conformance]:
    folder.mkdir(parents=True)
    for kind in {job.store_class for job in jobs}:
        kind.begin()
    (folder / JOBS).write_bytes(pickle.dumps(list(jobs)))
    # What can be imported here can be imported there. The pools of threads that libraries start must not be forked.
    paths = os.pathsep.join(filter(None, sys.path))
    environment = os.environ | {"PYTHONPATH": paths, "OPENBLAS_NUM_THREADS": "1", "POLARS_ALLOW_FORKING_THREAD": "1"}
    with (folder / "said").open("wb") as said:
        process = subprocess.Popen(
            [sys.executable, "-m", "lab.conformance", str(folder)],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            start_new_session=True,
        )
        try:
            status = process.wait(SECONDS_MAX)
        except BaseException as error:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            if not isinstance(error, subprocess.TimeoutExpired):
                raise
            return [Conformance.unknown(f"the trials took longer than {SECONDS_MAX} s", transient=True)] * len(jobs)
    if status:
        last = (folder / "said").read_text(errors="replace").strip().splitlines()[-1:] or [f"exit status {status}"]
        return [Conformance.unknown(f"the trials failed: {last[0]}", transient=True)] * len(jobs)
    found = json.loads((folder / RESULTS).read_text())
    return [Conformance(*(TrialResult(**each[name]) for name in ("values", "crashes"))) for each in found]
