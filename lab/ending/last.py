"""The last handler: whatever a command does, it ends with an exit status that means something, and says why."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NoReturn

from lab.ending import output, stopping
from lab.ending.failures import INTERNAL, at_work_in, status_of, told
from lab.errors import Problem
from lab.formatting import printable


def debugging() -> bool:
    """Return whether the variable LAB_DEBUG asks for tracebacks. The option `--debug` sets it, also for children."""
    return os.environ.get("LAB_DEBUG", "") not in ("", "0", "false", "no")


def complain(
    error: BaseException, as_json: bool = False, who: str = "", problems: Sequence[Problem] | None = None
) -> int:
    """Print what an exception means, as lines on standard error and with `as_json` as a document; return its status.

    `who` names the process where several write to one terminal; `problems` are other words for it. The traceback comes
    first, if the user asks for it.
    """
    problems = told(error) if problems is None else problems
    traced(error)
    if as_json:
        rows = [{"where": item.where, "what": item.what, "way_out": item.way_out} for item in problems]
        _quietly(lambda: output.send(document({"error": rows}) + "\n"))
    # A line end in a name must not begin a line of its own.
    for item in problems:
        named = replace(item, where=who if item.where == "lab" else f"{who}: {item.where}") if who else item
        _quietly(functools.partial(output.say, f"error: {printable(str(named))}", err=True))
    if kept := stopping.kept():
        _quietly(lambda: output.say(kept, err=True))
    return status_of(error)


def traced(error: BaseException) -> None:
    """Print an exception's traceback on standard error, if the user asks for tracebacks."""
    if debugging():
        _quietly(lambda: output.say("".join(traceback.format_exception(error)), err=True, end=""))


def document(data: Any) -> str:
    """Serialise to JSON in ASCII without control characters. Raises ValueError for NaN and infinity."""
    return json.dumps(data, indent=2, allow_nan=False).replace("\x7f", "\\u007f")


def run(body: Callable[[], object]) -> NoReturn:
    """Run the main function of a process, and exit: with the status that it returns, or with that of what ended it.

    `say` and the console of the commands go on without a reader of standard output. A BrokenPipeError that leaves the
    function has cut its work off, so it is an error like any other.
    """
    output.prepare()
    stopping.listen()
    _hooks()
    status = 0
    try:
        try:
            returned = body()
            status = returned if type(returned) is int else 0
        except SystemExit as done:
            status = _code(done.code)
        except KeyboardInterrupt:
            status = stopping.status()
            stopping.over()
    except KeyboardInterrupt:
        status = stopping.status()
    except BaseException as error:
        if stopping.received() is None:
            status = complain(error)
    stopping.over()
    if stopping.received() is not None or status == 130:
        # Also when an engine made another exception of it, or when the work was done by then.
        status = stopping.status()
        _quietly(lambda: output.say(f"stopped; {stopping.left()}", err=True))
    status = flushed(status)
    # An interrupt that has passed an `exec` of text (dataclasses have one) is remembered by the interpreter, which then
    # ends by SIGINT, whatever the status. The next `exec` makes it forget.
    exec("")
    sys.exit(status)


def _code(code: object) -> int:
    """Return the status of an exit that was asked for; a text is printed, as Python does."""
    if code is None or isinstance(code, int):
        return int(code or 0)
    _quietly(lambda: output.say(str(code), err=True))
    return INTERNAL


def flushed(status: int) -> int:
    """Flush what was printed; a result that did not get through is no success."""
    try:
        with at_work_in("standard output"):
            sys.stdout.flush()
    except BrokenPipeError:
        output.give_up(sys.stdout)
    except (OSError, ValueError) as error:
        status = complain(error)
        output.give_up(sys.stdout)
    _quietly(sys.stderr.flush)
    return status


def _quietly(print_it: Callable[[], object]) -> None:
    """Print if it can be: what can't be said must not hide what is wrong."""
    with contextlib.suppress(Exception):
        print_it()


def _hooks() -> None:
    """Tell what goes wrong outside the main thread, and in callbacks, in one line each."""

    def in_thread(args: threading.ExceptHookArgs) -> None:
        if args.exc_value is not None and not isinstance(args.exc_value, SystemExit):
            complain(args.exc_value, who=f"thread {args.thread.name if args.thread else ''}")

    def unraisable(args: Any) -> None:
        # An interrupt that Python drops is raised again by `stopping`.
        if not isinstance(args.exc_value, KeyboardInterrupt) and args.exc_value is not None:
            _quietly(lambda: output.say(f"ignored: {type(args.exc_value).__name__}: {args.exc_value}", err=True))

    threading.excepthook = in_thread
    sys.unraisablehook = unraisable
