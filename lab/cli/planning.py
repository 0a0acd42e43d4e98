"""The command `lab plan`: what a source of truth, a feed and each projection need."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lab.cli.shared import EXIT, FiniteFloat, answer, common, printing_apart
from lab.ending import say

if TYPE_CHECKING:
    from lab.cli.terminal import Terminal

_STATUS = {"kept": EXIT["pass"], "broken": EXIT["fail"], "unknown": EXIT["unknown"]}
_LEAST = 1e-9


@click.command("plan")
@click.argument("scenario")
@click.argument("folders", nargs=-1, type=click.Path(file_okay=False, path_type=Path))
@click.option("--rate", type=FiniteFloat(min=_LEAST), help="Changes a second; by default the scenario's.")
@click.option("--bytes", "change_bytes", type=FiniteFloat(min=1), help="Bytes of a change as columns in memory.")
@click.option("--days", type=FiniteFloat(min=_LEAST), help="For how long changes are kept, at that rate.")
@click.option("--store", "stores", multiple=True, metavar="STORE", help="Plan for this store alone; may be repeated.")
@click.option("--busiest", type=FiniteFloat(0.01, 0.99), default=0.7, help="The largest share of time at work.")
@click.option("--partitions", type=click.IntRange(1, 1_024), help="Plan for so many; else the fewest are looked for.")
@common
def plan_(
    scenario: str,
    folders: Sequence[Path],
    rate: float | None,
    change_bytes: float | None,
    days: float | None,
    stores: Sequence[str],
    busiest: float,
    partitions: int | None,
    as_json: bool,
    overrides: Sequence[str],
    seed: int | None,
) -> int:
    """Tell what a load needs, from what `lab grow` has measured: the FOLDERS of it, or the newest below sweeps/."""
    from lab.planning.planning import PlanRequest, plan_for
    from lab.planning.said import document, lines
    from lab.scenario import Source
    from lab.shipped import scenario_file

    request = PlanRequest(rate, change_bytes, days, tuple(stores), busiest, partitions)
    with printing_apart(as_json):
        found = plan_for(scenario, Source(scenario_file(scenario), overrides, seed), request, folders)

    def text(console: Terminal) -> None:
        console.print(found.name, style="bold")
        for line in lines(found):
            say(line)

    answer(as_json, lambda: document(found), text)
    return _STATUS[found.needs.verdict]
