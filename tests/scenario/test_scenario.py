"""A person's mistakes: each is told with its place and the way out, all of them at once, and never as a traceback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from pieces import SCENARIO

from lab.base import BadInput, NotReadable
from lab.cli import lab
from lab.domain import DOMAINS, OWN_DATA
from lab.scenario import Source
from lab.stores import STORES
from lab.wiring import plan

SHIPPED = Path(__file__).parents[2] / "scenarios"
QUERY = '\n[[query]]\nname = "q"\n'


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def call(*arguments: str) -> Result:
    """The command line in this process. Nothing but an exit may come out of it."""
    found = CliRunner().invoke(lab, arguments)
    assert found.exception is None or isinstance(found.exception, SystemExit), found.exception
    assert "Traceback" not in found.output
    return found


def written(text: str = SCENARIO, name: str = "mine.toml") -> str:
    Path(name).write_text(text)
    return name


def complaint(text: str, *overrides: str) -> str:
    """What `lab validate` says of a scenario that is wrong."""
    options = [word for item in overrides for word in ("--set", item)]
    found = call("validate", written(text), *options)
    assert found.exit_code == 2, found.output
    assert found.stdout == ""
    return found.stderr


def changed(old: str, new: str) -> str:
    """The scenario with one thing changed."""
    assert old in SCENARIO
    return SCENARIO.replace(old, new, 1)


# What is right


def test_the_scenario_of_these_tests_is_valid(folder: Path) -> None:
    found = call("validate", written())
    assert found.exit_code == 0
    assert found.stdout == "mine.toml: valid; 3 projections: directory, analytics, payroll\n"
    assert found.stderr == ""


@pytest.mark.parametrize("path", sorted(SHIPPED.glob("*.toml")), ids=lambda path: path.stem)
def test_every_shipped_scenario_is_valid(path: Path) -> None:
    found = call("validate", str(path), "--json")
    assert found.exit_code == 0
    assert json.loads(found.stdout)["valid"]


def test_set_reaches_any_key_and_the_seed_has_an_option_of_its_own(folder: Path) -> None:
    options = ["--set", "truth.model=events", "--set", "projection.payroll.batch=7", "--set", "channel.lose=0"]
    found = call("validate", written(), *options, "--seed", "42", "--json")
    assert json.loads(found.stdout)["seed"] == 42


def test_a_whole_number_is_good_enough_for_a_rate(folder: Path) -> None:
    assert call("validate", written(changed("rate = 1_000.0", "rate = 1_000"))).exit_code == 0


# What is wrong: the scenario, and words that the complaint must have

XMIN = SCENARIO.replace("[catch_up]", '[writers]\ncount = 4\n[catch_up]\ngaps = "xmin"')
WRONG: dict[str, tuple[str, list[str]]] = {
    "an unknown key": (
        changed("page = 1_000", "pages = 1_000"),
        ["mine.toml: catch_up.pages", "unknown key", "did you mean `page`?"],
    ),
    "an unknown table": (
        changed("[truth]", "[thruth]"),
        ["mine.toml: thruth", "unknown key", "did you mean `truth`?"],
    ),
    "an unknown key of a projection": (
        changed('guard = "dedupe"', 'gard = "dedupe"'),
        ["mine.toml: projection.payroll.gard", "did you mean `guard`?"],
    ),
    "an unknown key deep inside": (
        changed("sigma = 1.0", "sgima = 1.0"),
        ["mine.toml: channel.delay.sgima", "did you mean `sigma`?"],
    ),
    "a text for a number": (
        changed("page = 1_000", 'page = "many"'),
        ["mine.toml: catch_up.page", "valid integer", "'many'"],
    ),
    "a truth for a number": (changed("batch = 100", "batch = true"), ["mine.toml: projection.directory.batch"]),
    "a negative rate": (
        changed("rate = 1_000.0", "rate = -1.0"),
        ["mine.toml: workload.rate", "greater than or equal to 0.000000001", "-1.0"],
    ),
    "an infinite rate": (changed("rate = 1_000.0", "rate = inf"), ["mine.toml: workload.rate", "finite"]),
    "a rate that is no number": (changed("rate = 1_000.0", "rate = nan"), ["mine.toml: workload.rate"]),
    "a probability over 1": (
        changed("lose = 0.01", "lose = 1.5"),
        ["mine.toml: channel.lose", "less than or equal to 1", "1.5"],
    ),
    "a share below 0": (changed("share = 0.1", "share = -0.1"), ["mine.toml: channel.reorder.share", "-0.1"]),
    "no seed": (
        changed("seed = 1087", ""),
        ["mine.toml: seed", "missing", "a seed has no default: add `seed = 1087`"],
    ),
    "no projection": (SCENARIO.partition("[[projection]]")[0], ["mine.toml: projection", "missing"]),
    "no schema": (changed("schema = 1", ""), ["mine.toml: schema", "missing"]),
    "a schema to come": (changed("schema = 1", "schema = 2"), ["mine.toml: schema", "`2` is not valid", "valid: 1"]),
    "a name with a slash": (changed('name = "mine"', 'name = "../mine"'), ["mine.toml: name", "'../mine'"]),
    "an unknown guard": (
        changed('guard = "dedupe"', 'guard = "dedup"'),
        ["mine.toml: projection.payroll.guard", "`dedup` is not valid", "did you mean `dedupe`?"],
    ),
    "an unknown store": (
        changed('"duckdb.columnar"', '"duckdb.column"'),
        [
            "mine.toml: projection.analytics.store",
            "no store is called `duckdb.column`",
            "did you mean `duckdb.columnar`?",
        ],
    ),
    "an unknown domain": (
        changed('name = "employees"', 'name = "employes"'),
        ["mine.toml: domain.name", "did you mean `employees`?"],
    ),
    "an unknown write model": (
        changed('model = "history"', 'model = "event"'),
        ["mine.toml: truth.model", "did you mean `events`?"],
    ),
    "an unknown engine": (
        changed('model = "history"', 'engine = "sqllite"'),
        ["mine.toml: truth.engine", "did you mean `sqlite`?"],
    ),
    "ids of transactions of an engine that shows none": (
        XMIN,
        ["mine.toml: catch_up.gaps", "`sqlite` shows none", 'set truth.engine to "postgres", or use "horizon"'],
    ),
    "ids of transactions on the simulated clock": (
        XMIN.replace('model = "history"', 'model = "history"\nengine = "postgres"'),
        ["mine.toml: catch_up.gaps", "on the simulated clock there are none", 'use "horizon"'],
    ),
    "an unknown entity of a projection": (
        changed("batch = 1_000", 'batch = 1_000\nentities = ["employe"]'),
        ["mine.toml: projection.analytics.entities", "did you mean `employee`?"],
    ),
    "an unknown query of a projection": (
        changed("batch = 1_000", 'batch = 1_000\nqueries = ["carrer"]'),
        ["mine.toml: projection.analytics.queries", "did you mean `career`?"],
    ),
    "an unknown running aggregate": (
        changed('keeps = "totals"', 'keeps = "totals"\ntotals = "pay"'),
        ["mine.toml: projection.payroll.totals", "did you mean `payroll`?"],
    ),
    "two projections of one name": (
        changed('name = "payroll"', 'name = "analytics"'),
        ["mine.toml", "two of [[projection]] are called `analytics`"],
    ),
    "a guard that waits for every revision of a snapshot": (
        changed('model = "history"', 'model = "snapshot"').replace('guard = "revision"', 'guard = "ordered"', 1),
        [
            "mine.toml: projection.directory.guard",
            "a snapshot feed never shows a revision that has been overwritten",
            'set truth.model to "history" or "events"',
        ],
    ),
    "totals of a snapshot that are added up": (
        changed('model = "history"', 'model = "snapshot"'),
        ["mine.toml: projection.payroll.guard", "needs every revision", 'guard to "revision"'],
    ),
    "every revision of a snapshot": (
        changed('model = "history"', 'model = "snapshot"').replace("batch = 1_000", 'keeps = "revisions"', 1),
        ["mine.toml: projection.analytics.keeps", "it keeps every revision", "truth.model"],
    ),
    "a question about the past of a snapshot": (
        changed('model = "history"', 'model = "snapshot"').replace('guard = "dedupe"', 'guard = "revision"')
        + QUERY
        + 'kind = "as_of"\nentity = "employee"\n',
        [
            "mine.toml: query.q.kind",
            "`as_of` needs every revision, and a snapshot feed never shows one that has been overwritten",
            'set truth.model to "history" or "events"',
        ],
    ),
    "a subscription to no channel": (
        SCENARIO.partition("[channel]")[0]
        + '[[projection]]\nname = "directory"\nstore = "memory"\nsubscribe = "channel"\n',
        ["mine.toml: projection.directory.subscribe", "listens to a channel", "[channel]"],
    ),
    "commands for a history that is there": (
        changed('name = "employees"\nrecords = 200', 'name = "flights"'),
        ["mine.toml: workload.commands", "`flights` replays a history of its own", "leave [workload] out"],
    ),
    "no commands where there is no history": (
        changed("commands = 3_000", "commands = 0"),
        ["mine.toml: workload.commands", "there are none"],
    ),
    "more records than commands": (
        changed("records = 200", "records = 4_000"),
        ["mine.toml: domain.records", "4,000 records can't be made by 3,000 commands"],
    ),
    "an unknown class of query": (
        SCENARIO + QUERY + 'kind = "agregate"\nentity = "employee"\n',
        ["mine.toml: query.q.kind", "no class of query `agregate`", "did you mean `aggregate`?"],
    ),
    "an unknown entity of a query": (
        SCENARIO + QUERY + 'kind = "get"\nentity = "employe"\n',
        ["mine.toml: query.q.entity", "no entity `employe`", "did you mean `employee`?"],
    ),
    "an unknown column to filter by": (
        SCENARIO + QUERY + 'kind = "filter"\nentity = "employee"\nwhere = { departement = "?" }\n',
        ["mine.toml: query.q.where", "no column `departement`", "did you mean `department`?"],
    ),
    "an unknown operator": (
        SCENARIO + QUERY + 'kind = "filter"\nentity = "employee"\nwhere = { salary = { at_most = 3 } }\n',
        ["mine.toml: query.q.where.salary", "no operator `at_most`", "`at_least`"],
    ),
    "an unknown column to order by": (
        SCENARIO + QUERY + 'kind = "filter"\nentity = "employee"\norder_by = "salery"\n',
        ["mine.toml: query.q.order_by", "did you mean `salary`?"],
    ),
    "a sum of names": (
        SCENARIO + QUERY + 'kind = "aggregate"\nentity = "employee"\ngroup_by = ["department"]\nsum = ["name"]\n',
        ["mine.toml: query.q.sum", "no column of numbers `name`", "did you mean"],
    ),
    "an aggregate of no groups": (
        SCENARIO + QUERY + 'kind = "aggregate"\nentity = "employee"\n',
        ["mine.toml: query.q.group_by", "needs it"],
    ),
    "a join with nothing": (
        SCENARIO + QUERY + 'kind = "join"\nentity = "employee"\n',
        ["mine.toml: query.q.on", "mine.toml: query.q.to"],
    ),
    "a join of names with numbers": (
        SCENARIO + QUERY + 'kind = "join"\nentity = "employee"\non = "name"\nto = "employee"\ntake = ["name"]\n',
        ["mine.toml: query.q.on"],
    ),
    "a text to compare a number with": (
        SCENARIO + QUERY + 'kind = "filter"\nentity = "employee"\nwhere = { salary = { at_least = "much" } }\n',
        ["mine.toml: query.q.where.salary", "much"],
    ),
    "a list to compare a text with": (
        SCENARIO + QUERY + 'kind = "filter"\nentity = "employee"\nwhere = { department = ["Sales", "Legal"] }\n',
        ["mine.toml: query.q.where.department"],
    ),
    "not TOML": (changed("[domain]", "[domain"), ["mine.toml", "not TOML", "line"]),
    "nothing at all": ("", ["mine.toml: seed", "mine.toml: domain", "mine.toml: projection"]),
}


@pytest.mark.parametrize("mistake", WRONG)
def test_a_mistake_is_told_with_its_place_and_the_way_out(mistake: str, folder: Path) -> None:
    text, words = WRONG[mistake]
    said = complaint(text)
    for word in words:
        assert word in said, said
    assert all(line.startswith("error: ") for line in said.splitlines())


SET_WRONG: dict[str, tuple[str, list[str]]] = {
    "no value": ("truth.model", ["--set truth.model", "not of the form key=value", "--set truth.model=events"]),
    "no key": ("=events", ["--set =events", "not of the form key=value"]),
    "an unknown projection": (
        "projection.pay-roll.batch=3",
        ["--set projection.pay-roll.batch=3", "no projection is called `pay-roll`", "did you mean `payroll`?"],
    ),
    "a projection and no key": ("projection.payroll=3", ["names a projection, not a key of it"]),
    "an unknown key": ("catch_up.evry=3", ["mine.toml: catch_up.evry", "did you mean `every`?"]),
    "a key of no table": ("seed.x=3", ["--set seed.x=3", "`seed` is not a table"]),
    "a value out of range": ("channel.lose=2", ["mine.toml: channel.lose", "less than or equal to 1"]),
    "an empty value": ("truth.model=", ["mine.toml: truth.model", "`` is not valid"]),
}


@pytest.mark.parametrize("mistake", SET_WRONG)
def test_a_mistake_on_the_command_line_is_told_too(mistake: str, folder: Path) -> None:
    item, words = SET_WRONG[mistake]
    said = complaint(SCENARIO, item)
    for word in words:
        assert word in said, said


def test_a_projection_without_a_proper_name_can_still_be_passed_over(folder: Path) -> None:
    said = complaint(changed('name = "directory"', 'name = ["directory"]'), "projection.payroll.batch=3")
    assert "mine.toml: projection" in said


@pytest.mark.parametrize("command", ["validate", "run"])
def test_a_missing_file_is_told_with_the_nearest_that_is_there(command: str, folder: Path) -> None:
    written()
    found = call(command, "mien.toml")
    assert found.exit_code == 2
    assert found.stderr == "error: mien.toml: no such file (did you mean `mine.toml`?)\n"


def test_a_binary_file_and_a_folder_are_told(folder: Path) -> None:
    Path("photo.toml").write_bytes(bytes(range(256)))
    Path("sub").mkdir()
    for name, word in (("photo.toml", "not text (a binary file?)"), ("sub", "a folder, not a scenario")):
        found = call("validate", name)
        assert found.exit_code == 2
        assert f"{name}: {word}" in found.stderr


def all_at_once(text: str, *places: str) -> None:
    said = complaint(text)
    missing = [place for place in places if f"mine.toml: {place}" not in said and place not in said]
    assert not missing, said


def test_all_mistakes_are_told_at_once(folder: Path) -> None:
    text = changed("seed = 1087", "").replace("lose = 0.01", "lose = 7.0").replace("page = 1_000", 'page = "x"')
    all_at_once(text, "seed", "channel.lose", "catch_up.page")
    assert len(complaint(text).splitlines()) == 3


def test_mistakes_of_shape_and_of_meaning_are_told_together(folder: Path) -> None:
    text = changed('"duckdb.columnar"', '"duck"').replace("lose = 0.01", "lose = 7.0")
    text = text.replace('model = "history"', 'model = "snapshot"') + QUERY + 'kind = "get"\nentity = "x"\n'
    all_at_once(text, "projection.analytics.store", "channel.lose", "projection.payroll.guard", "query.q.entity")


def test_names_that_are_there_twice_are_told_beside_other_mistakes(folder: Path) -> None:
    twice = changed('name = "payroll"', 'name = "analytics"')
    all_at_once(twice.replace("lose = 0.01", "lose = 7.0"), "two of [[projection]]", "channel.lose")


def test_names_that_are_there_twice_hide_no_mistake_of_meaning(folder: Path) -> None:
    twice = changed('name = "payroll"', 'name = "analytics"')
    all_at_once(twice.replace('"sqlite.table"', '"sqlite"', 1), "two of [[projection]]", "projection.directory.store")


def test_an_unknown_domain_hides_no_other_mistake(folder: Path) -> None:
    text = changed('name = "employees"', 'name = "people"').replace('model = "history"', 'model = "snapshot"')
    all_at_once(text.replace('guard = "revision"', 'guard = "ordered"', 1), "domain.name", "projection.directory.guard")


def test_the_same_mistake_is_told_once(folder: Path) -> None:
    lines = complaint(changed("lose = 0.01", "lose = 7.0")).splitlines()
    assert len(lines) == len(set(lines)) == 1


def test_errors_as_json_are_one_document_on_standard_output(folder: Path) -> None:
    found = call("validate", written(changed("page = 1_000", "pages = 1")), "--json")
    assert found.exit_code == 2
    (error,) = json.loads(found.stdout)["error"]
    assert error == {
        "where": "mine.toml: catch_up.pages",
        "what": "unknown key",
        "way_out": "did you mean `page`?",
    }


def test_a_run_of_a_wrong_scenario_leaves_nothing(folder: Path) -> None:
    found = call("run", written(changed("lose = 0.01", "lose = 7.0")))
    assert found.exit_code == 2
    assert [path.name for path in folder.iterdir()] == ["mine.toml"]


# The command line itself, in a process of its own


def process(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(SHIPPED.parent)}
    return subprocess.run(
        [sys.executable, "-m", "lab", *arguments], cwd=cwd, env=environment, capture_output=True, text=True, timeout=60
    )


def test_a_process_ends_with_status_2_and_says_why_on_standard_error(folder: Path) -> None:
    found = process("validate", written(changed("page = 1_000", "pages = 1")), cwd=folder)
    assert found.returncode == 2
    assert found.stdout == ""
    assert found.stderr == "error: mine.toml: catch_up.pages: unknown key (did you mean `page`?)\n"


@pytest.mark.parametrize("arguments", [["vlidate", "x"], ["validate"], ["validate", "x", "--sed", "1"]])
def test_a_mistyped_command_is_told_without_a_traceback(arguments: list[str], folder: Path) -> None:
    found = call(*arguments)
    assert found.exit_code == 2
    assert "Usage:" in found.stderr


def test_a_mistyped_command_ends_a_process_with_status_2(folder: Path) -> None:
    found = process("valdate", "mine.toml", cwd=folder)
    assert found.returncode == 2
    assert "No such command" in found.stderr
    assert "Traceback" not in found.stderr


def test_a_seed_below_zero_is_refused(folder: Path) -> None:
    assert call("validate", written(), "--seed", "-1").exit_code == 2


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help_names_every_command(option: str) -> None:
    found = call(option)
    assert found.exit_code == 0
    for name in lab.commands:
        assert name in found.stdout


@pytest.mark.parametrize("command", sorted(lab.commands))
def test_every_command_has_help_and_takes_json_set_and_seed(command: str) -> None:
    found = call(command, "-h")
    assert found.exit_code == 0
    for option in ("--json", "--set", "--seed"):
        assert option in found.stdout


# lab new, lab stores


# Your own data begins with a file: its tests are its own.
@pytest.mark.parametrize("domain", [name for name in DOMAINS if name != OWN_DATA])
def test_a_new_scenario_is_valid(domain: str, folder: Path) -> None:
    found = call("new", "fresh", "--domain", domain)
    assert found.exit_code == 0
    assert "lab run fresh.toml" in found.stdout
    assert call("validate", "fresh.toml").exit_code == 0


def test_a_new_scenario_has_the_seed_that_it_is_given(folder: Path) -> None:
    found = call("new", "fresh", "--seed", "7", "--json")
    assert json.loads(found.stdout)["scenario"].endswith("fresh.toml")
    assert json.loads(call("validate", "fresh.toml", "--json").stdout)["seed"] == 7


def test_new_never_overwrites(folder: Path) -> None:
    Path("fresh.toml").write_text("precious")
    found = call("new", "fresh")
    assert found.exit_code == 2
    assert "fresh.toml: is there already" in found.stderr
    assert Path("fresh.toml").read_text() == "precious"


@pytest.mark.parametrize("name", ["../up", "a/b", "1st", "", "with space", "x" * 65, "dot.ted"])
def test_new_refuses_a_bad_name(name: str, folder: Path) -> None:
    found = call("new", name)
    assert found.exit_code == 2
    assert "not a scenario's name" in found.stderr
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--domain", "employes"], "did you mean `employees`?"),
        (["--set", "truth.model=events"], "no scenario yet"),
        (["--seed", str(2**63)], "seed"),
    ],
)
def test_new_leaves_nothing_when_it_refuses(arguments: list[str], word: str, folder: Path) -> None:
    found = call("new", "fresh", *arguments)
    assert found.exit_code == 2
    assert word in found.stderr
    assert list(folder.iterdir()) == []


def test_stores_are_listed_with_what_they_answer() -> None:
    listed: list[dict[str, Any]] = json.loads(call("stores", "--json").stdout)
    rows = [row for row in listed if row["store"]]
    assert [row["store"] for row in rows] == list(STORES)
    for row in rows:
        assert row["installed"]
        assert row["answers"]
        assert row["durability"]
        assert row["engine"]
    said = call("stores").stdout
    assert all(name in said for name in STORES)


def test_a_finished_thing_can_not_be_set(folder: Path) -> None:
    found = call("stores", "--set", "seed=3")
    assert found.exit_code == 2
    assert "there is no scenario here" in found.stderr


def test_a_scenario_can_be_a_text_without_a_file(folder: Path) -> None:
    made = plan(Source.of_text(SCENARIO, "nowhere.toml"))
    assert made.scenario == plan(Source(Path(written()))).scenario
    with pytest.raises(BadInput, match=r"nowhere\.toml: seed: required"):
        plan(Source.of_text(SCENARIO.replace("seed", "# seed"), "nowhere.toml"))
    with pytest.raises(NotReadable, match=r"nowhere\.toml.*not TOML"):
        Source.of_text("= nothing", "nowhere.toml")
    assert not (folder / "nowhere.toml").exists()
