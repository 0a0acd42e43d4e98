"""Carry on with a sweep until everything of it is done, or it is stopped.

A few runs more than there are workers are under way at a time, and each result is written down when it comes: whatever
ends the sweep, only what was under way is run again. Where a worker dies, the runs that were under way in its pool are
tried once more, alone; one whose process dies again has a row that says so.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    CancelledError,
    Executor,
    Future,
    ProcessPoolExecutor,
    wait,
)

from lab.ending import stopping
from lab.experiment.progress import Progress, Quiet
from lab.sweeps.executors import ENDS, LOCAL, WorkerPool, at_work, workers
from lab.sweeps.folder import Sweep
from lab.sweeps.plan import SweepPlan
from lab.sweeps.task import RunResult, RunTask, carry_out, lost

# Seconds between two looks at whether the sweep is to stop.
_LOOK = 0.2
# One for each worker is at work, and one waits.
_AHEAD = 2
DIED = "its process ended without a result: out of memory, or killed"


def mine(tasks: Sequence[RunTask], shard: tuple[int, int]) -> list[RunTask]:
    """Return the tasks of a shard: every n-th, so that large and small ones are dealt out evenly."""
    number, of = shard
    return list(tasks[number::of])


def left(plan: SweepPlan, sweep: Sweep, shard: tuple[int, int] = (0, 1)) -> list[RunTask]:
    """Return what is still to be run of a shard."""
    done = sweep.done - sweep.lost
    return [task for task in mine(plan.tasks, shard) if task.name not in done]


def carry_on(
    plan: SweepPlan,
    sweep: Sweep,
    executor: str = LOCAL,
    progress: Progress | None = None,
    shard: tuple[int, int] = (0, 1),
    run: Callable[[RunTask], RunResult] = carry_out,
) -> int:
    """Run what is left of a sweep, and return how many runs that was."""
    progress = progress or Quiet()
    tasks = left(plan, sweep, shard)
    if not tasks:
        return 0
    # Whatever stops it: the results that are there stay.
    stopping.keeps(sweep.path)
    with workers(executor, plan.wall) as found:
        if plan.wall:
            progress.say("These runs measure wall time: they go one at a time on a machine, whoever else sweeps on it.")
        progress.step(f"{len(tasks):,} runs by {found.said}", len(tasks))
        _Carrying(sweep, found, progress, run).all_of(tasks)
    return len(tasks)


class _Carrying:
    """The runs that are under way, and what becomes of them."""

    def __init__(
        self, sweep: Sweep, found: WorkerPool, progress: Progress, run: Callable[[RunTask], RunResult]
    ) -> None:
        self._sweep, self._workers, self._progress, self._run = sweep, found, progress, run
        self._executor: Executor | None = None
        self._under_way: dict[Future[RunResult], RunTask] = {}
        self._done = 0

    def all_of(self, tasks: Sequence[RunTask]) -> None:
        """Run them all."""
        waiting = deque(tasks)
        try:
            while waiting or self._under_way:
                while waiting and len(self._under_way) < _AHEAD * self._workers.width:
                    if not self._begin(waiting[0]):
                        break
                    waiting.popleft()
                broken = self._collect()
                if broken:
                    self._end()
                    for task in broken:
                        self._alone(task)
        finally:
            self._end()

    def _begin(self, task: RunTask) -> bool:
        """Hand a task over; False if the executor is broken, and what is under way has to be collected first."""
        if self._executor is None:
            self._executor = self._workers.make(self._workers.width)
        try:
            self._under_way[self._submitted(self._executor, task)] = task
        except BrokenExecutor:
            if not self._under_way:
                self._end()
                return self._begin(task)
            return False
        return True

    def _submitted(self, executor: Executor, task: RunTask) -> Future[RunResult]:
        if isinstance(executor, ProcessPoolExecutor):
            return executor.submit(at_work, self._run, task)
        return executor.submit(self._run, task)

    def _collect(self) -> list[RunTask]:
        """Wait for a result and keep what there is; return the tasks that were under way in a pool that broke."""
        finished, _ = wait(self._under_way, _LOOK, FIRST_COMPLETED)
        stopping.check()
        broken = []
        for future in finished:
            task = self._under_way.pop(future)
            try:
                result = future.result()
            except (BrokenExecutor, CancelledError):
                if self._workers.breaks:
                    broken.append(task)
                    continue
                result = lost(task, DIED)
            except Exception as error:
                # Of a cluster whose worker died as often as it lets one die, or of an executor of another make.
                result = lost(task, f"{DIED} ({type(error).__name__})")
            self._keep(task, result)
        if broken:
            broken += self._under_way.values()
            self._under_way.clear()
        return broken

    def _alone(self, task: RunTask) -> None:
        """Run a task in a process of its own, since it may be the one that makes processes die."""
        executor = self._workers.make(1)
        try:
            future = self._submitted(executor, task)
            while not wait([future], _LOOK).done:
                stopping.check()
            result = future.result()
        except BrokenExecutor:
            result = lost(task, DIED)
        finally:
            end(executor)
        self._keep(task, result)

    def _keep(self, task: RunTask, result: RunResult) -> None:
        with stopping.held():
            self._sweep.keep(result)
        self._done += 1
        if result.error:
            self._progress.say(f"{task.said}, seed {task.seed}: {result.error}")
        self._progress.done(self._done)

    def _end(self) -> None:
        for future in self._under_way:
            future.cancel()
        self._under_way.clear()
        if self._executor is not None:
            executor, self._executor = self._executor, None
            end(executor)


def end(executor: Executor) -> None:
    """End an executor and what it is at work on, without waiting for it: results are in the folder, or not needed."""
    if not isinstance(executor, ProcessPoolExecutor):
        executor.shutdown(wait=False)
        return
    processes = list((executor._processes or {}).values())
    executor.shutdown(wait=False, cancel_futures=True)
    for process in processes:
        process.terminate()
    for process in processes:
        process.join(ENDS)
        if process.is_alive():
            process.kill()
            process.join()


def foretold(plan: SweepPlan, sweep: Sweep, tasks: Sequence[RunTask], width: int) -> float | None:
    """Return the seconds that tasks will take, from those that were carried out; None if there were none.

    A run is taken to cost in proportion to its commands, where these are varied, with a second for itself.
    """
    known = [(sweep.seconds[task.name], _commands(task)) for task in plan.tasks if task.name in sweep.seconds]
    if not known or not tasks:
        return 0.0 if known else None
    each = sum(seconds for seconds, _ in known) / sum(1_000 + commands for _, commands in known)
    total = sum(each * (1_000 + _commands(task)) for task in tasks)
    return total / max(1, min(width, len(tasks)))


def _commands(task: RunTask) -> float:
    value = dict(task.columns).get("workload.commands")
    return float(value) if isinstance(value, float) else 0.0


def tried(plan: SweepPlan, sweep: Sweep, run: Callable[[RunTask], RunResult] = carry_out) -> float:
    """Carry out the cheapest run that is left here, keep its result, and return its seconds."""
    task = min(left(plan, sweep), key=_commands)
    began = time.perf_counter()
    sweep.keep(run(task))
    return time.perf_counter() - began
