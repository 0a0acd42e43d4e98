"""Run `lab check` in a child process: a projector that exits, crashes or hangs can't take the judging command with it.

`sys.exit`, `os._exit`, a segmentation fault, an endless loop, a closed standard output, changed signal handlers and
threads that stay: none of them reaches the command that judges. The child reports each step before it takes it, so a
child that ends or hangs leaves the story of its last trial.
"""

from __future__ import annotations

import codecs
import contextlib
import json
import math
import os
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lab.base import BadInput, Problem
from lab.checks import CHECKS
from lab.ending import last, say, stopping, told
from lab.ending.failures import status_of
from lab.kit import trial
from lab.kit.check import HISTORIES, Effort, Result, Verdict, judge
from lab.kit.driver import Driver
from lab.kit.history import Shape
from lab.kit.polling import Poller
from lab.kit.properties import PROPERTIES, tried
from lab.kit.property import POLLED
from lab.kit.settings import replayed
from lab.kit.subject import load
from lab.kit.watch import WATCH

# Seconds for which a step may take; and how much of what a projector prints is passed on, in bytes.
PATIENCE, PRINTED_MAX = 60.0, 50_000
_LOOK = 0.2
_START = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from lab.kit.apart import child; child(sys.argv[2])"


@dataclass(frozen=True)
class CheckOrders:
    """What a child is to do.

    `say` is the descriptor that it reports to; `live` is a pipe that reaches its end when the parent exits.
    """

    target: str
    seed: int
    histories: int | None
    say: int
    live: int
    seconds: float | None = None
    delivery: str = "out-of-order"
    properties: tuple[str, ...] = ()


def check_apart(
    target: str,
    seed: int,
    histories: int | None = None,
    patience: float = PATIENCE,
    seconds: float | None = None,
    delivery: str = "out-of-order",
    properties: tuple[str, ...] = (),
    folder: Path | None = None,
) -> Result:
    """Try the projector MODULE:OBJECT in a child process, and return the verdicts.

    `delivery` and `properties` are as in `TrialOptions`. A step that takes longer than `patience` seconds is a failure.
    What the projector prints goes to standard error. The module is looked for in `folder`, or in the current one;
    nothing compiled is written into the former. Raises BadInput for something that is no projector.
    """
    # What a projector that is killed leaves there goes with the folder.
    with tempfile.TemporaryDirectory(prefix="lab-check-") as temporary:
        environment = {"TMPDIR": temporary} | ({} if folder is None else {"PYTHONDONTWRITEBYTECODE": "1"})
        heard, tells = os.pipe()
        lives, alive = os.pipe()
        orders = CheckOrders(target, seed, histories, tells, lives, seconds, delivery, properties)
        try:
            return _listened(orders, heard, patience, environment, folder)
        finally:
            os.close(heard)
            os.close(alive)


def _listened(
    orders: CheckOrders, heard: int, patience: float, environment: dict[str, str], folder: Path | None
) -> Result:
    command = [sys.executable, "-P", "-c", _START, json.dumps(sys.path), json.dumps(asdict(orders))]
    process: subprocess.Popen[bytes] | None = None
    printing: threading.Thread | None = None
    try:
        with stopping.held():
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                pass_fds=(orders.say, orders.live), start_new_session=True,
                env=os.environ | environment, cwd=folder,
            )  # fmt: skip
        os.close(orders.say)
        os.close(orders.live)
        printing = threading.Thread(target=_pass_on, args=(process,), daemon=True)
        printing.start()
        return _Parent(orders, process).listen(heard, patience)
    finally:
        if process is not None:
            _end(process)
        if printing is not None:
            printing.join(5)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the child, and what the projector has started in its session."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


class _Parent:
    """Hears what the child reports."""

    def __init__(self, orders: CheckOrders, process: subprocess.Popen[bytes]) -> None:
        self.orders, self.process = orders, process
        self.shape: Shape | None = None
        self.delivery = orders.delivery
        self.prop, self.number, self.step = "", 0, 0

    def listen(self, heard: int, patience: float) -> Result:
        for message in _messages(heard, self.process, patience):
            match message:
                case ["at", prop, number, step]:
                    self.prop, self.number, self.step = prop, number, step
                case ["shape", told, polls]:
                    pairs = {name: tuple(tuple(pair) for pair in told[name]) for name in ("columns", "parts")}
                    self.shape = Shape(**told | pairs | {"sums": tuple(told["sums"])})
                    self.delivery = POLLED if polls else self.orders.delivery
                case ["result", name, verdicts, replay, effort]:
                    effort = Effort(**effort | {"notes": tuple(effort["notes"])})
                    return Result(name, tuple(Verdict(**row) for row in verdicts), replay, effort)
                case ["wrong", problems, status]:
                    wrong = BadInput([Problem(*each) for each in problems])
                    wrong.exit_status = status
                    raise wrong
        return self.ended(self._why(patience))

    def _why(self, patience: float) -> str:
        status = self.process.poll()
        if status is None:
            return f"does not return: nothing has come back for {patience:g} s (more time: --set patience=SECONDS)"
        if status < 0:
            return f"ends the process: it was killed by {signal.Signals(-status).name}"
        return f"ends the process, with exit status {status}"

    def ended(self, why: str) -> Result:
        """Tell of a child that ended, or hung, without a result."""
        target = self.orders.target
        if self.shape is None or self.prop not in PROPERTIES:
            way_out = "it must be possible to import it, and to call it without arguments"
            raise BadInput([Problem(target, f"being imported and made, it {why}", way_out)])
        case = PROPERTIES[self.prop].case(self.orders.seed, self.number, self.shape, delivery=self.delivery)
        polls = self.delivery == POLLED
        story = trial.run(lambda: Poller(_Unmoved(), case.history.shape) if polls else Driver(_Unmoved()), case).lines
        lines = [f"{CHECKS[self.prop].anomaly}: the projector {why}"]
        lines += [f"  {who:<9}  {what}" for step, who, what, _ in story if step <= self.step]
        lines += [f"  {'projector':<9}  {why}"]
        rest = f"the process of the check ended: see {self.prop}"
        hangs = self.process.poll() is None
        verdicts = [
            Verdict(prop, "fail", "\n".join(lines), raised=True, hangs=hangs)
            if prop == self.prop
            else Verdict(prop, "unknown", rest)
            for prop in self.orders.properties or tried(self.delivery, self.shape)
        ]
        wanted = self.orders.histories or HISTORIES
        effort = Effort(self.delivery, self.number + 1, wanted, len(case.history.changes))
        return Result(target, tuple(verdicts), _replay(self.orders, self.number + 1), effort)


class _Unmoved:
    """A projector that ignores everything: with it, a script tells its story without anything going wrong."""

    def apply(self, changes: list[Any]) -> None:
        """Ignore them."""

    def poll(self, source: Any) -> None:
        """Ask nothing."""

    def rows(self) -> list[Any]:
        """Show nothing."""
        return []


def _messages(heard: int, process: subprocess.Popen[bytes], patience: float) -> Iterator[list[Any]]:
    """Yield what the child reports, until it ends, or says nothing for longer than the patience lasts."""
    rest, ended = b"", False
    # Starting the interpreter is not the projector's doing.
    since = math.inf
    while True:
        stopping.check()
        if select.select([heard], [], [], 0 if ended else _LOOK)[0]:
            read = os.read(heard, 65_536)
            *lines, rest = (rest + read).split(b"\n")
            for line in lines:
                yield json.loads(line)
            since = time.monotonic()
            if not read:
                # The descriptor is closed: the child has ended, or will soon.
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(patience)
                return
        elif ended or time.monotonic() - since > patience:
            return
        else:
            ended = process.poll() is not None


def _pass_on(process: subprocess.Popen[bytes]) -> None:
    """Pass on what the projector prints: escaped, and at most PRINTED_MAX bytes.

    The rest is read all the same, also where standard error can't be written: the projector must be able to print.
    """
    assert process.stdout is not None
    decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")
    passed = 0
    with process.stdout as printed:
        while read := os.read(printed.fileno(), 65_536):
            room = PRINTED_MAX - passed
            if room >= 0:
                _show(decoder.decode(read[:room]))
            if 0 <= room < len(read):
                _show("\n... and so on: the rest of what the projector prints is left out\n")
            passed += len(read)
    if passed <= PRINTED_MAX:
        _show(decoder.decode(b"", final=True))


def _show(text: str) -> None:
    with contextlib.suppress(OSError):
        say(text, err=True, end="")


def _replay(orders: CheckOrders, rounds: int) -> str:
    return f"lab check {orders.target} {replayed(orders.delivery, orders.properties, orders.seed, rounds)}"


def child(text: str) -> None:
    """Check as the orders say, report, and end the process at once, whatever the projector has left running."""
    orders = CheckOrders(**json.loads(text))
    for descriptor in (orders.say, orders.live):
        os.set_inheritable(descriptor, False)

    def tell(*message: Any) -> None:
        data = json.dumps(message).encode() + b"\n"
        while data:
            data = data[os.write(orders.say, data) :]

    def end_with_the_parent() -> None:
        os.read(orders.live, 1)
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=end_with_the_parent, daemon=True).start()
    threading.excepthook = WATCH.thread_died
    WATCH.tell, WATCH.apart = lambda prop, number, step: tell("at", prop, number, step), True
    try:
        with contextlib.redirect_stdout(sys.stderr):
            tell("begin")
            found = load(orders.target)
            tell("shape", asdict(found.shape), found.polls)
            options = found.options(orders.seed, orders.histories, orders.properties, orders.delivery, orders.seconds)
            result = judge(found.under(orders.delivery), options, found.name, lambda _, rounds: _replay(orders, rounds))
        verdicts = [asdict(verdict) for verdict in result.verdicts]
        tell("result", result.name, verdicts, result.replay, asdict(result.effort))
    except BaseException as error:
        if last.debugging():
            sys.excepthook(type(error), error, error.__traceback__)
        problems = [(item.where, item.what, item.way_out) for item in told(error)]
        tell("wrong", problems, status_of(error))
    with contextlib.suppress(Exception):
        sys.stderr.flush()
        sys.stdout.flush()
    os._exit(0)
