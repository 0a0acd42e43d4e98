"""SIGINT, SIGTERM and SIGHUP end a command wherever it is, once what it began is cleaned up.

The handler raises KeyboardInterrupt. That alone isn't enough: an engine that is interrupted raises an error of its own
instead, and Python drops what is raised in a `__del__` or in a callback. So the handler also remembers the signal, and
a timer raises again as long as nothing of the former exception is under way: no interrupt is swallowed. A thread ends
the process where the main thread hangs in an engine that doesn't look for interrupts.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from lab.formatting import printable

# Seconds between two looks at whether the interrupt was swallowed; and for which an exception of an engine may be
# under way before the interrupt is raised again.
LOOK, FOREIGN = 0.1, 5.0
# Further signals within this many seconds don't interrupt the clean-up.
CLEANING = 3.0
# Seconds without a line of Python in the main thread after which a signalled process is taken to hang in an engine.
STUCK = 15.0
HANDLED = [number for name in ("SIGINT", "SIGTERM", "SIGHUP") if (number := getattr(signal, name, None)) is not None]


@dataclass
class _State:
    """What is known in this process. `kept` are finished results; `made` is what clean-up must remove."""

    received: int | None = None
    at: float = 0.0
    seen: float = 0.0
    holding: int = 0
    winding_down: bool = False
    over: bool = False
    kept: list[str] = field(default_factory=list)
    made: set[Path] = field(default_factory=set)


_state = _State()
# The descriptor by which the thread of `_guard` hears of signals.
_wakeup = -1


def listen() -> None:
    """Install the handlers in the main thread of a process. A signal that the parent process ignores stays ignored."""
    for number in HANDLED:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _handle)
    if hasattr(signal, "SIGALRM"):
        signal.signal(signal.SIGALRM, _look)
        _guard()


def note(number: int) -> None:
    """Remember the first signal."""
    if _state.received is None:
        _state.received, _state.at = number, time.monotonic()


def winds_down(number: int) -> None:
    """Note a signal that an event loop took: the command ends in its own way, with that signal's exit status."""
    note(number)
    _state.winding_down = True


def received() -> int | None:
    """Return the first signal that asked the process to stop; None if there was none."""
    return _state.received


def status() -> int:
    """Return the exit status of a stopped command: 130 after SIGINT, 143 after SIGTERM, 129 after SIGHUP."""
    return 128 + int(_state.received or signal.SIGINT)


@contextmanager
def handled_elsewhere() -> Iterator[None]:
    """Let an event loop take the signals while the block runs; the handlers are installed again at its end.

    Without handlers of this module, nothing is done: a loop of a test has its signals to itself.
    """
    ours = {number: signal.getsignal(number) for number in HANDLED}
    try:
        yield
    finally:
        for number, handler in ours.items():
            if handler is _handle:
                signal.signal(number, handler)
        # asyncio takes this as well, and leaves none behind.
        if _handle in ours.values() and _wakeup != -1 and threading.current_thread() is threading.main_thread():
            signal.set_wakeup_fd(_wakeup, warn_on_full_buffer=False)


def check() -> None:
    """Raise KeyboardInterrupt if a signal came, unless it is being acted upon already."""
    if _state.received is not None and not _state.over and not _under_way():
        raise KeyboardInterrupt


def stop_here() -> None:
    """Raise KeyboardInterrupt if a signal came, also while an exception is handled: it may be the interrupt's doing."""
    if _state.received is not None and not _state.over:
        raise KeyboardInterrupt


@contextmanager
def held() -> Iterator[None]:
    """Put signals off while the block runs, for steps that must not be torn apart; they are acted upon at its end."""
    _state.holding += 1
    try:
        yield
    finally:
        _state.holding -= 1
    if not _state.holding:
        check()


def keeps(what: str | Path) -> None:
    """Note a finished result, which stays when the command fails or is stopped afterwards."""
    if str(what) not in _state.kept:
        _state.kept.append(str(what))


def makes(path: Path) -> None:
    """Note what is unfinished, and removed when the command fails or is stopped."""
    _state.made.add(path)


def left() -> str:
    """Say in words what a command that ends before its time leaves behind."""
    there = [printable(f"{path}") for path in sorted(_state.made) if path.exists()]
    said = [f"left behind, not whole: {', '.join(there)}"] if there else []
    said += [kept()] if _state.kept else []
    return "; ".join(said) or "nothing was left behind"


def kept() -> str:
    """Say what is kept although the command failed; an empty text if nothing is."""
    return f"kept: {', '.join(map(printable, _state.kept))}" if _state.kept else ""


def over() -> None:
    """Note that the command has ended: nothing is raised from now on."""
    _state.over = True
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, 0)


def begin() -> None:
    """Forget what is kept and unfinished: a process may run several commands, as tests do."""
    _state.kept.clear()
    _state.made.clear()


def reset() -> None:
    """Forget everything, the signal too."""
    global _state
    _state = _State()


def _under_way() -> bool:
    """Return whether an exception is being handled that this stop has caused, or may have caused."""
    if _state.winding_down:
        return True
    error = current = sys.exc_info()[1]
    for _ in range(100):
        if isinstance(error, KeyboardInterrupt):
            return True
        error = error.__context__ if error is not None else None
    # An engine's own exception doesn't lead back to the interrupt.
    return current is not None and time.monotonic() - _state.at < FOREIGN


def _guard() -> None:
    """Start the thread that hears of signals also while the main thread is in native code."""
    global _wakeup
    reader, _wakeup = os.pipe()
    os.set_blocking(_wakeup, False)
    signal.set_wakeup_fd(_wakeup, warn_on_full_buffer=False)
    # A child would write its signals into the pipe of its parent.
    os.register_at_fork(after_in_child=_unguarded)
    threading.Thread(target=_wait, args=(reader,), name="signals", daemon=True).start()


def _unguarded() -> None:
    global _wakeup
    _wakeup = -1
    with suppress(ValueError):
        signal.set_wakeup_fd(-1)


def _wait(reader: int) -> None:
    """Wait for a signal, then end the process if its main thread executes nothing for too long."""
    while True:
        mine = [number for number in os.read(reader, 64) if number in HANDLED]
        if mine and signal.getsignal(mine[0]) is _handle:
            break
    note(mine[0])
    began = time.monotonic()
    while not _state.over:
        time.sleep(0.2)
        if time.monotonic() - max(began, _state.seen) > STUCK:
            os.write(2, f"stopped while an engine would not be interrupted; {left()}\n".encode(errors="replace"))
            os._exit(status())


def _handle(number: int, _: FrameType | None) -> None:
    again = _state.received is not None and _state.seen > 0
    note(number)
    _state.seen = time.monotonic()
    if _state.over:
        return
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, LOOK, LOOK)
    if _state.holding:
        return
    if not _under_way():
        raise KeyboardInterrupt
    if again and time.monotonic() - _state.at > CLEANING:
        # Asked again and again: what is being cleaned up hangs, or takes longer than the user will wait.
        text = f"stopped in the middle of cleaning up; {left()}\n"
        os.write(2, text.encode(errors="replace"))
        os._exit(status())


def _look(_: int, __: FrameType | None) -> None:
    _state.seen = time.monotonic()
    if not _state.holding:
        check()
