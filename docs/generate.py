"""Write the generated parts of the documents: what stands between `<!-- NAME: made by ... -->` and `<!-- end -->`.

    python docs/generate.py         (or: make docs)

A part is made from the objects that it documents, so that neither can be changed alone; a test compares the two.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from lab.checks import CHECKS, OF_PROJECTORS, OF_RUNS
from lab.claims import QUANTITIES
from lab.claims.telling import UNIT_NAMES
from lab.ending import run
from lab.systems import LEVELS, SYSTEMS, System
from lab.systems.catalogue import answered
from lab.tables import TABLES, Schema

PAGES = tuple(Path(__file__).parent / name for name in ("run-folder.md", "claims.md", "systems.md"))


def tables() -> str:
    """A section for each table of the run folder."""
    return "\n\n".join(map(_section, TABLES.values()))


def _section(schema: Schema) -> str:
    lines = [f"### `{schema.name}`", "", textwrap.fill(schema.rows, 120), ""]
    if any(column.unit == "s" for column in schema.columns):
        lines += [f"Times are on the {schema.clock} clock.", ""]
    lines += ["| column | type | unit | meaning |", "| --- | --- | --- | --- |"]
    for column in schema.columns:
        lines.append(f"| `{column.name}` | {str(column.dtype).lower()} | {column.unit} | {column.meaning} |")
    return "\n".join([*lines, "", textwrap.fill(schema.note, 120)] if schema.note else lines)


def checks() -> str:
    """A row for each check."""
    lines = [
        f"A run makes {len(OF_RUNS)} checks of each projection; `lab check` makes {len(OF_PROJECTORS)} of a projector.",
        "",
        "| check | of a run | of a projector | what must hold | a violation is called |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, check in CHECKS.items():
        made = " | ".join("yes" if name in where else "" for where in (OF_RUNS, OF_PROJECTORS))
        lines.append(f"| `{name}` | {made} | {check.holds} | {check.anomaly} |")
    return "\n".join(lines)


def quantities() -> str:
    """A row for each quantity that a claim can name."""
    lines = ["| quantity | unit | origin | what it is |", "| --- | --- | --- | --- |"]
    for quantity in QUANTITIES.values():
        unit = quantity.shown or UNIT_NAMES[quantity.dimension]
        lines.append(f"| `{quantity.usage}` | {unit} | {quantity.origin} | {quantity.meaning} |")
    return "\n".join(lines)


def levels() -> str:
    """A row for each level, and the systems that have reached it."""
    lines = ["| level | what it says | systems |", "| --- | --- | --- |"]
    for level, meaning in LEVELS.items():
        names = ", ".join(one.name for one in SYSTEMS.values() if one.level == level)
        lines.append(f"| `{level}` | {meaning} | {names or 'none'} |")
    return "\n".join(lines)


def systems() -> str:
    """A table of all systems, and a section for each."""
    lines = ["| system | family | role | level | stands for it |", "| --- | --- | --- | --- | --- |"]
    for one in SYSTEMS.values():
        name = f"[{one.name}](#{one.name.lower().replace(' ', '-')})"
        lines.append(f"| {name} | {one.family} | {', '.join(one.roles)} | `{one.level}` | {_quoted(one.stands)} |")
    return "\n\n".join(["\n".join(lines), *map(_system, SYSTEMS.values())])


def _system(one: System) -> str:
    facts = {
        "Tried": f"`{one.level}`" + (f", on {one.on}" if one.on else "") + (f"; {one.why}" if one.why else ""),
        "Used as": _quoted(one.used_as) if one.used_as else "",
        "Stands for it": _quoted(one.stands) if one.stands else "",
        "Consistency": one.consistency,
        "Enumeration": one.enumeration,
        "Limits": one.limits,
        "Queries": _quoted(answered(one.stores or one.stands)),
        "Proof": _quoted(one.proof) if one.proof else "",
    }
    lines = [f"- **{name}**: {said}." for name, said in facts.items() if said and said != "none"]
    return "\n".join([f"### {one.name}", "", *(textwrap.fill(line, 120, **_WRAPPED) for line in lines)])


_WRAPPED: dict[str, Any] = {"subsequent_indent": "  ", "break_on_hyphens": False, "break_long_words": False}


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names) or "none"


PARTS: dict[str, Callable[[], str]] = {
    "tables": tables, "checks": checks, "quantities": quantities, "levels": levels, "systems": systems,
}  # fmt: skip


def generated(text: str) -> str:
    """The page with each of its generated parts made anew."""

    def part(found: re.Match[str]) -> str:
        return f"{found[1]}\n\n{PARTS[found[2]]()}\n\n<!-- end -->"

    return re.sub(r"(<!-- (\w+): made by `make docs` -->).*?<!-- end -->", part, text, flags=re.S)


def main() -> None:
    """Write the pages."""
    for page in PAGES:
        page.write_text(generated(page.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    run(main)
