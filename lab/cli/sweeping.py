"""The commands about sweeps: many runs of a scenario with some of its keys varied."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lab.cli.shared import EXIT, answer, common, no_scenario, printing_apart, progress_bar
from lab.ending import say
from lab.errors import BadInput, Problem

if TYPE_CHECKING:
    from lab.cli.terminal import Terminal
    from lab.scenario import Source
    from lab.sweeps import Sweep, SweepPlan

# Repetitions at each value of a search for a crossover: with one alone it couldn't tell.
LOOKS = 5
# An executor of another make takes as many runs as it has workers, which isn't known before it is there.
_ALONE = 1


@click.command()
@click.argument("scenario")
@click.option("--vary", multiple=True, metavar="KEY=A,B,C", help="Vary a key: values, or a range, 1..10000:log5.")
@click.option("--repeat", type=click.IntRange(1, 1_000), help="Run each point so often, with other seeds.")
@click.option("--samples", type=click.IntRange(2, 1_000_000), help="With --design: so many samples of the ranges.")
@click.option(
    "--design",
    type=click.Choice(["grid", "together", "sobol", "morris"]),
    default="grid",
    help="How points are chosen.",
)
@click.option(
    "--executor", default="local", metavar="WHO", help="local, local:4, dask, dask:tcp://..., module:factory."
)
@click.option("--shard", metavar="I/N", help="Carry out every N-th run alone, from 0/N on; put together by lab merge.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="The folder; by default below sweeps/.")
@click.option("--find-crossover", metavar="ONE,OTHER", help="Where along a range two projections change places.")
@click.option("--quantity", default="lag_p50", help="With --find-crossover: what is smaller, query.NAME or rebuild.")
@click.option("--dry-run", is_flag=True, help="Tell how many runs there are and how long they take; tries one.")
@common
def sweep(
    scenario: str,
    vary: Sequence[str],
    repeat: int | None,
    samples: int | None,
    design: str,
    executor: str,
    shard: str | None,
    out: Path | None,
    find_crossover: str | None,
    quantity: str,
    dry_run: bool,
    as_json: bool,
    overrides: Sequence[str],
    seed: int | None,
) -> int:
    """Run a scenario at many points, each by itself; goes on where it was interrupted, does nothing twice."""
    from lab.scenario import Source
    from lab.shipped import scenario_file
    from lab.sweeps import SweepPlan, carry_on
    from lab.sweeps.folder import begin

    part = _shard(shard)
    if find_crossover is not None:
        _alone({"--dry-run": dry_run, "--shard": shard, "--samples": samples, "--design": design != "grid"})
        source = Source(scenario_file(scenario), overrides, seed)
        return _cross(source, vary, repeat or LOOKS, find_crossover, quantity, executor, out, as_json)
    with printing_apart(as_json):
        plan = SweepPlan.of(Source(scenario_file(scenario), overrides, seed), vary, repeat or 1, samples, design)
        found = begin(plan, out)
        told = _foretold(plan, found, executor, part) if dry_run else {}
        if not dry_run:
            with progress_bar() as progress:
                ran = carry_on(plan, found, executor, progress, part)
    if dry_run:
        answer(as_json, lambda: told, lambda _: say(_in_words(told)))
        return EXIT["pass"]
    answer(as_json, lambda: _document(found, plan, ran), lambda console: _print(found, plan, ran, console))
    return EXIT["pass"] if found.errors.is_empty() else EXIT["fail"]


def _alone(given: Mapping[str, object]) -> None:
    """Refuse options that say nothing of a search: where it looks next depends on what it found."""
    what = "a search for a crossover runs where it must, one value after the other"
    problems = [Problem(option, what, "leave it out, or --find-crossover") for option, said in given.items() if said]
    if problems:
        raise BadInput(problems)


def _cross(
    source: Source, vary: Sequence[str], repeat: int, pair: str, quantity: str, executor: str, out: Path | None,
    as_json: bool,
) -> int:  # fmt: skip
    """Find where two projections change places; status 3 where that can't be told."""
    from lab.sweeps.crossing import find_crossover
    from lab.sweeps.crossover import said
    from lab.sweeps.folder import HOME

    one, comma, other = (part.strip() for part in pair.partition(","))
    if not comma or not one or not other:
        raise BadInput([Problem("--find-crossover", f"`{pair}` names no two projections", "--find-crossover a,b")])
    with printing_apart(as_json), progress_bar() as progress:
        key, found = find_crossover(source, vary, (one, other), quantity, out or HOME, repeat, executor, progress)
    text = said(found, key, (one, other), quantity)
    told = {
        "key": key,
        "quantity": quantity,
        "projections": [one, other],
        "smaller_below": None if found.value is None else (one if found.below == 1 else other),
        "value": found.value,
        "low": found.low,
        "high": found.high,
        "reason": found.reason,
        "looks": [
            {"value": each.value, "ratio": each.ratio.value, "low": each.ratio.low, "high": each.ratio.high}
            for each in found.looks
        ],
        "said": text,
    }
    answer(as_json, lambda: told, lambda _: say(text))
    return EXIT["pass"] if found.value is not None else EXIT["unknown"]


def _shard(text: str | None) -> tuple[int, int]:
    if text is None:
        return 0, 1
    number, slash, of = text.partition("/")
    if slash and number.isdecimal() and of.isdecimal() and int(number) < int(of):
        return int(number), int(of)
    raise BadInput([Problem("--shard", f"`{text}` is no part of a whole", "--shard 0/4 to --shard 3/4")])


def _foretold(plan: SweepPlan, found: Sweep, executor: str, part: tuple[int, int]) -> dict[str, Any]:
    from lab.sweeps.executors import LOCAL, workers
    from lab.sweeps.running import foretold, left, tried

    waiting = left(plan, found, part)
    kept = bool(waiting) and not found.seconds
    if kept:
        tried(plan, found)
        waiting = left(plan, found, part)
    width = _ALONE
    if executor.partition(":")[0] == LOCAL:
        with workers(executor, plan.wall) as there:
            width = there.width
    return {
        "sweep": str(found.path),
        "points": len(plan.points),
        "runs": len(plan.tasks),
        "left": len(waiting),
        "at_a_time": width,
        "seconds": foretold(plan, found, waiting, width),
        "clock": "wall" if plan.wall else "modelled",
        "tried_one": kept,
    }


def _in_words(told: dict[str, Any]) -> str:
    from lab.formatting import duration, plural

    lines = [f"{plural(told['points'], 'point')}, {plural(told['runs'], 'run')}, of which {told['left']:,} are left"]
    if told["left"]:
        lines.append(f"about {duration(told['seconds'])}, {told['at_a_time']} at a time")
    if told["clock"] == "wall":
        lines.append("these runs measure wall time: they go one at a time on a machine, whoever else sweeps on it")
    if told["tried_one"]:
        lines.append("one was run to tell how long they take, and its result is kept")
    return "\n".join(lines)


def _document(found: Sweep, plan: SweepPlan, ran: int) -> dict[str, Any]:
    errors = found.errors
    rows = errors.unique("run", maintain_order=True) if not errors.is_empty() else errors
    return {
        "sweep": str(found.path),
        "results": str(found.path / "results"),
        "points": len(plan.points),
        "runs": len(plan.tasks),
        "done": len(found.done),
        "ran": ran,
        "failed": [{"run": row["run"], "error": row["error"]} for row in rows.to_dicts()],
    }


def _print(found: Sweep, plan: SweepPlan, ran: int, console: Terminal) -> None:
    from lab.formatting import plural

    told = _document(found, plan, ran)
    did = "nothing was left to do" if not ran else f"{plural(ran, 'run')} carried out"
    console.print(f"{plan.name}: {told['done']:,} of {plural(told['runs'], 'run')} done", style="bold", soft_wrap=True)
    say(f"  {did}; results: {told['results']}/*.parquet")
    for each in told["failed"][:10]:
        say(f"  {each['run']} came to nothing: {each['error']}")
    if len(told["failed"]) > 10:
        say(f"  and {len(told['failed']) - 10:,} more")
    if told["done"] == told["runs"]:
        say(f"  see it: lab report {found.path}")


@click.command()
@click.argument("into", type=click.Path(file_okay=False, path_type=Path))
@click.argument("parts", nargs=-1, required=True, type=click.Path(file_okay=False, path_type=Path))
@common
def merge(into: Path, parts: Sequence[Path], as_json: bool, overrides: Sequence[str], seed: int | None) -> None:
    """Put the shards of a sweep together: INTO is a folder, new or one of them, PARTS are the shards' folders."""
    from lab.sweeps import merge as merge_sweeps

    no_scenario(overrides, seed)
    found = merge_sweeps(into, list(parts))
    told = {"sweep": str(found.path), "runs": len(found.names), "done": len(found.done)}
    answer(as_json, lambda: told, lambda _: say(f"{into}: {told['done']:,} of {told['runs']:,} runs are there"))


def report_sweep(name: str, as_json: bool) -> int:
    """Write the page of a sweep, and print what is to be seen in it."""
    from lab.sweeps import load_sweep
    from lab.sweeps.page import summary, write_page

    found = load_sweep(name)
    page = write_page(found)
    told = summary(found) | {"report": str(page)}

    def text(console: Terminal) -> None:
        console.print(f"{found.document['scenario']['name']}: {told['done']:,} of {told['runs']:,} runs", style="bold")
        say(f"  {told['what']}")
        for each in told["figures"]:
            say(f"  {each['title']}: {each['see']}")
        say(f"\n{page}")

    answer(as_json, lambda: told, text)
    return EXIT["pass"]
