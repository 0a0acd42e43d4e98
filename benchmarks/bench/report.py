"""What came out: `results.json`, `results.md`, and the headline rows of `docs/benchmarks.md`."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent.parent
RESULTS, TABLE, PAGE = FOLDER / "results.json", FOLDER / "results.md", FOLDER.parent / "docs" / "benchmarks.md"
BEGIN, END = "<!-- benchmarks: written by `python -m benchmarks.bench --headlines` -->", "<!-- benchmarks: end -->"
HEADLINES = (
    "execute_full",
    "execute_grouped",
    "catch_up",
    "apply_sqlite",
    "apply_duckdb",
    "rebuild_duckdb",
    "rebuild_sqlite",
    "rebuild_events",
    "channel",
)
Result = Mapping[str, Any]


def amount(value: float | None) -> str:
    """A figure with as many digits as it deserves."""
    if value is None:
        return ""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def title(row: Result) -> str:
    """What the row is called."""
    return f"`{row['row']}`" + (f", {row['variant']}" if row["variant"] else "")


def target(row: Result) -> str:
    """Its targets, in words."""
    return ", ".join(
        f"{name} at {bound} {value:g}" for name, one in row["targets"].items() for bound, value in one.items()
    )


def table(results: Sequence[Result], left_out: Mapping[str, str]) -> str:
    """The page `results.md`."""
    head = "| row | lab | peer | limit | unit | against the peer | against the limit | interval | target | met |"
    lines = ["# Results", "", *_about(results), "", head, "| --- |" + " --- |" * 9]
    for row in results:
        interval = "" if row["low"] is None else f"{amount(row['low'])} to {amount(row['high'])} ({row['interval_of']})"
        figures = [amount(row[name]) for name in ("lab", "peer", "limit")]
        ratios = [amount(row["vs_peer"]), amount(row["vs_limit"])]
        met = "yes" if row["target_met"] else "**no**: " + "; ".join(row["missed"])
        cells = [title(row), *figures, row["unit"], *ratios, interval, target(row), met]
        lines.append("| " + " | ".join(cells) + " |")
    lines += ["", "## At equal durability and equal size of transaction", ""]
    lines += ["| row | lab | peer | lab against peer |", "| --- | --- | --- | --- |"]
    for row in results:
        if equal := row["peer_equal"]:
            cells = [title(row), amount(equal["lab"]), amount(equal["peer"]), amount(equal["vs_peer"])]
            lines.append("| " + " | ".join(cells) + " |")
    lines += ["", "## Notes", "", *(f"- {title(row)}: {row['note']}" for row in results if row["note"])]
    lines += [f"- {name} is left out: {why}." for name, why in left_out.items()]
    return "\n".join(lines) + "\n"


def _about(results: Sequence[Result]) -> list[str]:
    if not results:
        return ["No row was measured."]
    machine = results[0]["machine"]
    rounds = max(row["rounds"] for row in results)
    cores = f"{machine['cores']} cores of {machine['cpu']}, {machine['os']}, {machine['python']}"
    loads = sorted(row["machine"]["load"] for row in results)
    load = f"{loads[0]:.1f}" if loads[0] == loads[-1] else f"{loads[0]:.1f} to {loads[-1]:.1f}"
    days = sorted({row["machine"].get("day", "") for row in results} - {""})
    when = f"; on {', '.join(days)}" if days else ""
    return [
        f"Measured on {cores}{when}; load {load} when a row began.",
        f"Medians of {rounds} interleaved rounds, or of as many as `results.json` says; the interval is the 95 %",
        "interval of the ratio. `benchmarks/README.md` explains each row.",
    ]


def headlines(results: Sequence[Result]) -> str:
    """The rows that `docs/benchmarks.md` shows."""
    lines = [
        "| row | lab | against the peer | at equal durability | against the limit | interval | target met |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in results:
        if row["row"] in HEADLINES and row["verified"]:
            equal = row["peer_equal"]["vs_peer"] if row["peer_equal"] else None
            ratios = [f"{amount(value)}x" if value else "" for value in (row["vs_peer"], equal, row["vs_limit"])]
            interval = "" if row["low"] is None else f"{amount(row['low'])} to {amount(row['high'])}"
            met = "yes" if row["target_met"] else "no"
            cells = [title(row), f"{amount(row['lab'])} {row['unit']}", *ratios, interval, met]
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def with_headlines(page: str, results: Sequence[Result]) -> str:
    """Return the page with the headline rows between its marks."""
    found = re.compile(f"{re.escape(BEGIN)}\n.*?{re.escape(END)}", re.S)
    assert len(found.findall(page)) == 1, "the page has its two marks once"
    about = "\n".join(_about(results))
    return found.sub(lambda _: f"{BEGIN}\n\n{about}\n\n{headlines(results)}\n\n{END}", page)


def read(folder: Path = FOLDER) -> list[dict[str, Any]]:
    """The results that are in a folder; none if it has no file of results."""
    file = folder / RESULTS.name
    found: list[dict[str, Any]] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else []
    return found


def elsewhere(folder: Path, here: Mapping[str, Any]) -> str | None:
    """Why rows of this machine can't go into a folder's table: it has rows of another one; None if they can."""
    there = [row["machine"] for row in read(folder)]
    for part in ("cpu", "cores", "python"):
        if other := {str(one[part]) for one in there} - {str(here[part])}:
            return (
                f"{folder / RESULTS.name} is of another machine ({part}: {other.pop()}, here {here[part]}): measure all"
            )
    return None


def merged(
    old: Sequence[dict[str, Any]], new: Sequence[dict[str, Any]], order: Sequence[tuple[str, str]]
) -> list[dict[str, Any]]:
    """Return the old rows with the new ones in their places, in the order of the table.

    Rows that the table no longer has are left out, so no figure of a row that is gone stays.
    """
    latest = {(row["row"], row["variant"]): row for row in [*old, *new]}
    return [latest[name] for name in order if name in latest]


def write(results: Sequence[Result], left_out: Mapping[str, str], folder: Path) -> None:
    """Both files."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / RESULTS.name).write_text(json.dumps(list(results), indent=1) + "\n", encoding="utf-8")
    (folder / TABLE.name).write_text(table(results, left_out), encoding="utf-8")


def write_headlines() -> None:
    """Write the headline rows of `results.json` into `docs/benchmarks.md`."""
    PAGE.write_text(with_headlines(PAGE.read_text(encoding="utf-8"), read()), encoding="utf-8")
