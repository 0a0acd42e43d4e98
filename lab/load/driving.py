"""The programs of a load: the service on a free port, and Locust with its workers; both end with the block."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lab
from lab.base import LabError

# Beside the package, as it is there for whoever runs Locust by hand.
LOCUSTFILE = Path(lab.__file__).parent.parent / "benchmarks" / "locustfile.py"
# Seconds to start in: a year of flights has to be read first. And to end in.
STARTS, ENDS = 900.0, 60.0
# How long the projections may take to catch up once the load is over.
CATCHES_UP = 60.0


@dataclass(frozen=True)
class Order:
    """What to offer. With a rate, arrivals a second over all workers (open loop); without, `users` that wait.

    `seconds` is how long; `commands` the share of arrivals that are commands.
    """

    rate: float = 0.0
    seconds: float = 30.0
    users: int = 8
    processes: int = 2
    commands: float = 0.5
    probe_timeout: float = 10.0


class LoadFailed(LabError):
    """The service or Locust ended before its time."""

    exit_status = 1


@contextmanager
def service(arguments: list[str], folder: Path) -> Iterator[str]:
    """`lab serve` with a journal; the address. Raises LoadFailed when it doesn't come up."""
    command = [sys.executable, "-m", "lab", "serve", *arguments, "--port", "0", "--folder", str(folder)]
    errors = folder.parent / "service.log"
    with errors.open("w", encoding="utf-8") as log:
        running = subprocess.Popen(
            [*command, "--json", "--journal"], stdout=subprocess.PIPE, stderr=log, text=True, start_new_session=True,
            env=_untold(os.environ),
        )  # fmt: skip
        try:
            yield _address(running, errors)
        finally:
            assert running.stdout is not None
            running.stdout.close()
            running.send_signal(signal.SIGTERM)
            try:
                running.wait(ENDS)
            except subprocess.TimeoutExpired:
                running.kill()
                running.wait()


def _address(running: subprocess.Popen[str], errors: Path) -> str:
    text = ""
    assert running.stdout is not None
    for line in running.stdout:
        text += line
        if line.startswith("}"):
            break
    try:
        return str(json.loads(text)["url"])
    except (ValueError, KeyError):
        running.wait(ENDS)
        said = errors.read_text(encoding="utf-8").strip().splitlines()
        raise LoadFailed(f"the service did not start: {said[-1] if said else 'it said nothing'}") from None


def _untold(environment: Mapping[str, str]) -> dict[str, str]:
    """On loopback, and for as long as the load takes, no token is wanted."""
    return {name: value for name, value in environment.items() if name != "LAB_TOKEN"}


def _free_port() -> str:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return str(one.getsockname()[1])


def drive(url: str, order: Order, seed: int, events: Path) -> None:
    """Locust, headless, until the load is over. Raises LoadFailed."""
    closed = order.rate <= 0
    users = max(order.users, order.processes) if closed else order.processes
    # Some seconds more, in which the last answers come and the last changes are seen to be applied.
    lasts = order.seconds if closed else order.seconds + 4
    environment = {
        "LAB_RATE": str(order.rate), "LAB_SECONDS": str(order.seconds),
        "LAB_EVENTS": str(events), "LAB_SEED": str(seed), "LAB_COMMANDS": str(order.commands),
        "LAB_PROBE_TIMEOUT": str(order.probe_timeout), "PYTHONWARNINGS": "ignore",
    }  # fmt: skip
    port = _free_port()
    command = [
        sys.executable, "-m", "locust", "-f", str(LOCUSTFILE), "--headless", "--host", url,
        "--users", str(users), "--spawn-rate", str(users), "--processes", str(order.processes),
        "--run-time", f"{max(1, round(lasts))}s", "--stop-timeout", "10", "--exit-code-on-error", "0",
        "--csv", str(events / "stats"), "--only-summary",
        # Several loads on one machine must not meet at Locust's usual port.
        "--master-bind-host", "127.0.0.1", "--master-bind-port", port, "--master-port", port,
    ]  # fmt: skip
    if not LOCUSTFILE.is_file():
        raise LoadFailed(f"{LOCUSTFILE} is not there: `lab load` works from a clone of the project")
    log = events / "locust.log"
    with log.open("w", encoding="utf-8") as output:
        running = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, env=_untold(os.environ) | environment,
            start_new_session=True, cwd=events,
        )  # fmt: skip
        try:
            status = running.wait(lasts + 120)
        except BaseException:
            os.killpg(running.pid, signal.SIGKILL)
            running.wait()
            raise
    if status:
        said = [line for line in log.read_text(encoding="utf-8").splitlines() if line.strip()]
        raise LoadFailed(f"Locust ended with {status}: {said[-1] if said else 'it said nothing'}")


def asked(url: str, path: str) -> dict[str, Any]:
    """What the service says."""
    with urllib.request.urlopen(url + path, timeout=30) as answer:
        found: dict[str, Any] = json.load(answer)
    return found


def caught_up(url: str, tell: Callable[[float], None]) -> bool:
    """Wait until every projection that polls is up to date; False if one is not within a minute."""
    began = time.monotonic()
    while time.monotonic() - began < CATCHES_UP:
        found = asked(url, "/projections")
        head = found["truth"]["position"]
        if all((item["position"] or 0) >= head for item in found["projections"] if item["subscribe"] != "channel"):
            return True
        tell(time.monotonic() - began)
        time.sleep(0.1)
    return False
