"""The checks, by name: each looks at the evidence of one projection and says pass, fail or unknown, with a witness.

A witness names its anomaly first; `lab.verdict.witness` adds the fewest deliveries that still show it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import polars as pl

from lab.base import TRUTH
from lab.measure.queries import Wrong
from lab.verdict import contents, effects
from lab.verdict.evidence import Evidence
from lab.verdict.finding import Finding
from lab.verdict.witness import SCHEMA, witness

CHECKS: dict[str, Callable[[Evidence], Finding]] = {
    check.__name__: check
    for check in (
        contents.converged,
        effects.no_loss,
        effects.no_double_effect,
        effects.no_resurrection,
        effects.per_key_order,
        effects.no_rewind,
        effects.checkpoint_sound,
        effects.no_skipped_gap,
        effects.monotonic_reads,
        effects.read_your_writes,
        contents.no_phantom,
        contents.rebuild_equals_live,
        effects.accounting,
        effects.answers_right,
    )
}


def judge(evidence: Evidence) -> tuple[str, pl.DataFrame, pl.DataFrame]:
    """The projection's verdict, its rows of the table `verdicts`, and those of `witnesses`.

    Fail if any check fails; else what `converged` says, since without content nothing has been shown.
    """
    found = {name: check(evidence) for name, check in CHECKS.items()}
    failed = any(finding.verdict == "fail" for finding in found.values())
    rows = []
    drawn = [pl.DataFrame(schema=SCHEMA)]
    for name, finding in found.items():
        row = {"projection": evidence.name, "check": name, "verdict": finding.verdict, "count": finding.count}
        shown = witness(evidence, name, CHECKS[name], finding) if finding.verdict == "fail" else None
        text = finding.witness if shown is None else "\n".join([finding.witness, *shown.lines])
        rows.append(row | {"witness": text, "deliveries": None if shown is None else shown.deliveries})
        if shown is not None:
            drawn.append(shown.frame)
    return (
        "fail" if failed else found["converged"].verdict,
        pl.DataFrame(rows, schema_overrides=_SCHEMA),
        pl.concat(drawn),
    )


def judge_truth(wrong: Sequence[Wrong]) -> tuple[str, pl.DataFrame]:
    """The verdict on what the source of truth answered, and its one row of the table `verdicts`.

    Its content needs no check here: the run stops when it is not what the oracle has.
    """
    finding = effects.all_right(wrong)
    row = {"projection": TRUTH, "check": effects.answers_right.__name__, "verdict": finding.verdict}
    rest = {"count": finding.count, "witness": finding.witness, "deliveries": None}
    return finding.verdict, pl.DataFrame([row | rest], schema_overrides=_SCHEMA)


_SCHEMA = {"deliveries": pl.Int64()}
