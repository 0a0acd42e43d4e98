"""The command `lab`: parsing and printing, no logic.

Every command takes `--json`: one document on standard output and nothing else there. Progress and errors go to
standard error. Exit status: 0 all verdicts as expected, 1 one is not, 2 bad input, 3 unknown.
"""

from __future__ import annotations

import functools
import json
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import click
from rich.console import Console

from lab.base import BadInput, LabError, MissingDriver, Problem

EXIT = {"pass": 0, "fail": 1, "unknown": 3}
RUNS = Path("runs")

Function = Callable[..., Any]


def common(function: Function) -> Function:
    """`--json`, `--set` and `--seed`, which every command takes."""
    for option in (
        click.option("--seed", type=click.IntRange(min=0), help="Another seed than the scenario's."),
        click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Set any key of the scenario."),
        click.option("--json", "as_json", is_flag=True, help="Print one JSON document, and nothing else."),
    ):
        function = option(function)

    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except LabError as error:
            _complain(error, kwargs.get("as_json", False))

    return wrapped


def _complain(error: LabError, as_json: bool) -> NoReturn:
    problems: Sequence[Problem] = error.problems if isinstance(error, BadInput) else [Problem("lab", str(error))]
    if as_json:
        rows = [{"where": item.where, "what": item.what, "way_out": item.way_out} for item in problems]
        _print_json({"error": rows})
    for item in problems:
        click.echo(f"error: {item}", err=True)
    sys.exit(error.exit_status)


def _print_json(document: Any) -> None:
    click.echo(json.dumps(document, indent=2, allow_nan=False))


def _plan(scenario: str, overrides: Sequence[str], seed: int | None) -> Any:
    from lab.scenario import Source
    from lab.wiring import plan

    return plan(Source(Path(scenario), overrides, seed))


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="polyglot-lab", prog_name="lab")
def lab() -> None:
    """Put one source of truth beside competing read models, break the messages, and measure what it costs."""


@lab.command()
@click.argument("scenario")
@click.option("--runs", type=click.Path(file_okay=False, path_type=Path), default=RUNS, help="Where run folders go.")
@common
def run(scenario: str, runs: Path, as_json: bool, overrides: Sequence[str], seed: int | None) -> None:
    """Run a scenario, judge its projections, and leave a report."""
    from lab.experiment import run as run_plan
    from lab.progress import bar
    from lab.report import print_run, summary

    plan = _plan(scenario, overrides, seed)
    with bar(Console(stderr=True)) as progress:
        finished = run_plan(plan, runs, progress)
    if as_json:
        _print_json(summary(finished))
    else:
        print_run(finished, Console())
    sys.exit(EXIT[finished.manifest["verdict"]])


@lab.command()
@click.argument("run")
@common
def report(run: str, as_json: bool, overrides: Sequence[str], seed: int | None) -> None:
    """Write a run's report.html again, and print its summary. RUN is a folder, or a scenario's name."""
    from lab.report import print_run, summary, write_report
    from lab.runs import load_run

    _no_scenario(overrides, seed)
    found = load_run(run)
    page = write_report(found)
    if as_json:
        _print_json(summary(found) | {"report": str(page)})
    else:
        print_run(found, Console())


@lab.command()
@click.argument("one")
@click.argument("other")
@click.option("--anyway", is_flag=True, help="Compare runs of unlike machines, scales or durability too.")
@common
def compare(one: str, other: str, anyway: bool, as_json: bool, overrides: Sequence[str], seed: int | None) -> None:
    """Say what differs between two runs: verdicts first, then figures with their intervals."""
    from lab.report import compare as compare_runs
    from lab.report import print_compare
    from lab.runs import load_run

    _no_scenario(overrides, seed)
    result = compare_runs(load_run(one), load_run(other), anyway=anyway)
    if as_json:
        _print_json(result)
    else:
        print_compare(result, Console())


@lab.command()
@click.argument("run")
@click.option("--runs", type=click.Path(file_okay=False, path_type=Path), default=RUNS, help="Where run folders are.")
@common
def advise(run: str, runs: Path, as_json: bool, overrides: Sequence[str], seed: int | None) -> None:
    """Say which projections to keep, from what a run measured. --set levels.KEY and weights.QUERY asks anew."""
    from lab.report.advice import advise as work_out
    from lab.report.advice import document, print_advice, read
    from lab.runs import load_run

    _no_scenario((), seed)
    advice = work_out(read(load_run(run, runs), overrides))
    if as_json:
        _print_json(document(advice))
    else:
        print_advice(advice, Console())


@lab.command()
@click.argument("scenario")
@common
def validate(scenario: str, as_json: bool, overrides: Sequence[str], seed: int | None) -> None:
    """Say everything that is wrong with a scenario, without running it."""
    plan = _plan(scenario, overrides, seed)
    names = [item.name for item in plan.projections]
    if as_json:
        _print_json({"scenario": plan.scenario.name, "valid": True, "seed": plan.scenario.seed, "projections": names})
    else:
        click.echo(f"{scenario}: valid; {len(names)} projections: {', '.join(names)}")


@lab.command()
@common
def stores(as_json: bool, overrides: Sequence[str], seed: int | None) -> None:
    """List the stores: family, engine version, what they answer, and how to get those that are missing."""
    from lab.stores.catalogue import catalogue

    _no_scenario(overrides, seed)
    rows = catalogue()
    if as_json:
        _print_json(rows)
        return
    for row in rows:
        installed = "installed" if row["installed"] else f"not installed; get it with: {row['install']}"
        click.secho(row["store"], bold=True)
        click.echo(f"  {row['family']}, {row['shape']}; {row['engine']}; {installed}")
        click.echo(f"  keeps: {', '.join(row['holds'])}")
        click.echo(f"  answers: {', '.join(row['answers'])}")
        for kind, reason in row["gaps"].items():
            click.echo(f"    not {kind}; {reason}")
        click.echo(f"  a crash: {row['durability']}")


@lab.command()
@click.argument("name")
@click.option("--domain", help="Which of the lab's own domains to start from; by default employees.")
@click.option("--from", "file", metavar="FILE", help="Your own data: Parquet, CSV, NDJSON, Debezium, shop.db:orders.")
@click.option("--key", metavar="A,B", help="The key's columns, if the guess is wrong.")
@click.option("--time", metavar="COLUMN", help="The column of time; `none`: there is none.")
@click.option("--deleted", metavar="COLUMN", help="The column that says what is deleted; `none`: there is none.")
@click.option("--revision", metavar="COLUMN", help="The column that numbers revisions; `none`: there is none.")
@click.option("--entity", metavar="NAME", help="What a record is called.")
@click.option("--text", metavar="A,B", help="Columns that are text, whatever they look like.")
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
    """Write NAME.toml here: a commented scenario that runs, to be changed; with --from, on your own data."""
    from lab.starter import start

    written = start(Path.cwd(), name, domain, file, own, seed, overrides)
    if as_json:
        _print_json(written.document())
    else:
        click.echo(written.text())


@lab.command()
@click.argument("projector", metavar="MODULE:OBJECT")
@common
def check(projector: str, as_json: bool, overrides: Sequence[str], seed: int | None) -> None:
    """Try a projector of your own: duplicates, reordering, loss, late commits, tombstones and crashes."""
    from lab.kit.check import SEED
    from lab.kit.settings import settings
    from lab.testing import check as check_projector

    chosen = settings(overrides)
    result = check_projector(projector, seed=SEED if seed is None else seed, histories=chosen.get("histories"))
    if as_json:
        _print_json(result.document())
    else:
        click.echo(result.text())
    sys.exit(EXIT[result.verdict])


@lab.command()
@click.argument("scenario")
@click.option("--folder", type=click.Path(file_okay=False, path_type=Path), required=True, help="Where the files are.")
@click.option("--projection", "names", multiple=True, metavar="NAME", help="Only this one; may be given again.")
@click.option(
    "--every", type=click.FloatRange(min=0.001), default=0.1, show_default=True, help="Seconds between polls."
)
@click.option("--until", type=click.IntRange(min=0), help="End when everything up to this position is in.")
@common
def project(
    scenario: str,
    folder: Path,
    names: tuple[str, ...],
    every: float,
    until: int | None,
    as_json: bool,
    overrides: Sequence[str],
    seed: int | None,
) -> None:
    """Keep a scenario's projections up to date, as a process of its own beside `lab execute`. Catch-up only."""
    from lab.process.projector import project as keep_up
    from lab.process.running import stopping, tell

    plan = _plan(scenario, overrides, seed)
    with stopping() as stop:
        keep_up(plan, folder, names, every, until, stop, tell if as_json else _say)


@lab.command()
@click.argument("scenario")
@click.option("--folder", type=click.Path(file_okay=False, path_type=Path), required=True, help="Where the files are.")
@click.option("--from", "first", type=click.IntRange(min=0), default=0, help="The first command that was not answered.")
@click.option("--rate", type=click.FloatRange(min=0.001), help="Commands a second; without it, as fast as it goes.")
@common
def execute(
    scenario: str,
    folder: Path,
    first: int,
    rate: float | None,
    as_json: bool,
    overrides: Sequence[str],
    seed: int | None,
) -> None:
    """Execute a scenario's commands, as a process of its own; each is acknowledged after its commit."""
    from lab.process.executor import execute as work_off
    from lab.process.running import stopping, tell

    plan = _plan(scenario, overrides, seed)
    with stopping() as stop:
        work_off(plan, folder, first, rate, stop, tell if as_json else _say)


@lab.command()
@click.argument("scenario")
@click.option("--host", default="127.0.0.1", show_default=True, help="Where to listen; beyond loopback with a token.")
@click.option("--port", type=click.IntRange(0, 65535), default=8087, show_default=True, help="0 for one that is free.")
@click.option("--folder", type=click.Path(file_okay=False, path_type=Path), help="Where the files are kept.")
@click.option("--token", envvar="LAB_TOKEN", help="What every request must bring; or the variable LAB_TOKEN.")
@click.option("--journal", is_flag=True, help="Write down what became of every change, beside the files.")
@common
def serve(
    scenario: str,
    host: str,
    port: int,
    folder: Path | None,
    token: str | None,
    journal: bool,
    as_json: bool,
    overrides: Sequence[str],
    seed: int | None,
) -> None:
    """Serve a scenario's source of truth and projections over HTTP, each as a process of its own."""
    try:
        from lab.service.serve import Address
        from lab.service.serve import serve as keep_serving
    except ModuleNotFoundError as error:
        raise MissingDriver(f"lab serve: {error}; get it with: pip install 'polyglot-lab[service]'") from None

    def ready(row: dict[str, Any]) -> None:
        if as_json:
            _print_json(row)
        else:
            click.echo(f"serving {scenario} at {row['url']}; stop it with Ctrl-C")

    keep_serving(_plan(scenario, overrides, seed), folder, Address(host, port, token), ready, journal)


@lab.command()
@click.argument("scenario")
@click.option(
    "--rate", type=click.FloatRange(min=0, min_open=True), help="Arrivals a second; 50, if no users are named."
)
@click.option("--duration", type=click.FloatRange(min=1), default=30.0, show_default=True, help="Seconds.")
@click.option("--users", type=click.IntRange(min=1), help="Instead of a rate: so many, who wait for each answer.")
@click.option("--processes", type=click.IntRange(1, 64), default=2, show_default=True, help="Of Locust.")
@click.option("--find-knee", is_flag=True, help="Raise the rate until a level breaks, and say what was held.")
@common
def load(
    scenario: str,
    rate: float | None,
    duration: float,
    users: int | None,
    processes: int,
    find_knee: bool,
    as_json: bool,
    overrides: Sequence[str],
    seed: int | None,
) -> None:
    """Serve a scenario, drive it with Locust, and write a run: latency, lag, read-your-writes, on the wall clock."""
    from lab.load.driving import Order
    from lab.load.knee import knee
    from lab.load.run import load as drive
    from lab.progress import bar
    from lab.report import print_run, summary

    plan = _plan(scenario, overrides, seed)
    arguments = [scenario, *(part for item in overrides for part in ("--set", item))]
    arguments += [] if seed is None else ["--seed", str(seed)]
    if users is not None and (rate or find_knee):
        what = "arrivals come at a rate, or users wait for their answers: not both"
        raise BadInput([Problem("--users", what, "leave out --users, or --rate and --find-knee")])
    order = Order((50.0 if rate is None else rate) if users is None else 0.0, duration, users or 8, processes)
    with bar(Console(stderr=True)) as progress:
        go = knee if find_knee else drive
        run = go(plan, arguments, order, RUNS, progress)
    load_said = run.manifest["load"]
    if as_json:
        _print_json(summary(run) | {"load": load_said, "rows": run.load.to_dicts(), "knee": run.knee.to_dicts()})
    else:
        print_run(run, Console())
    sys.exit(EXIT["unknown"] if load_said["void"] else EXIT[run.manifest["verdict"]])


@lab.command()
@click.argument("scenario")
@click.option("--kills", type=click.IntRange(min=1), default=50, show_default=True, help="Of each process.")
@click.option("--rate", type=click.FloatRange(min=0.001), default=150.0, show_default=True, help="Commands a second.")
@common
def torture(scenario: str, kills: int, rate: float, as_json: bool, overrides: Sequence[str], seed: int | None) -> None:
    """Kill the executor and every projector with SIGKILL, again and again, and count what is left."""
    from lab.process.torture import torture as kill_them
    from lab.progress import bar

    plan = _plan(scenario, overrides, seed)
    arguments = [scenario, *(part for item in overrides for part in ("--set", item))]
    arguments += [] if seed is None else ["--seed", str(seed)]
    with bar(Console(stderr=True)) as progress:
        progress.step("killing", kills * (1 + len(plan.projections)))
        found = kill_them(plan, arguments, kills, rate, done=progress.done)
    if as_json:
        _print_json(found)
    else:
        from lab.report.torture import print_torture

        print_torture(found, Console())
    sys.exit(EXIT[found["verdict"]])


def _say(row: dict[str, Any]) -> None:
    """A row of what a process tells, for a person."""
    click.echo(", ".join(f"{name} {value}" for name, value in row.items() if value is not None))


def _no_scenario(overrides: Sequence[str], seed: int | None) -> None:
    """A finished run can't be set or seeded any more: better refused than ignored."""
    if overrides or seed is not None:
        raise BadInput([Problem("--set, --seed", "there is no scenario here to set them in", "give them to `lab run`")])


def _stop(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def main() -> None:
    """The entry point. Ctrl-C and a polite kill both end a run without leaving anything behind."""
    signal.signal(signal.SIGTERM, _stop)
    try:
        lab.main(standalone_mode=False)
    except click.exceptions.Exit as done:
        sys.exit(done.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except (KeyboardInterrupt, click.Abort):
        click.echo("stopped; nothing was left behind", err=True)
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(0)
