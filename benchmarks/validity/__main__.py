"""`python -m benchmarks.validity`: run the sections and write them into docs/validity.md; `make validity` does that.

The exit status is 1 if a row doesn't hold.
"""

from __future__ import annotations

import argparse
import platform
import re
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np

from benchmarks.validity.section import QUICK, SECTIONS, Effort, Findings, section, told
from lab import ending

PAGE = Path(__file__).parents[2] / "docs" / "validity.md"


def arguments(words: Sequence[str]) -> argparse.Namespace:
    """What is asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.validity", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="the small form that the tests use; writes nothing")
    # An interval over seeds needs two of them.
    parser.add_argument("--seeds", type=_at_least(2), help="repetitions of each row, with seeds 1, 2, ...; 2 or more")
    parser.add_argument("--size", type=_at_least(100), help="changes (or trials) in each repetition; 100 or more")
    parser.add_argument("--only", nargs="+", choices=list(SECTIONS), default=list(SECTIONS), help="these sections")
    parser.add_argument("--page", type=Path, default=PAGE, help="the page that has the tables")
    chosen = parser.parse_args(words)
    if chosen.quick and (chosen.seeds or chosen.size):
        parser.error("--quick has its own seeds and size: leave out --seeds and --size, or --quick")
    return chosen


def _at_least(least: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"{text!r} is not valid: a whole number, {least} or more")
        return int(text)

    return number


def effort(chosen: argparse.Namespace, full: Effort) -> Effort:
    """Return how much is done for a section whose full effort is `full`."""
    return QUICK if chosen.quick else Effort(chosen.seeds or full.seeds, chosen.size or full.size)


def part(name: str, findings: Findings, effort: Effort) -> str:
    """The part of the page that belongs to a section, between its two marks."""
    found = section(name)
    made = (
        f"Made by `python -m benchmarks.validity --only {name} --seeds {effort.seeds} --size {effort.size}` with "
        f"polyglot-lab {version('polyglot-lab')}, numpy {np.__version__}, Python {platform.python_version()}. "
        f"{told(findings)}."
    )
    table = [findings.columns, ["---"] * len(findings.columns), *findings.rows]
    lines = "\n".join(f"| {' | '.join(row)} |" for row in table)
    return (
        f"<!-- validity: {name} -->\n\n## {found.title}\n\n{found.about}\n\n{lines}\n\n{made}\n\n<!-- end: {name} -->"
    )


def written(text: str, name: str, new: str) -> str:
    """The page with the part of a section replaced; at its end if it has none yet."""
    marks = re.compile(rf"<!-- validity: {name} -->.*?<!-- end: {name} -->", re.S)
    return marks.sub(lambda _: new, text) if marks.search(text) else f"{text.rstrip()}\n\n{new}\n"


def main(words: Sequence[str] | None = None) -> int:
    """Run what is asked for, one section after the other, each written at once. Returns the exit status."""
    chosen = arguments(sys.argv[1:] if words is None else words)
    outside: list[str] = []
    for name in chosen.only:
        one = section(name)
        asked = effort(chosen, one.full)
        findings = one.run(asked)
        outside += findings.outside
        print(f"{name}: {told(findings)}", *findings.outside, sep="\n  ", flush=True)
        if not chosen.quick:
            text = chosen.page.read_text(encoding="utf-8")
            chosen.page.write_text(written(text, name, part(name, findings, asked)), encoding="utf-8")
    return 1 if outside else 0


if __name__ == "__main__":
    ending.run(main)
