"""The verdict on a projection: every check of runs looks at its evidence and says pass, fail or unknown."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import polars as pl

from lab.base import TRUTH
from lab.checks import OF_RUNS
from lab.measure.asked import Wrong
from lab.tables import TABLES
from lab.verdict import conformity, contents, effects, torn
from lab.verdict.evidence import Evidence
from lab.verdict.finding import Finding
from lab.verdict.runcheck import RunCheck

_MADE = [
    look for room in (contents, effects, torn, conformity) for look in vars(room).values() if isinstance(look, RunCheck)
]
_FOUND = {look.about.name: look for look in _MADE}
# Every check of runs by name, in the order of the registry. A check that is described and not made is a KeyError here.
CHECKS: dict[str, RunCheck] = {name: _FOUND[name] for name in OF_RUNS}


def judge(evidence: Evidence, done: Callable[[float], None] = lambda _: None) -> tuple[str, pl.DataFrame, pl.DataFrame]:
    """Return the projection's verdict, its rows of the table `verdicts`, and those of `witnesses`.

    The verdict is fail if any check fails; else that of `converged`, since without content nothing is proved. `done` is
    told the share of checks that are made.
    """
    found: dict[str, Finding] = {}
    for name, check in CHECKS.items():
        found[name] = check(evidence)
        done(len(found) / len(CHECKS))
    failed = any(finding.verdict == "fail" for finding in found.values())
    rows, drawn = [], [TABLES["witnesses"].frame()]
    for name, finding in found.items():
        shown = CHECKS[name].witness(evidence, finding) if finding.verdict == "fail" else None
        lines = [finding.witness, *(shown.lines if shown else ())]
        rows.append(
            {"projection": evidence.name, "check": name, "verdict": finding.verdict, "count": finding.count}
            | {"witness": "\n".join(lines), "deliveries": shown.deliveries if shown else None}
        )
        if shown:
            drawn.append(shown.frame(evidence.name, name))
    verdict = "fail" if failed else found["converged"].verdict
    return verdict, TABLES["verdicts"].frame(rows), pl.concat(drawn)


def judge_truth(wrong: Sequence[Wrong], refused: str = "") -> tuple[str, pl.DataFrame]:
    """Return the verdict on the answers of the source of truth, and its row of the table `verdicts`.

    Its content needs no check here: the run stops if it differs from the oracle's.
    """
    check = effects.answers_right
    unknown = Finding("unknown", 0, refused) if refused and not wrong else None
    finding = unknown or check.named(effects.all_right(wrong))
    row = {"projection": TRUTH, "check": check.about.name, "verdict": finding.verdict, "count": finding.count}
    return finding.verdict, TABLES["verdicts"].frame([row | {"witness": finding.witness, "deliveries": None}])
