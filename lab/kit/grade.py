"""`lab grade`: points for each property that a submission keeps, tried at seeds that its author doesn't know."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lab.base import BadInput, Problem, nearest, stream
from lab.checks import CHECKS
from lab.formatting import printable
from lab.kit.apart import PATIENCE, check_apart
from lab.kit.check import HISTORIES, Result, Verdict
from lab.kit.foreign import check_exec
from lab.kit.properties import PROPERTIES, tried
from lab.kit.settings import contract
from lab.kit.submissions import Submission
from lab.kit.summary import cell, fenced

SEEDS = 3
_POINTS = re.compile(r"[0-9]{1,4}(\.[0-9]{1,2})?")


@dataclass(frozen=True)
class Grade:
    """The verdicts on one submission, over all seeds. `wrong` is why there are none."""

    name: str
    verdicts: tuple[Verdict, ...] = ()
    wrong: str = ""

    def points(self, worth: Mapping[str, float]) -> float:
        """Return the points for the properties that hold at every seed."""
        return sum(worth[item.prop] for item in self.verdicts if item.verdict == "pass")

    def those(self, verdict: str) -> list[str]:
        """Return the properties with this verdict."""
        return [item.prop for item in self.verdicts if item.verdict == verdict]


@dataclass(frozen=True)
class GradeTable:
    """The grades of several submissions. `worth` is points by property, `replay` the command that repeats it all."""

    grades: tuple[Grade, ...]
    worth: Mapping[str, float]
    replay: str

    @property
    def total(self) -> float:
        """Return the points of a submission that keeps every property."""
        return sum(self.worth.values())

    def document(self) -> dict[str, Any]:
        """The grades as a JSON document."""
        rows = [
            {"submission": grade.name, "points": grade.points(self.worth), "wrong": grade.wrong,
             "verdicts": {item.prop: item.verdict for item in grade.verdicts},
             "witnesses": {item.prop: item.witness for item in grade.verdicts if item.verdict == "fail"}}
            for grade in self.grades
        ]  # fmt: skip
        return {"total": self.total, "worth": dict(self.worth), "grades": rows, "replay": self.replay}

    def text(self) -> str:
        """The grades as text: a line for each submission, then how many keep each property."""
        names = [printable(grade.name) for grade in self.grades]
        width = max(map(len, names))
        lines = []
        for name, grade in zip(names, self.grades, strict=True):
            said = [grade.wrong] if grade.wrong else []
            for verdict, word in (("fail", "fails"), ("unknown", "unknown")):
                said += [f"{word}: {', '.join(grade.those(verdict))}"] if grade.those(verdict) else []
            points = f"{grade.points(self.worth):g} of {self.total:g}"
            lines.append(f"{name:<{width}}  {points}" + (f"  {'; '.join(said)}" if said else ""))
        lines.append("")
        wide = max(map(len, self.worth))
        for prop in self.worth:
            kept = sum(prop in grade.those("pass") for grade in self.grades)
            lines.append(f"{prop:<{wide}}  kept by {kept} of {len(self.grades)}")
        return "\n".join([*lines, f"again with: {self.replay}"])

    def markdown(self) -> str:
        """The grades as a table in Markdown, a column for each property."""
        signs = {"pass": "✅", "fail": "❌", "unknown": "❔"}
        lines = ["| submission | points | " + " | ".join(f"`{prop}`" for prop in self.worth) + " |"]
        lines.append("| --- " * (2 + len(self.worth)) + "|")
        for grade in self.grades:
            found = {item.prop: signs[item.verdict] for item in grade.verdicts}
            marks = " | ".join(found.get(prop, "") for prop in self.worth)
            points = f"{grade.points(self.worth):g} of {self.total:g}"
            lines.append(f"| {cell(printable(grade.name))} | {points} | {marks} |")
        said = [f"- {cell(printable(grade.name))}: {cell(grade.wrong)}" for grade in self.grades if grade.wrong]
        return "\n".join([*lines, *(["", *said] if said else [])]) + "\n"

    def feedback(self, grade: Grade) -> str:
        """What the author of one submission may read, in Markdown: no seed is named."""
        lines = [f"# {cell(printable(grade.name))}: {grade.points(self.worth):g} of {self.total:g} points", ""]
        if grade.wrong:
            return "\n".join([*lines, f"It could not be tried: {cell(grade.wrong)}"]) + "\n"
        for item in grade.verdicts:
            lines.append(f"- `{item.prop}` ({self.worth[item.prop]:g}): {item.verdict}: {CHECKS[item.prop].holds}")
        for item in grade.verdicts:
            if item.verdict == "fail":
                lines += ["", f"## {item.prop}", "", *fenced(item.witness), "", f"What to do: {item.advice}"]
            elif item.verdict == "unknown":
                lines += ["", f"## {item.prop}", "", f"Unknown: {cell(item.witness)}"]
        return "\n".join(lines) + "\n"


def worth(text: str | None, delivery: str = "out-of-order") -> dict[str, float]:
    """Return the points for each property from `converged=2,no_loss=0.5`; those worth nothing are left out.

    One that is not named is worth 1, unless it is tried only if it is named, or needs a second owner. `delivery` is
    what the feed promises. Raises BadInput.
    """
    contract(delivery, "")
    found = {name: 1.0 for name in tried(delivery) if PROPERTIES[name].needs != "twin"}
    problems = []
    for part in (text or "").split(",") if text else []:
        name, _, value = (word.strip() for word in part.partition("="))
        if name not in PROPERTIES:
            problems.append(Problem("--points", f"there is no property `{name}`", nearest(name, PROPERTIES)))
        elif not _POINTS.fullmatch(value):
            problems.append(Problem("--points", f"`{part.strip()}` gives no points", "for example --points no_loss=2"))
        elif delivery not in PROPERTIES[name].families:
            what = f"`{name}` is about what can't happen where delivery is {delivery}"
            problems.append(Problem("--points", what, "leave it out"))
        else:
            found[name] = float(value)
    if not problems and not sum(found.values()):
        problems.append(Problem("--points", "every property is worth 0", "give points to one of them"))
    if problems:
        raise BadInput(problems)
    return {name: found[name] for name in PROPERTIES if found.get(name)}


def hidden(seed: int, count: int) -> list[int]:
    """Return the seeds of the trials: drawn from one that the teacher keeps."""
    return [int(number) for number in stream(seed, "grade").integers(0, 2**31, size=count)]


def grade(
    one: Submission,
    seeds: Sequence[int],
    properties: Sequence[str],
    histories: int | None = None,
    patience: float = PATIENCE,
    delivery: str = "out-of-order",
) -> Grade:
    """Try a submission for these properties at each seed. One holds if it always does; a failure has its first witness.

    The number of histories is always the same, whatever time they take, so that no grade depends on the machine.
    `delivery` is what the feed promises, as in `TrialOptions`.
    """
    if one.wrong:
        return Grade(one.name, wrong=one.wrong)
    often = HISTORIES if histories is None else histories
    found: dict[str, Verdict] = {}
    try:
        for result in _results(one, seeds, tuple(properties), often, patience, delivery):
            for item in result.verdicts:
                found[item.prop] = _worse(found.get(item.prop), item)
    except BadInput as error:
        return Grade(one.name, wrong=str(error.problems[0]))
    return Grade(one.name, tuple(found.values()))


def _results(
    one: Submission, seeds: Sequence[int], properties: tuple[str, ...], histories: int, patience: float, delivery: str
) -> Iterator[Result]:
    for seed in seeds:
        if one.command:
            yield check_exec(one.command, seed, histories, patience, None, delivery, properties)[0]
        else:
            yield check_apart(one.target, seed, histories, patience, None, delivery, properties, one.folder)


def _worse(before: Verdict | None, now: Verdict) -> Verdict:
    ranks = ["pass", "unknown", "fail"]
    if before is None or ranks.index(now.verdict) > ranks.index(before.verdict):
        return replace(now)
    return before


def again(place: Path, seed: int, options: Sequence[tuple[str, str | None]]) -> str:
    """Return the command that grades again at the same seeds."""
    said = [f"{name} {shlex.quote(value)}" for name, value in options if value is not None]
    return " ".join(["lab grade", shlex.quote(str(place)), *said, f"--seed {seed}"])
