"""Who carries out the runs of a sweep: any executor of `concurrent.futures`.

`local` or `local:4` are processes of this machine; `dask` a cluster that Dask starts here, `dask:tcp://host:8786` one
that is there; `module:factory` whatever a function of yours returns. Executors keep nothing: what is done is in the
folder of the sweep. Local processes are spawned, since a fork of a process with threads may hang, and end with the
process that started them, even if that is killed.
"""

from __future__ import annotations

import contextlib
import importlib
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing.connection import wait as wait_for
from typing import Any

from lab.base import BadInput, MissingDriver, Problem
from lab.ending import stopping

LOCAL, DASK = "local", "dask"
_WAY_OUT = "local, local:4, dask, dask:tcp://host:8786 or module:factory"
# Runs that an executor of somebody else's is given at a time, if it doesn't say how many it takes.
_USUAL = 32
# Seconds in which a scheduler answers, and has a worker.
_REACHED = 60
# Seconds in which a process that is told to end has to end what it has started.
ENDS = 10.0
_TOLD = 128 + signal.SIGTERM


@dataclass(frozen=True)
class WorkerPool:
    """An executor, how many runs it is given at a time, and how to get another one after a worker has died."""

    make: Callable[[int], Executor]
    width: int
    said: str
    # Whether one dead worker breaks the whole executor, as it does a pool of processes.
    breaks: bool


@contextlib.contextmanager
def workers(spec: str, wall: bool) -> Iterator[WorkerPool]:
    """Return who carries out the runs while the block runs. Raises BadInput, and MissingDriver without Dask.

    `wall`: the runs measure wall time, so one process of this machine is enough.
    """
    kind, _, rest = spec.partition(":")
    if kind == LOCAL:
        yield _local(rest, wall)
    elif kind == DASK:
        with _dask(rest) as client:
            width = max(sum(client.nthreads().values()), 1)
            said = f"Dask at {client.scheduler.address}"
            yield WorkerPool(lambda _: client.get_executor(pure=False, retries=0), width, said, False)
    elif kind and rest:
        executor = _of_factory(kind, rest)
        width = int(getattr(executor, "_max_workers", 0) or _USUAL)
        yield WorkerPool(lambda _: executor, width, spec, False)
    else:
        raise BadInput([Problem("--executor", f"`{spec}` is none", _WAY_OUT)])


def _local(number: str, wall: bool) -> WorkerPool:
    if number and not (number.isdecimal() and 1 <= int(number) <= 1_000):
        raise BadInput([Problem("--executor", f"`local:{number}` is no number of processes", _WAY_OUT)])
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    width = 1 if wall else int(number or cores)
    return WorkerPool(pool, width, f"{width} processes" if width > 1 else "one process", True)


def pool(width: int) -> ProcessPoolExecutor:
    """Return a pool of processes that leave signals to their parent, and end with it."""
    return ProcessPoolExecutor(width, multiprocessing.get_context("spawn"), _begin)


# Whether this process is at work on a run, which then has to end what it has started.
_busy = False


def at_work(run: Callable[[Any], Any], task: Any) -> Any:
    """Carry out a run in a process of a pool; when it is told to end meanwhile, clean up after the run, and end."""
    global _busy
    _busy = True
    try:
        return run(task)
    except KeyboardInterrupt:
        os._exit(_TOLD)
    finally:
        _busy = False
        if stopping.received() is not None:
            os._exit(_TOLD)


def _told(number: int, _: Any) -> None:
    stopping.note(number)
    if _busy:
        raise KeyboardInterrupt
    os._exit(_TOLD)


def _begin() -> None:
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _told)
    # What domains and stores print must not get into a document on standard output.
    sys.stdout = sys.stderr
    threading.Thread(target=_end_with_parent, name="parent", daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait_for([parent.sentinel])
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(ENDS)
    os._exit(1)


@contextlib.contextmanager
def _dask(address: str) -> Iterator[Any]:
    try:
        from distributed import Client
    except ImportError:
        raise MissingDriver("Dask is not installed; get it with: pip install 'polyglot-lab[dask]'") from None
    # It has types where it is installed, and none where it isn't.
    connect: Any = Client
    try:
        client = (
            connect(address, timeout=_REACHED, set_as_default=False)
            if address
            else connect(processes=True, threads_per_worker=1, dashboard_address=None, set_as_default=False)
        )
    except (OSError, ValueError, TimeoutError) as error:
        what = f"no scheduler of Dask at {address}: {error}"
        raise BadInput([Problem("--executor", what, "start one: dask scheduler")]) from None
    with client:
        try:
            client.wait_for_workers(1, timeout=_REACHED)
        except TimeoutError:
            what = f"the scheduler at {client.scheduler.address} has no workers"
            raise BadInput([Problem("--executor", what, "start some: dask worker ADDRESS")]) from None
        yield client


def _of_factory(module: str, name: str) -> Executor:
    where = f"--executor {module}:{name}"
    sys.path.insert(0, os.getcwd())  # noqa: PTH109 - what is imported by name is looked for here, as `python -m` does
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise BadInput([Problem(where, f"can't be imported: {error}", _WAY_OUT)]) from None
    finally:
        sys.path.pop(0)
    executor = found()
    if not isinstance(executor, Executor):
        raise BadInput([Problem(where, "returns no executor of concurrent.futures", "a subclass of Executor")])
    return executor
