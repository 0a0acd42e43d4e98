"""The command `lab grow`: how each figure of a scenario grows with its size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lab.cli.shared import FiniteFloat, answer, common, printing_apart, progress_bar
from lab.ending import say
from lab.errors import BadInput, Problem

if TYPE_CHECKING:
    from lab.cli.terminal import Terminal


@click.command()
@click.argument("scenario")
@click.option("--sizes", required=True, metavar="A,B,C", help="Numbers of commands, three or more: 1e4,1e5,1e6.")
@click.option("--repeat", type=click.IntRange(1, 1_000), default=3, help="Run each size so often, with other seeds.")
@click.option("--at", type=FiniteFloat(min=1), help="Foretell another size, ten times the largest one at the most.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="The folder; by default below sweeps/.")
@common
def grow(
    scenario: str,
    sizes: str,
    repeat: int,
    at: float | None,
    out: Path | None,
    as_json: bool,
    overrides: Sequence[str],
    seed: int | None,
) -> None:
    """Run a scenario at several sizes, and tell the exponent by which each figure grows, with its interval."""
    from lab.scenario import Source
    from lab.shipped import scenario_file
    from lab.sweeps import carry_on
    from lab.sweeps.folder import begin
    from lab.sweeps.growth import document, foretellable, growths, levels_of, planned, said, untold

    numbers = _numbers(sizes)
    foretellable(at, max(numbers))
    with printing_apart(as_json):
        plan = planned(Source(scenario_file(scenario), overrides, seed), numbers, repeat)
        sweep = begin(plan, out)
        with progress_bar() as progress:
            carry_on(plan, sweep, progress=progress)
        found, unknown = growths(sweep, at, levels_of(plan.source)), untold(sweep.frame)
    told = {"sweep": str(sweep.path), "sizes": numbers, "growth": document(found)}
    told["untold"] = [asdict(each) for each in unknown]

    def text(console: Terminal) -> None:
        console.print(f"{plan.name}, from {min(numbers):,.0f} to {max(numbers):,.0f} commands", style="bold")
        for each in found:
            say(f"  {said(each)}")
        for figure in unknown:
            say(f"  {figure.said()}")
        say(f"\n{sweep.path}")

    answer(as_json, lambda: told, text)


def _numbers(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise BadInput([Problem("--sizes", f"`{text}` are no numbers", "--sizes 1e4,1e5,1e6")]) from None
