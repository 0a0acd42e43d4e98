"""Write what was found as JUnit XML, which systems for continuous integration read: a test case for each verdict.

The elements and attributes are those that Apache Ant's schema of JUnit reports requires, in its order; the schemas of
Jenkins and of others allow them too.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Literal
from xml.etree import ElementTree

from lab.checks import CHECKS
from lab.claims import SUITE
from lab.formatting import printable
from lab.kit.check import Result
from lab.kit.grade import GradeTable
from lab.measure.typical import typical
from lab.report.claims import claim_rows
from lab.report.facts import instead
from lab.runs import Run

_HOST_MAX = 255


@dataclass(frozen=True)
class JunitCase:
    """One verdict. `wrong` is empty if it is as it should be; `failure` if not, `error` if it could not be judged.

    `skipped` is what was not looked at. `kind` names what is wrong, `message` says it in a line, `text` in full.
    """

    suite: str
    name: str
    wrong: Literal["", "failure", "error", "skipped"] = ""
    kind: str = ""
    message: str = ""
    text: str = ""


def of_run(run: Run) -> list[JunitCase]:
    """Return a case for each claim of a run, for each projection's verdict, and for each of its checks."""
    return [*_claims(run), *_verdicts(run)]


def of_check(result: Result) -> list[JunitCase]:
    """Return a case for each property that `lab check` tried a projector on."""
    wrong: dict[str, Literal["", "failure", "skipped"]] = {"pass": "", "fail": "failure", "unknown": "skipped"}
    return [
        JunitCase(
            result.name, item.prop, wrong[item.verdict], CHECKS[item.prop].anomaly, _first(item.witness), item.witness
        )
        for item in result.verdicts
    ]


def of_grades(table: GradeTable) -> list[JunitCase]:
    """Return a case for each property that each submission was tried on; one error for what could not be tried."""
    found = []
    for grade in table.grades:
        found += of_check(Result(grade.name, grade.verdicts, table.replay))
        if grade.wrong:
            found.append(JunitCase(grade.name, "submission", "error", "not tried", grade.wrong, grade.wrong))
    return found


def _claims(run: Run) -> Iterator[JunitCase]:
    for row in claim_rows(run):
        said = "\n".join(filter(None, (row["that"], row["told"], row["reason"], row["why"])))
        message = ": ".join(filter(None, (row["that"], row["reason"] or row["told"])))
        match row["verdict"]:
            case "verified":
                yield JunitCase(SUITE, row["claim"], text=said)
            case "refuted":
                yield JunitCase(SUITE, row["claim"], "failure", "refuted", message, said)
            case _:
                yield JunitCase(SUITE, row["claim"], "error", "inconclusive", message, said)


def _verdicts(run: Run) -> Iterator[JunitCase]:
    expected = {entry["name"]: entry for entry in run.manifest["projections"]}
    for name, entry in expected.items():
        told = f"verdict {entry['verdict']}, {instead(entry) or 'expected ' + entry['expect']}"
        if entry["as_expected"]:
            yield JunitCase(name, "verdict", text=told)
        else:
            yield JunitCase(
                name, "verdict", "error" if entry["verdict"] == "unknown" else "failure", "verdict", told, told
            )
    rows = typical(run).table("verdicts")
    checks = list(CHECKS)
    for row in sorted(rows.to_dicts(), key=lambda row: (row["projection"], checks.index(row["check"]))):
        name, check, witness = row["projection"], row["check"], row["witness"] or ""
        if row["verdict"] == "fail" and expected.get(name, {}).get("expect") != "fail":
            yield JunitCase(name, check, "failure", CHECKS[check].anomaly, _first(witness), witness)
        elif row["verdict"] == "unknown":
            yield JunitCase(name, check, "skipped", "unknown", _first(witness), witness)
        else:
            yield JunitCase(name, check, text=witness)


def _first(text: str) -> str:
    return next(iter(text.splitlines()), "")


def write_run(path: Path, run: Run) -> None:
    """Write a run's claims and verdicts as JUnit XML, atomically. Raises OSError."""
    manifest = run.manifest
    _write(path, manifest["scenario"]["name"], of_run(run), manifest["started_at"], manifest["wall_seconds"])


def write_result(path: Path, result: Result) -> None:
    """Write the verdicts of `lab check` as JUnit XML, atomically. Raises OSError."""
    _write(path, "lab check", of_check(result), time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), 0.0)


def write_grades(path: Path, table: GradeTable) -> None:
    """Write the verdicts of `lab grade` as JUnit XML, atomically. Raises OSError."""
    _write(path, "lab grade", of_grades(table), time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), 0.0)


def _write(path: Path, title: str, cases: list[JunitCase], at: str, wall: float) -> None:
    # The schema's times have no zone.
    whole = ElementTree.ElementTree(_suites(title, cases, at.rstrip("Z"), wall))
    ElementTree.indent(whole)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        whole.write(partial, encoding="utf-8", xml_declaration=True)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _suites(title: str, cases: list[JunitCase], at: str, wall: float) -> ElementTree.Element:
    root = ElementTree.Element("testsuites")
    ordered = sorted(cases, key=lambda case: list(dict.fromkeys(each.suite for each in cases)).index(case.suite))
    for number, (name, group) in enumerate(groupby(ordered, key=lambda case: case.suite)):
        mine = list(group)
        often = {kind: sum(case.wrong == kind for case in mine) for kind in ("failure", "error", "skipped")}
        suite = ElementTree.SubElement(
            root,
            "testsuite",
            name=_clean(name),
            package=_clean(title),
            id=str(number),
            timestamp=at,
            hostname=_clean(socket.gethostname()[:_HOST_MAX]) or "localhost",
            tests=str(len(mine)),
            failures=str(often["failure"]),
            errors=str(often["error"]),
            skipped=str(often["skipped"]),
            time=f"{wall if not number else 0.0:.3f}",
        )
        ElementTree.SubElement(suite, "properties")
        for case in mine:
            _add(suite, case, f"{title}.{name}")
        ElementTree.SubElement(suite, "system-out")
        ElementTree.SubElement(suite, "system-err")
    return root


def _add(suite: ElementTree.Element, case: JunitCase, owner: str) -> None:
    found = ElementTree.SubElement(suite, "testcase", name=_clean(case.name), classname=_clean(owner), time="0")
    if case.wrong == "skipped":
        ElementTree.SubElement(found, "skipped", message=_clean(case.message))
    elif case.wrong:
        inner = ElementTree.SubElement(found, case.wrong, type=_clean(case.kind), message=_clean(case.message))
        inner.text = _clean(case.text)


def _clean(text: str) -> str:
    """Escape what XML can't hold: control characters, also as references."""
    return "\n".join(map(printable, text.splitlines()))
