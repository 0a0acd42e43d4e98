"""The commands about the runs that there are: list them, remove the older ones, open the report of one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lab.cli.shared import RUNS, answer, common, no_scenario
from lab.ending import say
from lab.errors import BadInput, Problem
from lab.formatting import plural, size

if TYPE_CHECKING:
    from lab.cli.terminal import Terminal

FOLDER = click.Path(file_okay=False, path_type=Path)


@click.command()
@click.argument("scenario", required=False)
@click.option("--runs", "root", type=FOLDER, default=RUNS, help="The folder of all runs.", show_default=True)
@click.option("--verdict", type=click.Choice(["pass", "fail", "unknown"]), help="Runs with this verdict alone.")
@click.option("--prune", type=click.IntRange(min=1), metavar="N", help="Remove all but the newest N of each scenario.")
@click.option("--dry-run", is_flag=True, help="With --prune: only list what would be removed.")
@common
def runs(
    scenario: str | None,
    root: Path,
    verdict: str | None,
    prune: int | None,
    dry_run: bool,
    as_json: bool,
    overrides: Sequence[str],
    seed: int | None,
) -> None:
    """List the finished runs, the newest first: verdict, changes, size. SCENARIO: those of one alone."""
    from lab.runs.listing import kept, remove, superseded

    no_scenario(overrides, seed)
    if dry_run and prune is None:
        raise BadInput([Problem("--dry-run", "nothing would be removed", "--prune N says how many are kept")])
    found = kept(root, scenario, verdict)
    old = [] if prune is None else superseded(found, prune)
    if not dry_run:
        for one in old:
            remove(one)
    listed = found if prune is None else old

    def text(console: Terminal) -> None:
        from lab.report.terminal import plain_table

        table = plain_table("changes", "size", texts=("run", "verdict", "started"))
        for one in listed:
            started = one.started_at.replace("T", " ").removesuffix("Z")
            table.add_row(f"{one.scenario}/{one.run}", one.verdict, started, f"{one.changes:,}", size(one.bytes))
        if listed:
            console.print(table)
        took = size(sum(one.bytes for one in listed))
        if prune is None:
            say(f"{plural(len(listed), 'run')} below {root}, {took}" if listed else f"no runs below {root}")
        else:
            say(f"{'would be removed' if dry_run else 'removed'}: {plural(len(listed), 'run')}, {took}")

    rows = [asdict(one) for one in listed]
    answer(as_json, lambda: {"runs": rows} if prune is None else {"removed": rows, "dry_run": dry_run}, text)


@click.command(name="open")
@click.argument("run")
@common
def open_report(run: str, as_json: bool, overrides: Sequence[str], seed: int | None) -> None:
    """Open the report of a run or a sweep in the browser. RUN is a folder, or a scenario's name for its latest run."""
    import webbrowser

    from lab.runs import load_run
    from lab.sweeps.folder import is_sweep

    no_scenario(overrides, seed)
    page = (Path(run) if is_sweep(run) else load_run(run).path) / "report.html"
    if not page.is_file():
        raise BadInput([Problem(str(page), "there is no report", f"lab report {run}")])
    opened = webbrowser.open(page.absolute().as_uri())

    def text(_: Terminal) -> None:
        say(str(page) if opened else f"{page}: no browser is found here; open it with yours")

    answer(as_json, lambda: {"report": str(page), "opened": opened}, text)
