"""A `lab serve` of one's own on a free port: started, asked, stopped or killed. Load and torture use it."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lab.base import BadInput
from lab.service.locking import owned
from lab.service.supervisor import Program, ProgramFailed

# Seconds to wait until the parts of a service that has ended have closed their files.
LETS_GO = 60.0


class LocalService(Program):
    """`lab serve ARGUMENTS --folder FOLDER`; its log is `service.log` beside the folder. `url` is set by `start`."""

    def __init__(
        self, arguments: Sequence[str], folder: Path, *more: str, environment: Mapping[str, str] | None = None
    ) -> None:
        command = ["-m", "lab", "serve", *arguments, "--port", "0", "--folder", str(folder), "--json", *more]
        super().__init__(command, folder.parent / "service.log", environment or {})
        self.url, self.data = "", folder

    def start(self) -> None:
        """Start it and wait until all of its parts answer. Raises ProgramFailed when it doesn't come up."""
        super().start()
        try:
            self.url = str(self.document()["url"])
        except ProgramFailed as error:
            self.let_go()
            raise ProgramFailed(f"the service did not start: {error}") from None
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop it as `Program.stop` does, and wait until its parts have closed their files, for `LETS_GO` s at most."""
        super().stop()
        self.let_go()

    def let_go(self, seconds: float = LETS_GO) -> list[str]:
        """Wait until no part holds the lock of its files. Returns those that hold it still after so many seconds.

        A part may live longer than the front, and write to a folder that is just being removed or judged.
        """
        until, held = time.monotonic() + seconds, list[str]()
        for lock in sorted(self.data.glob(".*.lock")):
            name = lock.name.removeprefix(".").removesuffix(".lock")
            try:
                with owned(self.data, name, max(0.0, until - time.monotonic())):
                    pass
            except BadInput:
                held.append(name)
        return held

    def failed(self) -> str | None:
        """Why it is no longer there; None while it runs."""
        status = self.process.poll()
        return None if status is None else f"the service ended with {status}: {self.last_words()}"

    def get(self, path: str, timeout: float = 30.0) -> dict[str, Any]:
        """A JSON document of the service. Raises OSError, of which HTTP's errors are a kind."""
        with urllib.request.urlopen(self.url + path, timeout=timeout) as answer:
            found: dict[str, Any] = json.load(answer)
        return found

    def caught_up(self, seconds: float, tell: Callable[[float], None] = lambda _: None) -> bool:
        """Wait until every projection that polls is up to date; False if one is not within so many seconds.

        Raises ProgramFailed if the service is gone.
        """
        began = time.monotonic()
        while (waited := time.monotonic() - began) < seconds:
            try:
                found = self.get("/projections")
            except OSError:
                if (why := self.failed()) is not None:
                    raise ProgramFailed(why) from None
                time.sleep(0.1)
                continue
            truth = found["truth"]
            # While the executor doesn't answer, what is the newest position isn't known.
            answers = truth["state"] == "running" and truth.get("commands") is not None
            rows = [item for item in found["projections"] if item["subscribe"] != "channel"]
            if answers and all((item["position"] or 0) >= truth["position"] for item in rows):
                return True
            tell(waited)
            time.sleep(0.1)
        return False
