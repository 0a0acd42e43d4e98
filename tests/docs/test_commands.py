"""Every command in every document runs, or is checked in the way that is said here with the reason."""

from __future__ import annotations

import itertools
import re
import shlex
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import click
import httpx
import polars as pl
import pytest
from click.testing import CliRunner
from documents import PAGES, ROOT, blocks, quoted, shell_lines, text
from serving import Process

from benchmarks.planned.__main__ import arguments as foretold
from benchmarks.repeated.__main__ import arguments
from benchmarks.transfers.__main__ import arguments as transfers
from lab.base import LabError, Unsound
from lab.cli import EXIT
from lab.cli import lab as cli
from lab.ending import INTERNAL, stopping
from lab.scenario import Source
from lab.sweeps import SweepPlan
from lab.sweeps.growth import planned
from lab.wiring import plan

SMALL = ("--set", "workload.commands=400", "--set", "domain.records=40", "--set", "measure.samples=3")
# Run until they are stopped, or for minutes: their options are parsed and their scenario is planned, no more.
LONG = {"serve", "load", "torture"}
# Its scenarios run here, made small; those of the others are planned, since each has a test of its own.
RUN_HERE = "scenarios/employees.toml"
# Planned commands of the design: documents may only say that they are not there yet.
PLANNED: set[str] = set()


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that looks like the project to a command: scenarios and examples are there, and runs go below it."""
    for name in ("scenarios", "examples"):
        (tmp_path / name).symlink_to(ROOT / name, target_is_directory=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def parsed(name: str, words: list[str]) -> dict[str, Any]:
    """The parameters of a `lab` line; click refuses an option or a value that there is none of."""
    # With its parent: a command remembers how its first context wanted to be asked for help.
    group = click.Context(cli, info_name="lab", **cli.context_settings)
    with cli.commands[name].make_context(name, list(words), parent=group) as context:
        return context.params


def call(words: list[str]) -> None:
    """Execute one `lab` line: as it is, made small, or planned only; see the lists above."""
    name, *rest = words
    if name == "servers" and rest[:1] in (["start"], ["stop"]):
        # Servers of the lab's own have tests of their own, which leave no folder behind.
        parsed(name, rest)
        return
    if name == "grow":
        given = parsed(name, rest)
        sizes = [float(size) for size in given["sizes"].split(",")]
        assert planned(Source(Path(given["scenario"]), given["overrides"], given["seed"]), sizes, given["repeat"]).tasks
        return
    if name == "plan":
        # It needs a growth that takes minutes to measure: tests/planning has one that is made up.
        given = parsed(name, rest)
        assert plan(Source(Path(given["scenario"]), given["overrides"], given["seed"])).projections
        return
    if name == "sweep":
        # Its points are made and the first of them is validated; tests/sweeps carry such out.
        given = parsed(name, rest)
        source = Source(Path(given["scenario"]), given["overrides"], given["seed"])
        if given["find_crossover"]:
            names = {item.name for item in plan(source).projections}
            assert set(given["find_crossover"].split(",")) <= names
            assert given["quantity"].removeprefix("query.") in {query.name for query in plan(source).queries}
            return
        assert SweepPlan.of(source, given["vary"], given["repeat"], given["samples"], given["design"]).tasks
        return
    if name in LONG | {"run"}:
        given = parsed(name, rest)
        assert plan(Source(Path(given["scenario"]), given["overrides"], given["seed"])).projections
        if name in LONG or given["scenario"] != RUN_HERE:
            return
        rest += SMALL
    if name == "check" and "--set" not in rest and "--selftest" not in rest:
        rest += ("--set", "histories=15")
    result = CliRunner().invoke(cli, [name, *rest])
    # The textbook's handler is there to fail.
    wanted = 1 if any("naive" in word for word in rest) else 0
    assert result.exit_code == wanted, f"lab {shlex.join(words)}\n{result.output}"


@pytest.fixture
def finished(project: Path) -> Path:
    """The project with a scenario of one's own, and a small run of employees to look at."""
    call(["new", "mine"])
    call(["run", RUN_HERE])
    return project


def targets() -> set[str]:
    """The targets of the Makefile."""
    return set(re.findall(r"^([a-z]+):", text("Makefile"), flags=re.M))


@pytest.mark.parametrize("page", [page for page in PAGES if shell_lines(page)])
def test_every_line_of_every_shell_block_works(page: str, request: pytest.FixtureRequest) -> None:
    lines = shell_lines(page)
    # A page that only looks at a run has one made first.
    looks = lines[0][:2] in (["lab", "advise"], ["lab", "compare"], ["lab", "report"])
    request.getfixturevalue("finished" if looks else "project")
    for words in lines:
        match words:
            case ["lab", *rest]:
                call(rest)
            case ["make", target, *settings]:
                assert target in targets(), words
                assert all(f"$({setting.partition('=')[0]}" in text("Makefile") for setting in settings), words
            case [".", ".venv/bin/activate"]:
                assert "VENV   := .venv" in text("Makefile")
            case ["conda", "env", "create", "-f", file]:
                assert (ROOT / file).is_file()
            case ["locust", "-f", file, *_]:
                # Needs a service that runs: tests/load drives one with this file, and with workers of its own.
                assert (ROOT / file).is_file()
            case ["python", "-m", "benchmarks.repeated", *rest]:
                # Takes an hour: tests/benchmarks counts runs that are made up.
                assert arguments(rest).what == rest[0]
            case ["python", "-m", "benchmarks.planned", *rest]:
                # Measures for minutes: tests/planning foretells a case whose truth is known.
                assert foretold(rest).held == 100_000
            case ["python", "-m", "benchmarks.transfers", *rest]:
                # Takes a minute of two cores: its parts are tried at a smaller size.
                assert transfers(rest).transfers == 10_000_000
            case ["curl", *_]:
                pass  # Sent to a service below.
            case _:
                pytest.fail(f"{page}: no test runs {shlex.join(words)!r}")


def requests() -> Iterator[httpx.Request]:
    """Every `curl` line of the documents as a request."""
    for page in PAGES:
        for words in (words for words in shell_lines(page) if words[0] == "curl"):
            given: dict[str, list[str]] = {"-X": [], "-H": [], "-d": []}
            address, *rest = [word for word in words[1:] if word.startswith("http")]
            assert not rest, words
            for option, value in itertools.pairwise(words):
                if option in given:
                    given[option].append(value)
            method = given["-X"][0] if given["-X"] else "GET"
            headers = dict(header.split(": ", 1) for header in given["-H"])
            yield httpx.Request(method, address, headers=headers, content="".join(given["-d"]))


def test_every_request_of_the_documents_is_answered(project: Path) -> None:
    with Process(RUN_HERE, "--folder", str(project / "served"), "--set", "workload.commands=4000") as service:
        asked = list(requests())
        assert len(asked) >= 5
        for request in asked:
            path = request.url.raw_path.decode()
            answer = service.client.request(request.method, path, headers=request.headers, content=request.content)
            assert answer.is_success, f"{request.method} {path}: {answer.status_code} {answer.text}"


# The list of changes also names what was there before.
@pytest.mark.parametrize("page", [page for page in PAGES if page != "CHANGELOG.md"])
def test_every_command_in_the_text_exists(page: str) -> None:
    for span in quoted(page):
        match span.split():
            case ["lab", name, *rest]:
                assert name in {*cli.commands, *PLANNED, "COMMAND"}, f"{page}: {span}"
                parameters = cli.commands[name].params if name in cli.commands else []
                known = {option for item in parameters for option in item.opts}
                options = {word for word in rest if word.startswith("--")}
                assert options <= known | {"--help"}, f"{page}: {span}"
                files = [word for word in rest if word.endswith(".toml") and "/" in word]
                assert [file for file in files if not (ROOT / file).is_file()] == [], f"{page}: {span}"
            case ["make", target, *_]:
                assert target in targets(), f"{page}: {span}"


def test_every_command_and_its_options_are_documented() -> None:
    page = text("docs/commands.md")
    everything = "\n".join(map(text, PAGES))
    for name, command in cli.commands.items():
        assert f"| `lab {name}" in page, name
        for option in (item for item in command.params if isinstance(item, click.Option)):
            assert f"`{option.opts[0]}" in everything, f"{name} {option.opts[0]}"


def test_what_is_said_to_be_missing_is_missing() -> None:
    assert PLANNED.isdisjoint(cli.commands), "it is there now: say so in the README, and take it out of PLANNED"


def test_every_exit_status_is_documented() -> None:
    documented = set(re.findall(r"^\| (\d+) \|", text("docs/commands.md"), flags=re.M))
    stopped = {128 + number for number in stopping.HANDLED}
    known = {*EXIT.values(), LabError.exit_status, Unsound.exit_status, INTERNAL, *stopped}
    assert documented == set(map(str, known))


def test_the_readme_s_witness_is_what_the_lab_prints() -> None:
    (shown,) = blocks("README.md", "")
    printed = CliRunner().invoke(cli, ["check", "lab.kit.examples.naive_insert:handle", "--set", "histories=15"]).output
    assert shown in printed


def test_what_lab_new_says_of_a_file_is_what_the_page_shows(project: Path) -> None:
    (shown,) = blocks("docs/own-data.md", "")
    command, _, said = shown.partition("\n")
    rows = [
        {"order_id": order, "total": order * 2.5, "updated_at": datetime(2024, 1, day, minute=order)}
        for day in (1, 2, 3)
        for order in range(40)
    ]
    pl.DataFrame(rows).write_parquet("orders.parquet")
    assert CliRunner().invoke(cli, command.removeprefix("$ lab ").split()).output == said


def test_the_smallest_scenario_of_the_page_is_valid(tmp_path: Path) -> None:
    smallest = tmp_path / "smallest.toml"
    smallest.write_text(blocks("scenarios/README.md", "toml")[0], encoding="utf-8")
    assert [projection.name for projection in plan(Source(smallest)).projections] == ["directory"]
