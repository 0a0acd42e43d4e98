"""The page's section on advice: its texts, and its figure with a caption."""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure

from lab.advice import read
from lab.advice.answer import Advice, advise
from lab.base import BadInput
from lab.formatting import plural
from lab.report.advice import answers, figure, sensitivity, text
from lab.report.advice.document import evidence
from lab.runs import Run


def advice_on(run: Run) -> Advice | None:
    """Return the advice on a run; None if no query was asked. That a load is void is said at the top of the page."""
    try:
        return advise(read(run, anyway=True))
    except BadInput:
        return None


def texts(advice: Advice) -> dict[str, Any]:
    """Return the texts of the section, by the names that the template uses."""
    return {
        "headline": text.headline(advice),
        "notes": text.notes(advice),
        "answers": [", ".join(answers.NAMES[name] for name in names) for names, _ in answers.answers(advice)],
        "costs": answers.cost_rows(advice),
        "reads": answers.reads_said(advice),
        "standings": text.standings_said(advice),
        "tie": sensitivity.ties_said(advice),
        "levels": text.level_rows(advice),
        "queries": text.assignment_rows(advice),
        "temperature": text.temperature_said(advice),
        "runners_up": [(answers.portfolio_said(each), text.runner_said(advice, each)) for each in advice.runners_up],
        "weights": sensitivity.weights_said(advice),
        "evidence": evidence(advice),
        "left_out": list(advice.left_out),
    }


def drawn(advice: Advice) -> tuple[str, Figure | None, str]:
    """Return the alternative text, figure and caption of the Pareto front; no figure if nothing answers every query."""
    if not advice.front:
        return "", None, ""
    see = (
        "Each row is a portfolio that no other beats in all four at once: less of one measure costs more of another. "
        "The squares are its stores. A dashed line is a level, and a hollow dot is not shown to meet all levels."
    )
    ahead = {each.names for each in advice.front}
    if more := len(ahead - {each.names for each in figure.shown(advice)}):
        see += f" {plural(more, 'portfolio')} more of the front {'is' if more == 1 else 'are'} in `lab advise --json`."
    if (first := advice.recommended) is not None:
        see += f" The recommended one, {answers.portfolio_said(first)}, comes first"
        see += "." if first.names in ahead else ": not for any of the four, but for needing less to operate."
    return "Pareto front of portfolios by lag p99, rebuild, query time and disk.", figure.pareto(advice), see
