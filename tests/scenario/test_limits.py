"""What is too large, too deep or too long is refused with one line: sizes of files, depths, estimates of a run."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from pieces import SCENARIO

from lab.base import BadInput
from lab.scenario import Source
from lab.scenario.limits import FILE_BYTES, PROBLEMS_TOLD, PROJECTIONS_MAX, QUERIES_MAX
from lab.wiring import effort, plan


def said(text: str, *overrides: str) -> str:
    with pytest.raises(BadInput) as refused:
        plan(Source(Path("mine.toml"), overrides, text=text))
    return str(refused.value)


def of(*overrides: str) -> str:
    return said(SCENARIO, *overrides)


# --set: nothing of it is ignored, and nothing is guessed.

SETTINGS = {
    "seed=5\nname='x'": "something after the value, which would be ignored",
    "seed=5 # five": "something after the value",
    "seed=1]\n[x": "valid integer",
    "truth..model=events": "not a key",
    ".seed=1": "not a key",
    "=1": "not of the form key=value",
    "seed.x=1": "`seed` is not a table",
    "channel.outages.0.at=1": "",
    "projection=1": "",
    "a." * 50_000 + "b=1": "not a key",
    "seed=" + "9" * 5_000: "seed",
    "seed=0x" + "f" * 5_000: "more than 64 bits",
    "seed=" + "[" * 5_000 + "]" * 5_000: "deep",
    "workload.rate=nan": "workload.rate",
    "workload.rate=1e308": "workload.rate",
    "workload.rate=5e-324": "workload.rate",
    "channel.delay.mean=1e308": "channel.delay.mean",
    "time.model.per_batch=1e308": "time.model.per_batch",
    "levels.lag_p99=1e308": "levels.lag_p99",
    "levels.query_p99=5e-324": "levels.query_p99",
    "catch_up.every=5e-324": "catch_up.every",
    "schema=true": "must be a whole number",
    "schema=1.0": "must be a whole number",
    "projection.directory.entities=[]": "projection.directory.entities",
    'projection.directory.entities=["employee", "employee"]': "`employee` is in it twice",
    "projection.directory.name=Analytics": "two of [[projection]] are called",
    "projection.directory.name=Truth": "is reserved for the source of truth",
    "projection.directory.name=nul": "a device under Windows",
    'projection.directory.store="\\u001b[31mred"': "a control character",
    "name=" + "x" * 100_000: "name",
}


@pytest.mark.parametrize("item", SETTINGS, ids=lambda item: item[:30])
def test_a_setting_is_refused(item: str) -> None:
    told = of(item)
    assert SETTINGS[item] in told
    assert len(told) < 1_000
    assert "\x1b" not in told


def test_a_name_that_is_a_long_number_stands_in_no_other_setting_s_way() -> None:
    told = of("projection.payroll.name=0x" + "f" * 5_000, "projection.directory.batch=7")
    assert "a whole number of more than 64 bits" in told


def test_of_a_key_that_is_set_twice_the_last_value_holds() -> None:
    assert plan(Source(Path("mine.toml"), ("seed=1", " seed =2"), text=SCENARIO)).scenario.seed == 2


def test_a_value_of_several_lines_and_a_quoted_key_are_taken() -> None:
    items = ("channel.outages=[\n{ at = 1.0, lasts = 1.0 },\n]", 'levels.queries."employee"=1.0', "name=a-b")
    found = plan(Source(Path("mine.toml"), items, text=SCENARIO)).scenario
    assert found.channel is not None
    assert len(found.channel.outages) == 1
    assert found.levels.queries == {"employee": 1.0}


def test_minus_zero_is_zero() -> None:
    found = plan(Source(Path("mine.toml"), ("channel.lose=-0.0",), text=SCENARIO)).scenario
    assert found.channel is not None
    assert str(found.channel.lose) == "0.0"


# Whole files.


def test_a_large_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_bytes(b"#" * (FILE_BYTES + 1))
    with pytest.raises(BadInput, match="larger than 1,000,000 bytes"):
        Source(path)


@pytest.mark.parametrize(("start", "inside", "end"), [("x = ", "[", "]"), ("x = ", "{a=", "}")])
@pytest.mark.parametrize("size", [40, 50_000])
def test_deep_nesting_is_refused(start: str, inside: str, end: str, size: int) -> None:
    with pytest.raises(BadInput, match="more than 32 deep"):
        Source.of_text(f"{start}{inside * size}1{end * size}\n", "mine.toml")


@pytest.mark.parametrize("text", ["a." * 50_000 + "b = 1", f"[{'a . ' * 50_000}b]", "'a'." * 50_000 + "b = 1"])
def test_a_key_of_many_parts_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match="a key of more than 32 parts"):
        Source.of_text(text, "mine.toml")


@pytest.mark.parametrize(
    "text", ['x = "' + "a." * 900 + '"', "# " + "." * 900, "x = '''\n" + "." * 900 + "'''", "x = 1.5"]
)
def test_dots_in_texts_and_comments_are_no_keys(text: str) -> None:
    Source.of_text(text, "mine.toml")


def test_many_projections_and_queries_are_refused() -> None:
    rows = "".join(f'[[projection]]\nname = "p{number}"\nstore = "memory"\n' for number in range(20_000))
    told = said(SCENARIO + rows)
    assert f"at most {PROJECTIONS_MAX}" in told
    rows = "".join(f'[[query]]\nname = "q{number}"\nkind = "get"\nentity = "employee"\n' for number in range(10_000))
    assert f"at most {QUERIES_MAX}" in said(SCENARIO + rows)


def test_of_many_mistakes_so_many_are_told_as_can_be_read() -> None:
    told = said("".join(f"nope{number} = 1\n" for number in range(50_000)) + SCENARIO)
    assert len(told.splitlines()) == PROBLEMS_TOLD + 1
    assert "mistakes more" in told


def test_the_mistakes_that_are_not_told_are_counted_once() -> None:
    told = said("".join(f"nope{number} = 1\n" for number in range(300)) + SCENARIO).splitlines()
    assert [line for line in told if "more" in line] == [
        f"mine.toml: {300 - PROBLEMS_TOLD} mistakes more (mend these first)"
    ]
    assert len(told) == PROBLEMS_TOLD + 1


# Estimates: what the values ask for together.

ESTIMATES = {
    ("workload.commands=1000000000",): ["workload.commands", "GB of memory, and this machine has"],
    ("workload.rate=0.000001",): ["workload.rate", "years of simulated time", "at most 32 years"],
    ("channel.delay.mean=1e9",): ["channel.delay", "years of simulated time"],
    ("channel.delay.sigma=5.0", "channel.delay.mean=1e7"): ["channel.delay", "years of simulated time"],
    ("projection.directory.linger=1e9",): ["projection.directory.linger", "years of simulated time"],
    ("projection.directory.linger=1e8", "catch_up.every=0.000001"): ["every", "polls in"],
    ("faults.refuse=1.0",): ["mine.toml: faults", "never end"],
    ("faults.crash=1.0",): ["never end"],
    ("time.model.per_row=1e6",): ["time.model", "years of simulated time"],
    ("readers.sessions=1000000", "readers.reads=1000"): ["readers.sessions", "1,000,000,000 reads"],
}


@pytest.mark.parametrize("items", ESTIMATES, ids=lambda items: " ".join(items)[:60])
def test_a_run_that_would_not_end_is_refused_with_the_estimate(items: tuple[str, ...]) -> None:
    told = of(*items)
    assert all(word in told for word in ESTIMATES[items]), told


@pytest.mark.parametrize("items", [
    ("channel.delay.mean=1e6",),
    ("projection.directory.linger=1e7",),
    ("workload.rate=0.001", "workload.commands=300"),
])  # fmt: skip
def test_long_times_that_cost_nothing_are_taken(items: tuple[str, ...]) -> None:
    plan(Source(Path("mine.toml"), items, text=SCENARIO))


def test_a_history_is_weighed_as_changes_and_not_as_commands() -> None:
    made = plan(Source(Path("mine.toml"), (), text=SCENARIO)).scenario

    def found(changes: int, replayed: bool) -> str:
        return "\n".join(map(str, effort.problems(made, changes, 60.0, "mine.toml", {}, replayed)))

    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert "workload.commands" in found(there // 2_500, replayed=False)
    assert "GB of memory" not in found(there // 2_500, replayed=True)
    assert "domain.days or domain.records" in found(there // 50, replayed=True)
