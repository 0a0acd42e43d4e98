"""Advice as an architecture decision record in Markdown: context, decision, options, evidence, consequences."""

from __future__ import annotations

import math
import os
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path

from lab.advice.answer import Advice
from lab.advice.portfolio import Portfolio
from lab.base import BadInput, Problem
from lab.formatting import count, duration, listed, number, share, size
from lab.report.advice import answers, cautions, sensitivity, text
from lab.report.caveats import caveats
from lab.runs import Run
from lab.tables import WALL


def record(advice: Advice, run: Run) -> str:
    """Return the record. It is the same for the same run, levels and weights: its date is that of the run."""
    parts = [
        *_head(run), *_context(advice, run), *_decision(advice), *_options(advice), *_evidence(advice, run),
        *_consequences(advice), *_changes(advice),
    ]  # fmt: skip
    return "\n".join(parts).rstrip() + "\n"


def write_record(advice: Advice, run: Run, path: Path) -> None:
    """Write the record into a new file. Raises BadInput if there is one already: a decision isn't overwritten."""
    content = record(advice, run)
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666), "w", encoding="utf-8") as file:
            file.write(content)
    except FileExistsError:
        raise BadInput([Problem(str(path), "exists already", "give another name, or move it away")]) from None


def _head(run: Run) -> list[str]:
    name = run.manifest["scenario"]["name"]
    date = str(run.manifest.get("started_at", ""))[:10]
    return [
        f"# Read models for {name}",
        "",
        "- Status: proposed",
        f"- Date: {date}",
        f"- Evidence: run `{run.name}`",
        "",
    ]


def _context(advice: Advice, run: Run) -> list[str]:
    problem, manifest = advice.problem, run.manifest
    truth = manifest.get("truth", {})
    lasts = float(manifest.get("duration_seconds") or 0.0)
    rate = f", {number(manifest['changes'] / lasts)} a second" if lasts else ""
    store = f"{truth.get('engine', '?')}, model `{truth.get('model', '?')}`"
    lines = [
        "## Context",
        "",
        f"The source of truth ({store}) has {count(manifest['changes'])} changes{rate}. Which projections of it are "
        "kept, and which query goes where?",
        "",
    ]
    rows = [
        (
            f"`{query}`", problem.kinds.get(query, ""), f"{weight:g}", _limit(problem.query_level(query)),
            _limit(problem.lag_level(query)),
        )
        for query, weight in problem.queries.items()
    ]  # fmt: skip
    lines += _table(("query", "class", "weight", "p99 at most", "lag p99 at most"), rows)
    others = [
        f"{text.level_said(name)} at most {text.amount(name, asked)}"
        for name, asked in problem.set_levels()
        if name in ("rebuild", "disk_bytes", "engines", "truth_reads")
    ]
    lines += [f"Further levels: {listed(others)}.", ""] if others else []
    lines += [] if dict(problem.set_levels()) else ["No level is set.", ""]
    lines += [f"> {caveat}" for caveat in caveats(run)] + ([""] if caveats(run) else [])
    return lines


def _limit(value: float | None) -> str:
    return "none" if value is None else duration(value)


def _decision(advice: Advice) -> list[str]:
    lines = ["## Decision", "", text.headline(advice), ""]
    lines += [f"- {note}" for note in text.notes(advice)] + [""]
    rows = []
    for row in text.assignment_rows(advice):
        times = (_brief(row["p50"]), _brief(row["p99"]))
        rows.append((f"`{row['query']}`", f"{row['who']} ({row['store']})", *times, row["status"] or "no level"))
    return lines + _table(("query", "goes to", "p50", "p99", "level"), rows)


def _brief(interval: str) -> str:
    """Return a figure without the reason why it has no interval, which is in the report."""
    return f"{interval.partition(':')[0]})" if "(no interval:" in interval else interval


def _options(advice: Advice) -> list[str]:
    lines = ["## Options", ""]
    found = answers.answers(advice)
    if found:
        titles = [", ".join(answers.NAMES[name] for name in names) for names, _ in found]
        lines += _table(("", *titles), [(name, *cells) for name, cells in answers.cost_rows(advice)])
        lines += [answers.reads_said(advice), ""] if answers.reads_said(advice) else []
    if advice.runners_up:
        lines += ["Not chosen:", ""]
        lines += [f"- {answers.portfolio_said(each)}: {text.runner_said(advice, each)}." for each in advice.runners_up]
        lines += [""]
    lines += ["What each candidate is good for:", "", *(f"- {said}" for said in text.standings_said(advice)), ""]
    if advice.left_out:
        lines += ["Left out:", "", *(f"- {said}" for said in advice.left_out), ""]
    return lines


def _evidence(advice: Advice, run: Run) -> list[str]:
    machine = run.manifest.get("machine", {})
    versions = ", ".join(f"{name} {version}" for name, version in sorted(run.manifest.get("versions", {}).items()))
    clocks = run.manifest.get("clocks", {})
    lines = [
        "## Evidence",
        "",
        f"Query times are {text.temperature_said(advice)}; intervals are of 95 %. Every projection that is an option "
        "passed all checks of its run. Repeat the run, and ask for this record again:",
        "",
        "```sh",
        advice.problem.replay,
        shlex.join(["lab", "advise", str(run.manifest["scenario"]["name"]), *advice.problem.options, "--adr"]),
        "```",
        "",
        f"Clocks: lag {clocks.get('lag', '?')}; rebuild and queries {clocks.get('queries', WALL)}. Machine: "
        f"{machine.get('cpu', '?')}, {machine.get('cores', '?')} cores, "
        f"{size(machine.get('memory_bytes'))}. {versions}.",
        "",
    ]
    levels = text.level_rows(advice)
    return lines + (_table(("level", "at most", "there is", "how sure"), levels) if levels else [])


def _consequences(advice: Advice) -> list[str]:
    chosen = advice.recommended
    lines = ["## Consequences", ""]
    if chosen is None:
        return [*lines, "- Nothing is built until a level is changed.", ""]
    if not chosen.members:
        lines += ["- There is nothing to operate, to rebuild or to wait for; reads compete with commands."]
    lines += [f"- {line}" for who in chosen.members for line in _of(chosen, who.name)]
    if chosen.engines:
        lines += [f"- New to operate: {listed(list(chosen.engines))}."]
    if chosen.problem.truth is not None:
        load = answers.share_said(chosen.truth_reads)
        lines += [
            f"- Reads keep the source of truth busy {load} at {number(advice.problem.reads_per_second)} reads a second."
        ]
    lines += [f"- {warning}" for warning in cautions.busy_said(advice)]
    return [*lines, ""]


def _of(chosen: Portfolio, name: str) -> Iterable[str]:
    who = next(each for each in chosen.members if each.name == name)
    rate = "" if who.rate is None else f" takes {number(who.rate)} changes a second,"
    busy = "" if who.busy is None else f" is busy with them {share(who.busy)} of the time,"
    lag = "has no known lag" if who.lag.untold else f"shows 99 in 100 within {duration(who.lag.value)}"
    if math.isinf(who.lag.value):
        lag = f"has a lag p99 that is without end ({answers.endless_said(who.lag)})"
    told = f"needs {size(who.disk.value)} and is rebuilt in {duration(who.rebuild.value)}"
    yield f"{name} ({who.store}){rate}{busy} {lag}, {told}."


def _changes(advice: Advice) -> list[str]:
    lines = ["## What would change it", ""]
    if advice.answer is None:
        return [*lines, f"- {text.binding_said(advice)}.", ""]
    lines += [f"- {sensitivity.ties_said(advice)}"] if advice.tied else []
    lines += [f"- {text.unjudged_said(advice)}"] if advice.unjudged else []
    lines += [f"- {answers.decider_said(advice, each)}" for each in advice.deciders]
    ranges = _plain(sensitivity.weights_said(advice))
    lines += [f"- Weights, before the fewest projections are others: {said}." for said in ranges]
    for standing in advice.standings:
        if standing.cannot:
            lines.append(f"- {answers.candidate_said(standing.candidate)}: {answers.cannot_said(advice, standing)}")
    settings = advice.problem.settings
    if not advice.bounded:
        lines.append("- A level for every query (`levels.query_p99`): then the fewest that meet it are recommended.")
    lines.append(
        f"- What a gain is worth: a gain of less than {share(settings.gain)} of the time counts as none "
        f"(`advice.gain`), and the bargain makes queries {settings.worth:g} times quicker for each projection and "
        "engine more (`advice.worth`)."
    )
    lines.append("- Other sizes, rates and machines: this holds for what was run. Try others with `--set`.")
    return [*lines, ""]


def _plain(sentences: Sequence[str]) -> list[str]:
    return [f"{sentence[0].lower()}{sentence[1:]}".rstrip(".") for sentence in sentences]


def _table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return a table, in which a bar within a text doesn't end a cell."""
    body = [[cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in (titles, *rows)]
    lines = ["| " + " | ".join(row) + " |" for row in body]
    return [lines[0], "| " + " | ".join("---" for _ in titles) + " |", *lines[1:], ""]
