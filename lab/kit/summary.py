"""The verdicts of `lab check` as Markdown, as summaries of jobs on CI services take it."""

from __future__ import annotations

import re
from pathlib import Path

from lab.checks import CHECKS
from lab.kit.check import Result

_SIGNS = {"pass": "✅", "fail": "❌", "unknown": "❔"}


def summary(result: Result, note: str = "") -> str:
    """Return the verdicts as a table, the witness and the advice of each failure, and the command that repeats it."""
    lines = [f"### {_SIGNS[result.verdict]} `lab check` {code(result.name)}: {result.verdict}", ""]
    lines += ["| property | verdict | what must hold, or what was found |", "| --- | --- | --- |"]
    for item in result.verdicts:
        said = CHECKS[item.prop].holds if item.verdict == "pass" else next(iter(item.witness.splitlines()), "")
        lines.append(f"| `{item.prop}` | {_SIGNS[item.verdict]} {item.verdict} | {cell(said)} |")
    for item in result.verdicts:
        if item.verdict == "fail":
            lines += ["", "<details>", f"<summary>{item.prop}: the smallest counter-example</summary>", ""]
            lines += [*fenced(item.witness), "", f"What to do: {item.advice}", "", "</details>"]
    lines += ["", f"Again with: {code(result.replay)}"]
    return "\n".join([*lines, *(["", note] if note else [])]) + "\n"


def append(path: Path, text: str) -> None:
    """Append to a file, as several steps of a job do to one summary. Raises OSError."""
    with path.open("a", encoding="utf-8") as file:
        file.write(text)


def code(text: str) -> str:
    """Return a text as a code span, whatever backticks it has."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * (longest + 1)
    pad = " " if longest else ""
    return f"{fence}{pad}{text}{pad}{fence}"


def fenced(text: str) -> list[str]:
    """Return a text as the lines of a block of code."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return [f"{fence}text", *text.splitlines(), fence]


def cell(text: str) -> str:
    """Return a text as a cell of a table: nothing in it is Markdown or HTML."""
    return re.sub(r"([\\|`*_<>\[\]~&])", r"\\\1", text)
