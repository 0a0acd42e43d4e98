"""The commands that try projectors: `check` one of your own, `grade` those of a course."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import click

from lab.cli.shared import EXIT, JUNIT, answer, common, junit_place, progress_bar
from lab.ending import at_work_in, say
from lab.errors import BadInput, Problem


@click.command()
@click.argument("projector", metavar="[MODULE:OBJECT]", required=False)
@click.option("--exec", "program", metavar="COMMAND", help="Test a process that speaks lines of JSON, in any language.")
@click.option("--delivery", default="out-of-order", metavar="PROMISE", help="in-order, at-least-once or out-of-order.")
@click.option("--properties", default="", metavar="A,B", help="Try these properties only.")
@click.option("--selftest", is_flag=True, help="With --exec: test its adapter, message by message.")
@click.option("--junit", type=JUNIT, metavar="FILE", help="Write the verdicts as JUnit XML.")
@click.option("--markdown", type=JUNIT, metavar="FILE", help="Append the verdicts to a file as Markdown.")
@common
def check(
    projector: str | None,
    program: str | None,
    delivery: str,
    properties: str,
    selftest: bool,
    junit: Path | None,
    markdown: Path | None,
    as_json: bool,
    overrides: Sequence[str],
    seed: int | None,
) -> int:
    """Test a projector of your own with duplicates, reordering, loss, late commits, deletes and crashes."""
    from lab.kit.apart import PATIENCE, check_apart
    from lab.kit.check import SEED
    from lab.kit.foreign import TrialPace, check_exec
    from lab.kit.settings import checked_subject, contract, settings
    from lab.kit.summary import append, summary
    from lab.report.junit import write_result

    target = checked_subject(projector, program, selftest, junit or markdown)
    junit_place(junit)
    junit_place(markdown, "--markdown")
    chosen, given, seed = contract(delivery, properties), settings(overrides), SEED if seed is None else seed
    how = given.get("histories"), given.get("patience", PATIENCE), given.get("seconds"), delivery, chosen
    if selftest:
        return _selftest(target, seed, given, as_json)
    pace: TrialPace | None = None
    if program is None:
        result = check_apart(target, seed, *how)
    else:
        result, pace = check_exec(target, seed, *how)
    said = "" if pace is None else pace.text()
    document = {} if pace is None else {"pace": asdict(pace)}
    answer(as_json, lambda: result.document() | document, lambda _: say("\n".join(filter(None, (result.text(), said)))))
    if junit is not None:
        with at_work_in(junit):
            write_result(junit, result)
    if markdown is not None:
        with at_work_in(markdown):
            append(markdown, summary(result, said))
    return EXIT[result.verdict]


def _selftest(program: str, seed: int, given: Mapping[str, int], as_json: bool) -> int:
    from lab.kit.apart import PATIENCE
    from lab.kit.selftest import selftest

    for name in given.keys() - {"patience"}:
        raise BadInput([Problem(f"--set {name}", "a self-test tries no histories", "leave one of the two out")])
    found = selftest(program, seed, given.get("patience", PATIENCE))
    answer(as_json, found.document, lambda _: say(found.text()))
    return EXIT[found.verdict]


@click.command()
@click.argument("place", metavar="FOLDER|FILE", type=click.Path(path_type=Path))
@click.option("--exec", "program", metavar="COMMAND", help="How a submission is started; {} is its path.")
@click.option("--object", "name", metavar="NAME", help="The projector's name in each: OBJECT, or MODULE:OBJECT.")
@click.option("--seeds", type=click.IntRange(1, 100), default=3, help="At how many hidden seeds each is tried.")
@click.option("--delivery", default="out-of-order", metavar="PROMISE", help="in-order, at-least-once or out-of-order.")
@click.option("--points", metavar="A=2,B=0", help="Points for each property; 1 for those that are not named.")
@click.option("--feedback", type=click.Path(file_okay=False, path_type=Path), help="A file for each author goes there.")
@click.option("--junit", type=JUNIT, metavar="FILE", help="Write the verdicts as JUnit XML.")
@click.option("--markdown", type=JUNIT, metavar="FILE", help="Append the table to a file as Markdown.")
@common
def grade(
    place: Path,
    program: str | None,
    name: str | None,
    seeds: int,
    delivery: str,
    points: str | None,
    feedback: Path | None,
    junit: Path | None,
    markdown: Path | None,
    as_json: bool,
    overrides: Sequence[str],
    seed: int | None,
) -> None:
    """Give points to submissions for the properties that they keep, at seeds that their authors don't know."""
    from lab.kit.apart import PATIENCE
    from lab.kit.grade import GradeTable, again, hidden, worth
    from lab.kit.grade import grade as graded
    from lab.kit.settings import settings
    from lab.kit.submissions import submissions
    from lab.kit.summary import append
    from lab.report.junit import write_grades

    junit_place(junit)
    junit_place(markdown, "--markdown")
    junit_place(feedback, "--feedback")
    given, counted, found = settings(overrides), worth(points, delivery), submissions(place, program, name)
    if "seconds" in given:
        what = "the number of histories is the same for each submission, whatever time they take"
        raise BadInput([Problem("--set seconds", what, "for example --set histories=30")])
    chosen = secrets.randbelow(2**31) if seed is None else seed
    trials = hidden(chosen, seeds)
    grades = []
    with progress_bar() as progress:
        progress.step("submissions", len(found))
        for number, one in enumerate(found, 1):
            how = given.get("histories"), given.get("patience", PATIENCE), delivery
            grades.append(graded(one, trials, tuple(counted), *how))
            progress.done(number)
    said = [("--exec", program), ("--object", name), ("--seeds", str(seeds)), ("--points", points)]
    said += [] if delivery == "out-of-order" else [("--delivery", delivery)]
    said += [("--set", f"{key}={value}") for key, value in given.items()]
    table = GradeTable(tuple(grades), counted, again(place, chosen, said))
    answer(as_json, table.document, lambda _: say(table.text()))
    if feedback is not None:
        with at_work_in(feedback):
            feedback.mkdir(exist_ok=True)
            for each in grades:
                (feedback / f"{each.name}.md").write_text(table.feedback(each), encoding="utf-8")
    if junit is not None:
        with at_work_in(junit):
            write_grades(junit, table)
    if markdown is not None:
        with at_work_in(markdown):
            append(markdown, table.markdown())
