"""A process that was frozen on purpose goes on in any case."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from lab.live import freezing


@pytest.mark.parametrize("killed", [False, True])
def test_a_frozen_process_goes_on_in_time_and_when_the_run_is_gone(killed: bool) -> None:
    with subprocess.Popen(["sleep", "60"]) as victim:
        arguments = [sys.executable, "-I", "-S", freezing.__file__, str(victim.pid), "60" if killed else "0.1"]
        with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as freezer:
            assert freezer.stdout is not None
            assert freezer.stdin is not None
            assert freezer.stdout.readline() == b"stopped\n"
            assert os.WIFSTOPPED(os.waitpid(victim.pid, os.WUNTRACED)[1])
            if killed:
                # The end of the run's side of the pipe, as of a process that is killed.
                freezer.stdin.close()
            assert freezer.wait(20) == 0
        assert os.WIFCONTINUED(os.waitpid(victim.pid, os.WCONTINUED)[1])
        victim.kill()
