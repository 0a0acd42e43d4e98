"""The page of a sweep: `report.html` in its folder, one file with its figures in it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure

import lab.report
from lab.report.style import looks, svg
from lab.sweeps import drawn, said
from lab.sweeps.design import GRID, MORRIS, SOBOL
from lab.sweeps.folder import REPORT, Sweep
from lab.sweeps.response import TITLES, Response, response
from lab.sweeps.sensitivity import effects

# So many quantities have figures of their own; the rest is in the results.
_QUANTITIES_MAX = 4
_ERRORS_MAX = 20


def render(sweep: Sweep) -> str:
    """Return the page as HTML. All data is escaped, and nothing is loaded from outside."""
    folders = [Path(__file__).parent, Path(lab.report.__file__).parent]
    environment = Environment(
        loader=FileSystemLoader(folders),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found = response(sweep)
    errors = sweep.errors
    rows = errors.unique("run", maintain_order=True).to_dicts() if not errors.is_empty() else []
    return environment.get_template("sweep.html").render(
        document=sweep.document,
        done=len(sweep.done),
        runs=len(sweep.names),
        what_was_run=said.what_was_run(sweep),
        sections=list(sections(sweep, found)) if not found.frame.is_empty() else [],
        errors=[{"point": _point(sweep, row), "error": row["error"]} for row in rows[:_ERRORS_MAX]],
        errors_more=max(0, len(rows) - _ERRORS_MAX),
    )


def _point(sweep: Sweep, row: dict[str, Any]) -> str:
    return ", ".join(
        f"{key} = {row[key]:g}" if isinstance(row[key], float) else f"{key} = {row[key]}" for key in sweep.keys
    )


def sections(sweep: Sweep, found: Response) -> Iterator[dict[str, Any]]:
    """Return each figure with its title, its alternative text, and what to see in it."""
    design = sweep.document["design"]
    numeric = [key for key in found.keys if found.numeric(key) and len(found.values(key)) > 1]
    known = looks(_projections(found))
    for quantity in found.quantities[:_QUANTITIES_MAX]:
        title = TITLES.get(quantity, quantity)
        if design in (SOBOL, MORRIS):
            indices = effects(sweep, quantity)
            if indices:
                morris = design == MORRIS
                see = said.on_effects(indices, quantity, morris)
                yield _section(
                    f"sensitivity-{quantity}", f"Which keys matter: {title}", drawn.bars(indices, morris), see
                )
            continue
        if len(numeric) >= 2 and design == GRID:
            across, down = numeric[:2]
            figure = drawn.heat(found, across, down, quantity)
            see = said.on_heat(found, quantity) + said.on_untold(found, quantity)
            yield _section(f"heat-{quantity}", f"{title.capitalize()}, over both keys", figure, see)
        if numeric:
            others = (
                []
                if design != GRID
                else [key for key in found.keys if key != numeric[0] and len(found.values(key)) > 1]
            )
            figure = drawn.curves(found, numeric[0], quantity, known, others[0] if others else None)
            see = said.on_curves(found, numeric[0], quantity) + said.on_untold(found, quantity)
            yield _section(f"curve-{quantity}", f"{title.capitalize()}, along {numeric[0]}", figure, see)


def _projections(found: Response) -> Sequence[dict[str, Any]]:
    return [
        {"name": name, "store": store, "verdict": "pass"}
        for name, store in found.frame.select("projection", "store")
        .unique("projection", maintain_order=True)
        .iter_rows()
    ]


def _section(name: str, title: str, figure: Figure, see: str) -> dict[str, Any]:
    name = name.replace(".", "-").replace("_", "-")
    return {
        "name": name,
        "title": title,
        "figure": Markup(svg(figure, f"figure-{name}", f"{title}. {see}")),
        "see": see,
    }


def write_page(sweep: Sweep) -> Path:
    """Write the page into the sweep's folder, by one rename."""
    target = sweep.path / REPORT
    partial = sweep.path / f".report.{os.getpid()}.partial"
    try:
        partial.write_text(render(sweep), encoding="utf-8")
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
    return target


def summary(sweep: Sweep) -> dict[str, Any]:
    """Return what `lab report` says of a sweep: how far it is, and the sentence beside each figure."""
    found = response(sweep)
    told: list[dict[str, Any]] = []
    if not found.frame.is_empty():
        told = [{"title": each["title"], "see": each["see"]} for each in sections(sweep, found)]
    failed = 0 if sweep.errors.is_empty() else sweep.errors["run"].n_unique()
    return {
        "sweep": str(sweep.path),
        "what": said.what_was_run(sweep),
        "runs": len(sweep.names),
        "done": len(sweep.done),
        "failed": failed,
        "figures": told,
    }
