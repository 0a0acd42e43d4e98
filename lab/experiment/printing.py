"""What a child process prints, passed on to the same streams of this process while the child runs."""

from __future__ import annotations

import codecs
import contextlib
import subprocess
import threading
from io import BufferedReader
from types import TracebackType
from typing import cast

from lab.ending import output

# Seconds for which what is left in the pipes is waited for once the child is gone: a process that it left behind may
# hold them open.
_LEFT = 2.0
# So much of what was said last is kept, to find a line in.
_KEPT = 8_192
_CHUNK = 65_536


class Printing:
    """Passes the standard output and the standard error of a process on, for as long as the block lasts."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        streams = [(cast(BufferedReader, process.stdout), False), (cast(BufferedReader, process.stderr), True)]
        self._threads = [threading.Thread(target=self._pass_on, args=each, daemon=True) for each in streams]
        self._complained = ""

    def __enter__(self) -> Printing:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for thread in self._threads:
            thread.join(_LEFT)

    @property
    def last_line(self) -> str:
        """The last line on its standard error; empty if there was none."""
        return "".join(self._complained.strip().splitlines()[-1:])

    def _pass_on(self, stream: BufferedReader, is_error: bool) -> None:
        decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        with stream:
            while chunk := stream.read1(_CHUNK):
                text = decode(chunk)
                if is_error:
                    self._complained = (self._complained + text)[-_KEPT:]
                # The child must not wait for a reader that is gone.
                with contextlib.suppress(OSError):
                    output.send(text, is_error)
