"""Scenarios that compare stores give them equal settings, since `linger`, `batch` and `every` decide most of a lag."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from lab.scenario import Source
from lab.starter import write_starter
from lab.starter.own import write_own
from lab.wiring import Plan, plan

SHIPPED = Path(__file__).parents[2] / "scenarios"
ON_PURPOSE = {
    "catch-up-only": {"every"},
    "feeds": {"every"},
    "feeds-mariadb": {"every"},
    "pages": {"every"},
    "torture": {"batch"},
    "transfers": {"batch"},
}


def unequal(found: Plan) -> set[str]:
    """The settings that differ: `linger` among projections that take messages, `every` among those that poll."""
    values: dict[str, set[float]] = {"batch": set(), "linger": set(), "every": set()}
    for item in found.projections:
        values["batch"].add(item.table.batch)
        if item.by_messages and found.scenario.channel is not None:
            values["linger"].add(item.table.linger)
        if item.pace.polls:
            values["every"].add(item.pace.every)
    return {name for name, several in values.items() if len(several) > 1}


@pytest.mark.parametrize("name", sorted(path.stem for path in SHIPPED.glob("*.toml")))
def test_shipped_scenarios_have_equal_settings_or_say_why_not(name: str) -> None:
    path = SHIPPED / f"{name}.toml"
    assert unequal(plan(Source(path))) == ON_PURPOSE.get(name, set())
    said = re.findall(r"`(\w+)` is unequal on purpose", path.read_text().partition("schema = 1")[0])
    assert set(said) == ON_PURPOSE.get(name, set())


@pytest.mark.parametrize("domain", ["bank", "employees", "flights", "marketing"])
def test_a_new_scenario_has_equal_settings(domain: str, tmp_path: Path) -> None:
    assert not unequal(plan(Source(write_starter(tmp_path, "mine", domain, 1, ()))))


def test_a_new_scenario_on_own_data_has_equal_settings(tmp_path: Path) -> None:
    rows = [f"{number % 20},{number},word of {number % 3} and more,{number * 1.5}" for number in range(60)]
    (tmp_path / "own.csv").write_text("\n".join(["id,time,title,amount", *rows]))
    written = write_own(tmp_path, "mine", "own.csv", {"key": "id", "time": "time"}, seed=1)
    found = plan(Source(written.path))
    assert len(found.projections) > 1
    assert not unequal(found)
