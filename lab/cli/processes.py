"""The commands that start processes: `serve`, `load` and `torture`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from lab.cli.shared import EXIT, RUNS, FiniteFloat, answer, common, planned, progress_bar, repeated, unreported
from lab.ending import say
from lab.errors import BadInput, MissingDriver, Problem

# Far beyond what one machine can send, and longer than a year.
RATE_MAX, SECONDS_MAX = 1e6, 1e8


@contextmanager
def _extra(command: str) -> Iterator[None]:
    """Tell how to get what the service needs, where an import inside the block fails."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise MissingDriver(f"lab {command}: {error}; get it with: pip install 'polyglot-lab[service]'") from None


@click.command()
@click.argument("scenario")
@click.option("--host", default="127.0.0.1", show_default=True, help="Where to listen; beyond loopback with a token.")
@click.option("--port", type=click.IntRange(0, 65535), default=8087, show_default=True, help="0 for one that is free.")
@click.option("--folder", type=click.Path(file_okay=False, path_type=Path), help="Where the files are kept.")
@click.option("--fresh", is_flag=True, help="Begin the folder anew: remove what the lab made there, and nothing else.")
@click.option("--token", envvar="LAB_TOKEN", help="What every request must bring; or the variable LAB_TOKEN.")
@click.option("--journal", is_flag=True, help="Write down what became of every change, beside the files.")
@common
def serve(
    scenario: str,
    host: str,
    port: int,
    folder: Path | None,
    fresh: bool,
    token: str | None,
    journal: bool,
    as_json: bool,
    overrides: Sequence[str],
    seed: int | None,
) -> None:
    """Serve a scenario's source of truth and projections over HTTP, each as a process of its own."""
    with _extra("serve"):
        from lab.service.serve import Address
        from lab.service.serve import serve as keep_serving
    if fresh and folder is None:
        what = "a folder that is not kept is always begun anew"
        raise BadInput([Problem("--fresh", what, "leave it out, or name the --folder to begin anew")])

    def ready(row: dict[str, Any]) -> None:
        said = f"serving {scenario} at {row['url']}; stop it with Ctrl-C"
        answer(as_json, lambda: row, lambda _: say(said))

    keep_serving(planned(scenario, overrides, seed), folder, Address(host, port, token), ready, journal, fresh)


@click.command()
@click.argument("scenario")
@click.option(
    "--rate", type=FiniteFloat(min=0, max=RATE_MAX, min_open=True), help="Arrivals a second; 50, if no users are named."
)
@click.option("--duration", type=FiniteFloat(min=1, max=SECONDS_MAX), default=30.0, show_default=True, help="Seconds.")
@click.option("--users", type=click.IntRange(1, 10_000), help="Instead of a rate: users that wait for each answer.")
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
) -> int:
    """Serve a scenario, drive it with Locust, and write a run: latency, lag, read-your-writes, on the wall clock."""
    from lab.load.driving import Order
    from lab.load.knee import knee
    from lab.load.run import load as drive
    from lab.report import print_run, summary

    plan = planned(scenario, overrides, seed)
    arguments = repeated(scenario, overrides, seed)
    if users is not None and (rate or find_knee):
        what = "arrivals come at a rate, or users wait for their answers: not both"
        raise BadInput([Problem("--users", what, "leave out --users, or --rate and --find-knee")])
    order = Order((50.0 if rate is None else rate) if users is None else 0.0, duration, users or 8, processes)
    with progress_bar() as progress:
        go = knee if find_knee else drive
        run = go(plan, arguments, order, RUNS, progress)
    load_said = run.manifest["load"]
    more = {"load": load_said, "rows": run.load.to_dicts(), "knee": run.knee.to_dicts()}
    answer(as_json, lambda: summary(run) | more, lambda console: print_run(run, console))
    return unreported(run) or (EXIT["unknown"] if load_said["void"] else EXIT[run.manifest["verdict"]])


@click.command()
@click.argument("scenario")
@click.option("--kills", type=click.IntRange(min=1), default=50, show_default=True, help="Of each process.")
@click.option("--rate", type=FiniteFloat(0.001, RATE_MAX), default=150.0, show_default=True, help="Commands a second.")
@common
def torture(scenario: str, kills: int, rate: float, as_json: bool, overrides: Sequence[str], seed: int | None) -> int:
    """Serve a scenario, kill every process of the service again and again (SIGKILL), and count what is left.

    Recovery is the time from a kill until the next process listens; it may still be catching up then.
    """
    with _extra("torture"):
        from lab.service.torture import killings
        from lab.service.torture import torture as kill_them
    plan = planned(scenario, overrides, seed)
    arguments = repeated(scenario, overrides, seed)
    with progress_bar() as progress:
        progress.step("killing", killings(kills, len(plan.projections)))
        found = kill_them(plan, arguments, kills, rate, done=progress.done)
    from lab.report.torture import print_torture

    answer(as_json, lambda: found, lambda console: print_torture(found, console))
    return EXIT[found["verdict"]]
