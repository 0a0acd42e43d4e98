"""The commands that run a scenario or read a finished run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lab.cli.shared import (
    JUNIT,
    RUNS,
    answer,
    common,
    junit_place,
    no_scenario,
    planned,
    printing_apart,
    progress_bar,
    status,
    unreported,
)
from lab.cli.sweeping import report_sweep
from lab.ending import at_work_in, say

if TYPE_CHECKING:
    from lab.cli.terminal import Terminal
    from lab.experiment.progress import Progress
    from lab.runs import Run
    from lab.wiring import Plan


@click.command()
@click.argument("scenario")
@click.option("--runs", type=click.Path(file_okay=False, path_type=Path), default=RUNS, help="Where run folders go.")
@click.option("--repeat", type=click.IntRange(1, 1_000), help="Run it so often: medians with intervals of both levels.")
@click.option("--live", is_flag=True, help="On the wall clock: writers and projections are processes of their own.")
@click.option("--junit", type=JUNIT, metavar="FILE", help="Write the verdicts on checks and claims as JUnit XML.")
@common
def run(
    scenario: str,
    runs: Path,
    repeat: int | None,
    live: bool,
    junit: Path | None,
    as_json: bool,
    overrides: Sequence[str],
    seed: int | None,
) -> int:
    """Run a scenario, check its projections, and write a run folder with a report."""
    from lab.report import print_run, summary
    from lab.report.junit import write_run as write_run_as_junit

    junit_place(junit)
    often = [] if repeat is None else [f"repeat={repeat}"]
    mode = ["time.mode=live"] if live else []
    with printing_apart(as_json):
        plan = planned(scenario, [*overrides, *often, *mode], seed)
        with progress_bar() as progress:
            finished = _way(plan)(plan, runs, progress)
    answer(as_json, lambda: summary(finished), lambda console: print_run(finished, console))
    if junit is not None:
        with at_work_in(junit):
            write_run_as_junit(junit, finished)
    return unreported(finished) or status(finished)


def _way(plan: Plan) -> Callable[[Plan, Path, Progress], Run]:
    """How a scenario is run: on the simulated clock, or live. The one doesn't import what the other needs."""
    if plan.scenario.time.mode == "live":
        from lab.live.run import run_live

        return run_live
    from lab.experiment import run as run_simulated

    return run_simulated


@click.command()
@click.argument("run")
@common
def report(run: str, as_json: bool, overrides: Sequence[str], seed: int | None) -> int:
    """Write report.html of a run or a sweep again, and print its summary. RUN is a folder, or a scenario's name."""
    from lab.experiment import reported
    from lab.report import print_run, summary
    from lab.runs import load_run
    from lab.sweeps.folder import is_sweep

    no_scenario(overrides, seed)
    if is_sweep(run):
        return report_sweep(run, as_json)
    found = reported(load_run(run))
    told = {"report": None if found.unreported else str(found.path / "report.html")}
    answer(as_json, lambda: summary(found) | told, lambda console: print_run(found, console))
    return unreported(found)


@click.command()
@click.argument("one")
@click.argument("other")
@click.option(
    "--anyway", is_flag=True, help="Compare runs of unlike machines, scales or durability, and void ones, too."
)
@common
def compare(one: str, other: str, anyway: bool, as_json: bool, overrides: Sequence[str], seed: int | None) -> None:
    """Show what differs between two runs: verdicts first, then figures with their intervals."""
    from lab.report import compare as compare_runs
    from lab.report import print_compare
    from lab.runs import load_run

    no_scenario(overrides, seed)
    result = compare_runs(load_run(one), load_run(other), anyway=anyway)
    answer(as_json, lambda: result, lambda console: print_compare(result, console))


@click.command()
@click.argument("run")
@click.option("--runs", type=click.Path(file_okay=False, path_type=Path), default=RUNS, help="Where run folders are.")
@click.option("--anyway", is_flag=True, help="Advise on a load that is void, too.")
@click.option(
    "--adr",
    metavar="[FILE]",
    is_flag=False,
    flag_value="-",
    help="Write a decision record (ADR) in Markdown into a new FILE; without FILE, print it. Give it after RUN.",
)
@common
def advise(
    run: str, runs: Path, anyway: bool, adr: str | None, as_json: bool, overrides: Sequence[str], seed: int | None
) -> None:
    """Recommend which projections to keep, from what a run measured. --set changes levels, weights, advice."""
    from lab.advice import advise as work_out
    from lab.advice import read
    from lab.report.advice import document, print_advice, record, write_record
    from lab.runs import load_run

    no_scenario((), seed)
    found = load_run(run, runs)
    advice = work_out(read(found, overrides, anyway))
    if adr == "-":
        answer(as_json, lambda: {"adr": record(advice, found)}, lambda _: say(record(advice, found).rstrip()))
        return
    if adr is not None:
        write_record(advice, found, Path(adr))
    written = {} if adr is None else {"adr": adr}
    answer(as_json, lambda: document(advice) | written, lambda console: print_advice(advice, console))
    if adr is not None and not as_json:
        say(f"\nwrote {adr}")


@click.command()
@click.argument("scenario")
@common
def validate(scenario: str, as_json: bool, overrides: Sequence[str], seed: int | None) -> None:
    """List every mistake in a scenario, without running it."""
    plan = planned(scenario, overrides, seed)
    names = [item.name for item in plan.projections]
    found = {"scenario": plan.scenario.name, "valid": True, "seed": plan.scenario.seed, "projections": names}
    said = f"{scenario}: valid; {len(names)} projections: {', '.join(names)}"
    answer(as_json, lambda: found, lambda _: say(said))


@click.command()
@common
def stores(as_json: bool, overrides: Sequence[str], seed: int | None) -> None:
    """List the stores, what each answers, how to install missing ones; and the systems that they are or stand for."""
    from lab.stores import STORES
    from lab.stores.catalogue import catalogue
    from lab.systems.catalogue import systems

    no_scenario(overrides, seed)
    rows, broken, others = catalogue(), STORES.broken, systems()
    document = [*rows, *({"store": name, "broken": reason} for name, reason in broken.items())]
    document += [{"store": "", **row} for row in others]

    def shown(console: Terminal) -> None:
        _print_stores(rows, broken, console)
        _print_systems(others, console)

    answer(as_json, lambda: document, shown)


def _print_stores(rows: Sequence[Mapping[str, Any]], broken: Mapping[str, str], console: Terminal) -> None:
    from lab.registry import HERE

    for row in rows:
        missing = row["broken"] or f"not installed; get it with: {row['install']}"
        installed = "installed" if row["installed"] else missing
        origin = "" if row["package"] == HERE else f"; from {row['package']}"
        console.print(row["store"], style="bold", soft_wrap=True)
        server = f"; on a server: {row['server']} (lab servers)" if row["server"] else ""
        say(f"  {row['family']}, {row['shape']}; {row['engine']}; {installed}{origin}{server}")
        say(f"  keeps: {', '.join(row['holds'])}")
        say(f"  answers: {', '.join(row['answers'])}")
        for kind, reason in row["gaps"].items():
            say(f"    not {kind}; {reason}")
        say(f"  a crash: {row['durability']}")
        if row["refresh_seconds"] is not None:
            often = f"every {row['refresh_seconds']:g} s" if row["refresh_seconds"] else "with each batch"
            say(f"  a refresh: {often}, or as `refresh` says")
    for name, reason in broken.items():
        say(f"{name}: can't be used: {reason}")


def _print_systems(rows: Sequence[Mapping[str, Any]], console: Terminal) -> None:
    from lab.systems import LEVELS

    say("\nSystems, and how far each is tried:")
    for level, meaning in LEVELS.items():
        say(f"  {level}: {meaning}")
    for row in rows:
        on = " ".join(part for part in (row["on"], row["version"]) if part)
        console.print(row["system"], style="bold", soft_wrap=True)
        say(f"  {row['family']}; {', '.join(row['roles'])}; {row['level']}{f' ({on})' if on else ''}")
        say(f"  is used as: {', '.join(row['used_as'])}" if row["used_as"] else f"  {row['level']}: {row['why']}")
        say(f"  stands for it: {', '.join(row['stands']) or 'nothing'}")
        for node in row["proof"]:
            say(f"  proof: {node}")


@click.command()
@click.argument("name")
@click.option("--domain", help="Which of the lab's own domains to start from; by default employees.")
@click.option("--from", "file", metavar="FILE", help="Your own data: Parquet, CSV, NDJSON, Debezium, shop.db:orders.")
@click.option("--key", metavar="A,B", help="The key's columns, if the guess is wrong.")
@click.option("--time", metavar="COLUMN", help="The column of time; `none`: there is none.")
@click.option("--deleted", metavar="COLUMN", help="The column that says what is deleted; `none`: there is none.")
@click.option("--revision", metavar="COLUMN", help="The column that numbers revisions; `none`: there is none.")
@click.option("--entity", metavar="NAME", help="What a record is called.")
@click.option("--text", metavar="A,B", help="Columns that are text, whatever they look like.")
@click.option("--header", type=click.Choice(["yes", "no"]), help="Whether a CSV's first line names its columns.")
@click.option("--encoding", metavar="NAME", help="The encoding of a CSV, if it isn't UTF-8: latin-1, cp1252.")
@click.option("--null", metavar="A,B", help="Words that stand for a missing value: NA,NULL.")
@click.option("--decimal", type=click.Choice([".", ","]), help="The decimal point of a CSV, if it is ambiguous.")
@click.option(
    "--dates",
    type=click.Choice(["dmy", "mdy", "ymd", "excel", "seconds"]),
    help="How dates are written, if that is ambiguous.",
)
@click.option("--skip-bad-rows", is_flag=True, help="Leave malformed rows out, and count them.")
@common
def new(
    name: str,
    domain: str | None,
    file: str | None,
    as_json: bool,
    overrides: Sequence[str],
    seed: int | None,
    **own: Any,
) -> None:
    """Write NAME.toml into this folder: a commented scenario that runs; with --from, on your own data."""
    from lab.starter import start

    written = start(Path.cwd(), name, domain, file, own, seed, overrides)
    answer(as_json, written.document, lambda _: say(written.text()))
