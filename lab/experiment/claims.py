"""Judge the claims of a finished run, before any figure of it is shown."""

from __future__ import annotations

import json
from collections.abc import Sequence

from lab.claims import INCONCLUSIVE, REFUTED, VERIFIED, judge
from lab.measure.figures import figures
from lab.runs import Run, write_table
from lab.scenario import ClaimTable


def claimed(claims: Sequence[ClaimTable], run: Run) -> Run:
    """Write the table `claims` of a run and their numbers into its manifest; return the run with both."""
    if not claims:
        return run
    found = judge(claims, run, figures)
    write_table(run.path, "claims", found)
    verdicts = found["verdict"].to_list()
    told = {verdict: verdicts.count(verdict) for verdict in (VERIFIED, REFUTED, INCONCLUSIVE)}
    manifest = json.dumps(run.manifest | {"claims": told}, indent=2)
    (run.path / "manifest.json").write_text(manifest, encoding="utf-8")
    return Run(run.path)
