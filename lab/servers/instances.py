"""Instances of servers that the lab starts itself: on loopback, at a free port, with all their data in one folder.

An instance is known by the file `instance.json` in its folder, which has its process. No other one is ever stopped.
What differs between kinds of servers is an `InstanceKind`: one small file for each.
"""

from __future__ import annotations

import json
import os
import pwd
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from lab.base import BadInput, LabError, Problem, Unavailable
from lab.formatting import printable
from lab.place import read_file, replace_file
from lab.ports import Endpoint, Missing
from lab.servers.processes import alone_in, completed, ends_with_parent, enters, free_port, gets_free, started

# Beside the data: which process has them. What it says goes into the log.
STATE, LOG = "instance.json", "server.log"
# Seconds until a server must answer, or must have ended; and until a program must have ended that makes its data.
STARTS, STOPS, PREPARES = 120.0, 30.0, 120.0
_LOOK = 0.02
# Users that a server is started as that refuses root, if the folder isn't that of another user than root.
_USERS = ("postgres", "nobody")
How = Literal["clean", "kill"]
# Those that this process has started.
_children: dict[int, subprocess.Popen[bytes]] = {}


class InstanceKind(Protocol):
    """What it takes to start one kind of server."""

    @property
    def name(self) -> str:
        """The kind's name, as in `lab servers start NAME`."""

    @property
    def variable(self) -> str:
        """The environment variable that says where such a server is."""

    @property
    def as_root(self) -> bool:
        """Whether it can be started by root."""

    @property
    def keeps(self) -> bool:
        """Whether its data outlive it."""

    @property
    def signals(self) -> Mapping[How, signal.Signals]:
        """How its main process is told to end with all that it has started: politely, or as in a crash."""

    def binary(self) -> Path:
        """Return the server's program. Raises MissingDriver with the ways to get one."""

    def prepare(self, binary: Path, data: Path, execute: Callable[[Sequence[str]], None]) -> None:
        """Fill `data`, an empty folder, once. `execute` runs a program as the server's user."""

    def command(self, binary: Path, data: Path, port: int, settings: Mapping[str, str]) -> list[str]:
        """Return the command that runs it in the foreground on 127.0.0.1."""

    def environment(self, data: Path, port: int, settings: Mapping[str, str]) -> Mapping[str, str]:
        """Return the variables that it is started with besides those of this process."""

    def url(self, port: int) -> str:
        """Return what `variable` is set to, without a password."""

    def answers(self, port: int) -> Endpoint:
        """Connect to it. Raises Unavailable while it doesn't answer."""


@dataclass(frozen=True)
class InstanceState:
    """The process of an instance: its number, and when the system says that it was started, as numbers come again."""

    kind: str
    process: int
    started: str
    port: int
    settings: dict[str, str] = field(default_factory=dict)

    @property
    def runs(self) -> bool:
        # One that had ended before it could be looked at has no such time.
        return self.process > 0 and self.started != "" and started(self.process) == self.started


class Instance:
    """One instance of a server with its data in `folder`; a `ServerManager`.

    With `bound` it ends with the thread that starts it (on Linux); else it goes on after this process.
    """

    def __init__(self, kind: InstanceKind, folder: Path, bound: bool = False) -> None:
        self.kind, self.folder, self._bound = kind, folder.absolute(), bound

    @property
    def url(self) -> str:
        """Where it listens. Raises BadInput where nothing was started."""
        return self.kind.url(self._known().port)

    @property
    def process(self) -> int:
        """The number of its main process; 0 if it doesn't run. Raises BadInput for a folder of something else."""
        state = self._state()
        if state is not None and state.process in _children:
            # The end of a child must be taken.
            _children[state.process].poll()
        return state.process if state is not None and state.runs else 0

    def find(self) -> Endpoint | Missing:
        """Return where it answers, or that it doesn't run, and how it is started."""
        way_out = f"lab servers start {self.kind.name} {self.folder}"
        try:
            if self.process:
                return self.kind.answers(self._known().port)
        except LabError as error:
            return Missing(str(error), way_out)
        return Missing(f"no {self.kind.name} of the lab runs in {self.folder}", way_out)

    def start(self, settings: Mapping[str, str] | None = None) -> Endpoint:
        """Start it and wait until it answers; one that runs is left as it is. Data and port stay from start to start.

        `settings` are the server's own, for this start; None takes those of the last one. Raises MissingDriver without
        a program, BadInput for a folder that can't be used, Unavailable with its last words if it ends.
        """
        binary, user = self.kind.binary(), self._user()
        with self._made():
            state = self._state()
            if self.process and state is not None:
                return self.kind.answers(state.port)
            if user is not None:
                os.chown(self.folder, user.pw_uid, user.pw_gid)
            self._prepare(binary, user)
            return self._start(binary, user, state, settings)

    def _start(
        self,
        binary: Path,
        user: pwd.struct_passwd | None,
        state: InstanceState | None,
        settings: Mapping[str, str] | None,
    ) -> Endpoint:
        given = dict(settings) if settings is not None else dict(state.settings if state else {})
        port = state.port if state is not None and gets_free(state.port) else free_port()
        environment = dict(self.kind.environment(self.folder / "data", port, given))
        child = self._spawn(self.kind.command(binary, self.folder / "data", port, given), environment, user)
        _children[child.pid] = child
        state = InstanceState(self.kind.name, child.pid, started(child.pid), port, given)
        replace_file(self.folder / STATE, json.dumps(asdict(state)))
        try:
            return self._answered(port)
        except BaseException:
            if self.process:
                self.stop("kill")
            raise

    def stop(self, how: How = "clean") -> None:
        """Stop it, and wait until it has ended. Raises BadInput if none runs here, Unavailable if it won't end."""
        state = self._known()
        if not self.process:
            raise self._refusal(f"no {self.kind.name} that the lab started runs in {self.folder}", "lab servers")
        try:
            os.kill(state.process, self.kind.signals[how])
        except ProcessLookupError:
            # It has ended by itself since.
            return
        except PermissionError:
            what = f"{self.kind.name}, process {state.process}, belongs to another user"
            raise self._refusal(what, "stop it as that user, or as root") from None
        until = time.monotonic() + STOPS
        while self.process:
            if time.monotonic() > until:
                raise Unavailable(f"{self.kind.name}, process {state.process}: it didn't end within {STOPS:g} s")
            time.sleep(_LOOK)
        if (child := _children.pop(state.process, None)) is not None:
            child.wait()

    # -- its folder ---------------------------------------------------------------------------------------------------

    def _state(self) -> InstanceState | None:
        """What the folder says; None for one that is empty or isn't there. Raises BadInput for anything else."""
        way_out = "name an empty folder, or one that doesn't exist yet"
        try:
            text = read_file(self.folder / STATE)
            if text is None:
                if self.folder.exists() and any(one.name != "data" for one in self.folder.iterdir()):
                    raise self._refusal(f"{self.folder}: it has other files, and no server of the lab", way_out)
                return None
            found = InstanceState(**json.loads(text))
        except (OSError, ValueError, TypeError) as error:
            raise self._refusal(f"{self.folder / STATE}: can't be read: {error}", way_out) from None
        if found.kind != self.kind.name:
            raise self._refusal(f"{self.folder}: it belongs to a {found.kind}", way_out)
        return found

    def _known(self) -> InstanceState:
        if (state := self._state()) is None:
            raise self._refusal(f"no {self.kind.name} was started in {self.folder}", "lab servers")
        return state

    def _user(self) -> pwd.struct_passwd | None:
        """The user to start it as; None is the present one. Raises BadInput where root is refused and nobody else."""
        return None if self.kind.as_root or os.geteuid() != 0 else self._other_user()

    def _other_user(self) -> pwd.struct_passwd:
        owner = self.folder.stat().st_uid if self.folder.exists() else 0
        for name in [owner] if owner else _USERS:
            with suppress(KeyError):
                user = pwd.getpwuid(name) if isinstance(name, int) else pwd.getpwnam(name)
                for parent in self.folder.parents:
                    if parent.exists() and not enters(parent, user):
                        way_out = "name one that it can, such as one below /var/tmp"
                        what = f"{self.kind.name} refuses to run as root, and the user {user.pw_name} can't enter"
                        raise self._refusal(f"{what} {parent}", way_out)
                return user
        raise self._refusal(f"{self.kind.name} refuses to run as root", "run it as another user")

    @contextmanager
    def _made(self) -> Iterator[None]:
        """Make the folder, if it isn't there, and keep others from starting a server in it meanwhile."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with alone_in(self.folder, PREPARES + STARTS):
                yield
        except TimeoutError:
            raise Unavailable(f"{self.folder}: another process has been starting a server in it") from None
        except OSError as error:
            raise self._refusal(f"{self.folder}: {error.strerror}", "name another folder") from None

    def _prepare(self, binary: Path, user: pwd.struct_passwd | None) -> None:
        """Make the data, if there are none: aside, and then renamed, so there is never half of them."""
        if (self.folder / "data").exists():
            return
        fresh = self.folder / "data.new"
        self._execute(["rm", "-rf", str(fresh)], user)
        self._execute(["mkdir", "-m", "700", str(fresh)], user)
        self.kind.prepare(binary, fresh, lambda words: self._execute(words, user))
        fresh.rename(self.folder / "data")

    def _execute(self, words: Sequence[str], user: pwd.struct_passwd | None) -> None:
        with self._log() as log:
            try:
                status = completed(words, PREPARES, stdout=log, stderr=log, **self._as(user))
            except subprocess.TimeoutExpired:
                what = f"{Path(words[0]).name} didn't end within {PREPARES:g} s: {self._last_words()}"
                raise Unavailable(what) from None
        if status:
            raise Unavailable(f"{Path(words[0]).name} ended with {status}: {self._last_words()}")

    def _as(self, user: pwd.struct_passwd | None) -> dict[str, Any]:
        given: dict[str, Any] = {"cwd": self.folder}
        return given if user is None else given | {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}

    @contextmanager
    def _log(self) -> Iterator[int]:
        with (self.folder / LOG).open("ab") as file:
            yield file.fileno()

    def _last_words(self) -> str:
        lines = (read_file(self.folder / LOG) or "").splitlines()
        return printable(next((line for line in reversed(lines) if line.strip()), "it said nothing"))

    # -- its process --------------------------------------------------------------------------------------------------

    def _spawn(
        self, words: Sequence[str], environment: Mapping[str, str], user: pwd.struct_passwd | None
    ) -> subprocess.Popen[bytes]:
        dies = ends_with_parent(self.kind.signals["clean"]) if self._bound else None
        with self._log() as log:
            return subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, preexec_fn=dies,
                env=os.environ | environment, **self._as(user),
            )  # fmt: skip

    def _answered(self, port: int) -> Endpoint:
        until = time.monotonic() + STARTS
        while True:
            try:
                return self.kind.answers(port)
            except Unavailable as error:
                if not self.process:
                    raise Unavailable(f"{self.kind.name} ended while it started: {self._last_words()}") from None
                if time.monotonic() > until:
                    raise Unavailable(f"{self.kind.name} didn't answer within {STARTS:g} s: {error}") from None
            time.sleep(_LOOK)

    def _refusal(self, what: str, way_out: str) -> BadInput:
        return BadInput([Problem(f"servers: {self.kind.name}", what, way_out)])
