"""The command `lab servers`: which servers are reached, what of them matters, and how others are started."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lab.cli.shared import answer, common, no_scenario
from lab.ending import say
from lab.errors import BadInput, Problem

if TYPE_CHECKING:
    from lab.cli.terminal import Terminal


@click.command()
@click.argument("action", type=click.Choice(["list", "start", "stop"]), default="list")
@click.argument("name", required=False)
@click.argument("folder", required=False, type=click.Path(path_type=Path))
@click.option("--clean", is_flag=True, help="Drop what ended processes of the lab left on the servers.")
@common
def servers(
    action: str,
    name: str | None,
    folder: Path | None,
    clean: bool,
    as_json: bool,
    overrides: Sequence[str],
    seed: int | None,
) -> None:
    """List the servers: reachable or not, version, the settings that matter, and how to start a missing one.

    `start NAME` starts one of the lab's own on this machine, with its data in FOLDER (servers/NAME if none is given)
    and the server's own settings as `--set` gives them, and `stop NAME` stops it.
    """
    from lab.servers import catalogue, server

    no_scenario(() if action == "start" else overrides, seed)
    if action != "list":
        if clean:
            raise BadInput([Problem("--clean", f"`{action}` drops nothing", "leave it out")])
        row = _own(action, name, folder, overrides)
        answer(as_json, lambda: row, lambda _: _tell(row))
        return
    if name is not None:
        raise BadInput([Problem("arguments", f"`list` takes no {name}", "lab servers")])
    rows = catalogue()
    for row in rows if clean else ():
        row["dropped"] = list(server(row["server"]).clean()) if row["reachable"] else []
    answer(as_json, lambda: rows, lambda console: _print(rows, console))


def _own(action: str, name: str | None, folder: Path | None, overrides: Sequence[str]) -> dict[str, Any]:
    """Start or stop an instance of the lab's own, and return what is told of it."""
    from lab.servers import STARTED, instance

    if name not in STARTED:
        what = "which server? " if name is None else f"the lab starts no {name}; "
        raise BadInput([Problem("arguments", f"{what}{', '.join(STARTED)}", f"lab servers {action} {STARTED[0]}")])
    one = instance(name, folder)
    row: dict[str, Any] = {"server": name, "folder": str(one.folder), "action": action}
    if action == "stop":
        one.stop()
        return row | {"left": "its data are kept" if one.kind.keeps else "what it held is gone"}
    found = one.start(_settings(overrides))
    return row | {"url": found.url, "version": found.version, "export": f"{one.kind.variable}={one.url}"}


def _settings(overrides: Sequence[str]) -> dict[str, str] | None:
    """The server's own settings, out of `name=value`; None takes those of the last start."""
    found = {}
    for text in overrides:
        setting, equals, value = text.partition("=")
        if not (setting and equals and value):
            raise BadInput([Problem("--set", f"`{text}` is no setting", "--set name=value")])
        found[setting] = value
    return found or None


def _tell(row: Mapping[str, Any]) -> None:
    if row["action"] == "stop":
        say(f"{row['server']} in {row['folder']}: stopped; {row['left']}")
        return
    say(f"{row['server']} {row['version']} at {row['url']}, with its data in {row['folder']}")
    say(f"  export {row['export']}")
    say(f"  stop it: lab servers stop {row['server']} {row['folder']}")


def _print(rows: Sequence[Mapping[str, Any]], console: Terminal) -> None:
    for row in rows:
        console.print(row["server"], style="bold", soft_wrap=True)
        if not row["reachable"]:
            say(f"  not reached: {row['reason']}")
            if row["start"]:
                say(f"  {row['start']}")
            continue
        started = f", started by the lab in {row['folder']}" if row["folder"] else ""
        say(f"  {row['version']} at {row['url']}{started}")
        say(f"  {', '.join(f'{name} {value}' for name, value in row['settings'].items())}")
        if "dropped" in row:
            say(f"  dropped: {', '.join(row['dropped']) or 'nothing was left behind'}")
