"""Shared by all commands: options, error messages, JSON output and exit statuses."""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

import click

from lab.base import BadInput, LabError, Problem

EXIT = {"pass": 0, "fail": 1, "unknown": 3}
RUNS = Path("runs")

Function = Callable[..., Any]


def common(function: Function) -> Function:
    """Add the options `--json`, `--set` and `--seed` to a command, and report errors as messages."""
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
        print_json({"error": rows})
    for item in problems:
        click.echo(f"error: {item}", err=True)
    sys.exit(error.exit_status)


def print_json(document: Any) -> None:
    click.echo(json.dumps(document, indent=2, allow_nan=False))


def answer(as_json: bool, document: Callable[[], Any], text: Callable[[], None]) -> None:
    """Print a command's result: its JSON document, or what `text` prints."""
    if as_json:
        print_json(document())
    else:
        text()


def planned(scenario: str, overrides: Sequence[str], seed: int | None) -> Any:
    from lab.scenario import Source
    from lab.wiring import plan

    return plan(Source(Path(scenario), overrides, seed))


def no_scenario(overrides: Sequence[str], seed: int | None) -> None:
    """Refuse `--set` and `--seed` for a command that has no scenario, rather than ignore them."""
    if overrides or seed is not None:
        raise BadInput([Problem("--set, --seed", "there is no scenario here to set them in", "give them to `lab run`")])


def repeated(scenario: str, overrides: Sequence[str], seed: int | None) -> list[str]:
    """Return the arguments with which a child process plans the same scenario."""
    arguments = [scenario, *(part for item in overrides for part in ("--set", item))]
    return arguments + ([] if seed is None else ["--seed", str(seed)])
