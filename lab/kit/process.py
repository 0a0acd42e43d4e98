"""The process of a consumer: started, written to, read from, and killed with all that it has started.

Requests are written without waiting for answers. Both directions and standard error are served by one loop, so neither
side waits for a full pipe of the other's.
"""

from __future__ import annotations

import contextlib
import os
import select
import shlex
import shutil
import signal
import subprocess
import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path

from lab.base import BadInput, Problem
from lab.ending import stopping
from lab.formatting import printable
from lab.kit.wire import LINE_MAX

# Bytes of standard error that are kept, and lines of it that are shown.
KEPT_MAX, SHOWN_MAX = 65_536, 12
_LOOK = 0.2
_READ = 1 << 20
HAND = "start it by hand: it must wait for lines on standard input, and answer each on standard output"


class ChildEnded(Exception):
    """The process has ended, or has closed its standard output; the text says how."""


class ChildSilent(Exception):
    """Nothing came for as long as the patience lasts."""


def words(command: str) -> list[str]:
    """Return the words of a command line, as a shell would split it. Raises BadInput if it names no program."""
    try:
        found = shlex.split(command)
    except ValueError as error:
        raise BadInput([Problem("--exec", f"can't be read: {error}", "close every quote")]) from None
    if not found:
        raise BadInput([Problem("--exec", "names no program", 'for example --exec "node readmodel.mjs"')])
    if shutil.which(found[0]) is None:
        if Path(found[0]).is_file():
            what, way_out = "is not executable", f"`chmod +x {found[0]}`, or name its interpreter before it"
        else:
            what, way_out = "there is no such program", "install it, or give its path: --exec ./NAME"
        raise BadInput([Problem(f"--exec {shlex.quote(found[0])}", what, way_out)])
    return found


class ChildProcess:
    """One process of a consumer. `printed` is what it has lately written to standard error."""

    def __init__(self, command: list[str], environment: Mapping[str, str]) -> None:
        try:
            with stopping.held():
                self._process = subprocess.Popen(
                    command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                    start_new_session=True, env=os.environ | environment, bufsize=0,
                )  # fmt: skip
        except OSError as error:
            what = f"can't be started: {error.strerror or error}"
            raise BadInput([Problem(f"--exec {shlex.join(command)}", what, HAND)]) from None
        streams = self._process.stdin, self._process.stdout, self._process.stderr
        self._in, self._out, self._err = (stream.fileno() for stream in streams if stream is not None)
        for descriptor in (self._in, self._out, self._err):
            os.set_blocking(descriptor, False)
        self._poll = select.poll()
        self._poll.register(self._out, select.POLLIN)
        self._poll.register(self._err, select.POLLIN)
        self._unsent = bytearray()
        self._rest = b""
        self._lines: deque[bytes] = deque()
        self._open = {self._out, self._err}
        self._deaf = False
        self.printed = bytearray()

    def alive(self) -> bool:
        """Return whether the process has not ended."""
        return self._process.poll() is None

    def send(self, data: bytes) -> None:
        """Write as much as the pipe takes; the rest goes when answers are waited for."""
        self._unsent += data
        self._write()

    def line(self, patience: float) -> bytes:
        """Return the next line of standard output.

        Raises ChildEnded if there will be none, and ChildSilent if nothing has come for `patience` seconds.
        """
        since = time.monotonic()
        while not self._lines:
            if self._out not in self._open:
                raise ChildEnded(self._how())
            if not self._serve(min(_LOOK, patience)):
                stopping.check()
                if time.monotonic() - since > patience:
                    raise ChildSilent
        return self._lines.popleft()

    def said(self) -> list[str]:
        """Return the last lines of standard error, escaped; none if nothing was written."""
        with contextlib.suppress(BlockingIOError, ValueError, OSError):
            while self._err in self._open and self._print():
                pass
        lines = [printable(line) for line in self.printed.decode("utf-8", "backslashreplace").splitlines()]
        lines = [line[:200] for line in lines if line.strip()]
        return [*(["..."] if len(lines) > SHOWN_MAX else []), *lines[-SHOWN_MAX:]]

    def close_input(self, patience: float) -> bool:
        """Close standard input, and return whether the process ends on it in time."""
        self._deaf = True
        with contextlib.suppress(KeyError):
            self._poll.unregister(self._in)
        self._close(self._process.stdin)
        end = time.monotonic() + patience
        while self.alive() and time.monotonic() < end:
            if self._open:
                self._serve(_LOOK)
            else:
                time.sleep(0.01)
        return not self.alive()

    def kill(self) -> None:
        """End the process, and all in its session, by SIGKILL."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self.said()
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            self._close(stream)
        self._open.clear()

    def _close(self, stream: object) -> None:
        with contextlib.suppress(OSError):
            stream.close()  # type: ignore[attr-defined]

    def _serve(self, seconds: float) -> bool:
        """Wait until something can be read or written, and do it. Return whether anything came."""
        if self._unsent and not self._deaf:
            self._poll.register(self._in, select.POLLOUT)
        came = False
        for descriptor, _ in self._poll.poll(seconds * 1000):
            if descriptor == self._in:
                self._write()
            elif descriptor == self._err:
                self._print()
            else:
                came = self._read() or came
        if not self._unsent or self._deaf:
            with contextlib.suppress(KeyError):
                self._poll.unregister(self._in)
        return came

    def _write(self) -> None:
        try:
            while self._unsent and not self._deaf:
                del self._unsent[: os.write(self._in, self._unsent[:65_536])]
        except BlockingIOError:
            pass
        except OSError:
            # It has ended, or closed its standard input. Its answers so far are read; then their end is met.
            self._deaf = True

    def _read(self) -> bool:
        try:
            read = os.read(self._out, _READ)
        except BlockingIOError:
            return False
        if not read:
            # A line counts with its newline: the rest is of an answer in which the process ended.
            self._forget(self._out)
            self._rest = b""
            return True
        *lines, self._rest = (self._rest + read).split(b"\n")
        self._lines += lines
        if len(self._rest) > LINE_MAX:
            self._lines.append(self._rest)
            self._rest = b""
        return True

    def _print(self) -> bool:
        read = os.read(self._err, 65_536)
        if not read:
            self._forget(self._err)
            return False
        self.printed += read
        del self.printed[:-KEPT_MAX]
        return True

    def _forget(self, descriptor: int) -> None:
        self._open.discard(descriptor)
        with contextlib.suppress(KeyError):
            self._poll.unregister(descriptor)

    def _how(self) -> str:
        """Say how the process ended. One that has closed its standard output alone gets a second to end."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(1)
        status = self._process.poll()
        if status is None:
            return "closes its standard output"
        if status < 0:
            return f"ends the process: it was killed by {signal.Signals(-status).name}"
        return f"ends the process, with exit status {status}"
