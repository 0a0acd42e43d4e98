"""The command `lab servers`: which servers are reached, what of them matters, and how to start the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import click

from lab.cli.shared import answer, common, no_scenario
from lab.cli.terminal import Terminal
from lab.ending import say


@click.command()
@click.option("--clean", is_flag=True, help="Drop what ended processes of the lab left on the servers.")
@common
def servers(clean: bool, as_json: bool, overrides: Sequence[str], seed: int | None) -> None:
    """List the servers: reachable or not, version, the settings that matter, and how to start a missing one."""
    from lab.servers import catalogue, server

    no_scenario(overrides, seed)
    rows = catalogue()
    for row in rows if clean else ():
        row["dropped"] = list(server(row["server"]).clean()) if row["reachable"] else []
    answer(as_json, lambda: rows, lambda console: _print(rows, console))


def _print(rows: Sequence[Mapping[str, Any]], console: Terminal) -> None:
    for row in rows:
        console.print(row["server"], style="bold", soft_wrap=True)
        if not row["reachable"]:
            say(f"  not reached: {row['reason']}")
            if row["start"]:
                say(f"  {row['start']}")
            continue
        say(f"  {row['version']} at {row['url']}")
        say(f"  {', '.join(f'{name} {value}' for name, value in row['settings'].items())}")
        if "dropped" in row:
            say(f"  dropped: {', '.join(row['dropped']) or 'nothing was left behind'}")
