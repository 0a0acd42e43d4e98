"""No claim of the course holds whatever happens. Opposites are planted where chapters are executed (`test_notebooks`);
here is what that finds, and what can be seen without executing anything."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import nbformat
import pytest

from tests.teach.opposites import VacuousClaim, _changed, _opposites_of, operands, planted, turned

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))


def asked(condition: str, **names: Any) -> None:
    """Claim a condition with its opposites planted."""
    claimed: list[Any] = []
    there = {"claim": lambda text, holds: claimed.append(holds), "_opposites_of": _opposites_of, "_changed": _changed}
    exec(planted(f"claim('so', {condition})"), there | names)
    assert claimed == [True]


@pytest.mark.parametrize(
    ("condition", "names"),
    [
        ("lost > 0", {"lost": 3}),
        ("found == 'pass'", {"found": "pass"}),
        ("not {'search'} & asked", {"asked": {"get"}}),
        ("first['a'] == second['a'] == 'pass'", {"first": {"a": "pass"}, "second": {"a": "pass"}}),
        ("low < measured < high", {"low": 1.0, "measured": 2.0, "high": 3.0}),
        ("all(row == 0 for row in rows)", {"rows": [0, 0]}),
        ("refused", {"refused": True}),
        ("names == {'Ada'}", {"names": {"Ada"}}),
        ("'every revision' in refusal", {"refusal": "needs every revision"}),
        ("'fail' not in found.values()", {"found": {"a": "pass"}}),
        ("{'a'} <= set(more)", {"more": ["a", "b"]}),
    ],
)
def test_a_claim_that_its_figures_decide_is_let_through(condition: str, names: dict[str, Any]) -> None:
    asked(condition, **names)


@pytest.mark.parametrize(
    ("condition", "names"),
    [
        ("True", {}),
        ("0 == 0", {}),
        ("rows == rows", {"rows": [1]}),
        ("lost > 0 or True", {"lost": 3}),
    ],
)
def test_a_claim_that_holds_whatever_happens_is_found(condition: str, names: dict[str, Any]) -> None:
    with pytest.raises(VacuousClaim, match="so"):
        asked(condition, **names)


def test_the_opposite_of_a_claim_about_figures() -> None:
    assert turned("lag_p50(a) < lag_p50(b) / 5") == "lag_p50(a) > lag_p50(b) / 5"
    assert turned("lag_p50(a) ~ 0.5 s within 50 %") == "lag_p50(a) ~ 500 s within 50 %"


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_no_claim_is_a_literal(notebook: Path) -> None:
    cells = [cell.source for cell in nbformat.read(notebook, as_version=4).cells if cell.cell_type == "code"]
    calls = [
        node
        for source in cells
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "claim" and len(node.args) == 2
    ]
    assert [ast.unparse(call) for call in calls if not list(operands(call.args[1]))] == []
