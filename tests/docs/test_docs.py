"""The documentation can't rot: keys, commands, stores, tables, rooms and versions are held to the code."""

from __future__ import annotations

import json
import re
import runpy
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import click
import polars as pl
import pytest
import yaml
from click.testing import CliRunner
from pydantic import BaseModel
from pydantic.fields import FieldInfo

import lab
from lab.base import LabError, Unsound, stream
from lab.cli import EXIT
from lab.cli import lab as cli
from lab.experiment import run
from lab.experiment.strands import deliveries
from lab.feed.published import Published
from lab.queries.kinds import KINDS
from lab.queries.model import OPERATORS
from lab.runs import Run
from lab.scenario import Delay, FaultsTable, Scenario, ServiceModel, Source
from lab.stores import STORES
from lab.tables import ALWAYS
from lab.verdict.checks import CHECKS
from lab.verdict.oracle import Oracle
from lab.wiring import plan

ROOT = Path(__file__).parents[2]
SCENARIOS = sorted((ROOT / "scenarios").glob("*.toml"))
PAGES = (
    "README.md",
    "docs/run-folder.md",
    "lab/README.md",
    "scenarios/README.md",
    "notebooks/README.md",
    "benchmarks/README.md",
)
SMALL = ("--set", "workload.commands=400", "--set", "domain.records=40", "--set", "measure.samples=3")
# Commands of the design that the README may only name as not there yet.
PLANNED = {"sweep"}


def text(name: str) -> str:
    """A page of the documentation."""
    return (ROOT / name).read_text(encoding="utf-8")


def sections(page: str) -> dict[str, str]:
    """The text below each heading, up to the next heading of any level; headings without their quotes."""
    parts = re.split(r"^#+ (.+)$", re.sub(r"^```.*?^```$", "", text(page), flags=re.M | re.S), flags=re.M)
    return {heading.replace("`", ""): body for heading, body in zip(parts[1::2], parts[2::2], strict=True)}


def rows(section: str) -> dict[str, list[str]]:
    """The rows of a section's tables whose first cell is one quoted word: that word, and the other cells."""
    found = {}
    for line in section.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if line.startswith("|") and re.fullmatch(r"`\w+`", cells[0]):
            found[cells[0].strip("`")] = cells[1:]
    return found


def blocks(page: str, language: str) -> list[str]:
    """The fenced blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text(page), flags=re.M | re.S)


def shell_lines(page: str) -> list[list[str]]:
    """Every line of every shell block, split into words; comments are left out."""
    lines = [line for block in blocks(page, "sh") for line in block.splitlines()]
    return [words for line in lines if (words := shlex.split(line, comments=True))]


# --- scenarios/README.md ---------------------------------------------------------------------------------------------


def model_in(annotation: Any) -> type[BaseModel] | None:
    """The table that a field holds, by itself or in a list of them."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for inner in get_args(annotation) if (found := model_in(inner))), None)


def tables(model: type[BaseModel] = Scenario, path: str = "") -> Iterator[tuple[str, type[BaseModel]]]:
    """Every table of a scenario and the heading that it must stand under; one that is met twice comes once."""
    yield path or "Top level", model
    seen = set()
    for name, field in model.model_fields.items():
        inner = model_in(field.annotation)
        own = path == "[[projection]]" and inner in (ServiceModel, FaultsTable)
        if inner is None or inner in seen or own:
            continue
        seen.add(inner)
        if path:
            yield from tables(inner, f"{path.strip('[]')}.{name}")
        else:
            yield from tables(inner, f"[[{name}]]" if "tuple" in str(field.annotation) else f"[{name}]")


# A delay is explained once.
HEADINGS = [(heading, model) for heading, model in tables() if model is not Delay or heading == "channel.delay"]


@pytest.mark.parametrize(("heading", "model"), HEADINGS, ids=[heading for heading, _ in HEADINGS])
def test_every_key_of_a_table_is_explained_in_its_section_and_no_other(heading: str, model: type[BaseModel]) -> None:
    documented = set(rows(sections("scenarios/README.md")[heading]))
    if heading == "[[query]]":
        documented -= set(KINDS) - {"sql"}
    assert documented == {field.alias or name for name, field in model.model_fields.items()}


@pytest.mark.parametrize(("heading", "model"), HEADINGS, ids=[heading for heading, _ in HEADINGS])
def test_every_default_is_the_one_in_the_code(heading: str, model: type[BaseModel]) -> None:
    documented = rows(sections("scenarios/README.md")[heading])
    for name, field in model.model_fields.items():
        says = documented[field.alias or name][1]
        assert default_agrees(field, says), f"{heading} {name}: {says!r}"


def default_agrees(field: FieldInfo, says: str) -> bool:
    """Whether a cell says the field's default: `required`, quoted TOML, or words for none and for a table."""
    if field.is_required() or says == "required":
        return field.is_required() and says == "required"
    default = field.get_default(call_default_factory=True)
    if default is None or isinstance(default, BaseModel):
        return True
    if not says.startswith("`"):
        return default == () and model_in(field.annotation) is not None
    value = tomllib.loads(f"value = {says.strip('`')}")["value"]
    return bool(value == (list(default) if isinstance(default, tuple) else default))


def test_every_class_of_query_is_explained() -> None:
    documented = sections("scenarios/README.md")["[[query]]"]
    assert set(KINDS) <= set(rows(documented))
    assert [name for name in OPERATORS if f"`{name}`" not in documented] == []


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_every_scenario_that_ships_is_valid_and_listed(path: Path) -> None:
    made = plan(Source(path))
    assert made.scenario.name == path.stem
    assert f"[{path.name}]({path.name})" in text("scenarios/README.md")
    assert f"[{path.stem}](scenarios/{path.name})" in text("README.md")


def test_what_is_said_to_be_expected_to_fail_is() -> None:
    listed = re.findall(r"^\| \[(\S+\.toml)\].*\| (.+) \|$", text("scenarios/README.md"), flags=re.M)
    assert {file for file, _ in listed} == {path.name for path in SCENARIOS}
    for file, said in listed:
        projections = plan(Source(ROOT / "scenarios" / file)).scenario.projection
        failing = {projection.name for projection in projections if projection.expect == "fail"}
        assert failing == set(re.findall(r"`([^`]+)`", said)), file


def test_the_smallest_scenario_of_the_page_is_valid(tmp_path: Path) -> None:
    smallest = tmp_path / "smallest.toml"
    smallest.write_text(blocks("scenarios/README.md", "toml")[0], encoding="utf-8")
    assert [projection.name for projection in plan(Source(smallest)).projections] == ["directory"]


# --- commands --------------------------------------------------------------------------------------------------------


def test_every_command_and_its_options_are_in_the_readme() -> None:
    page = text("README.md")
    for name, command in cli.commands.items():
        assert f"`lab {name}" in page, name
        for option in (item for item in command.params if isinstance(item, click.Option)):
            assert f"`{option.opts[0]}" in page, f"{name} {option.opts[0]}"


def test_what_is_said_to_be_missing_is_missing() -> None:
    assert PLANNED.isdisjoint(cli.commands), "it is there now: say so in the README, and take it out of PLANNED"
    # A command line in quotes, up to an argument; `lab/...` and `lab_...` are none.
    named = {name for page in PAGES for name in re.findall(r"`lab ([a-z]+)", text(page))}
    assert named <= set(cli.commands) | PLANNED


def test_every_exit_status_is_in_the_readme() -> None:
    documented = set(re.findall(r"^\| (\d+) \|", text("README.md"), flags=re.M))
    assert documented == {str(status) for status in (*EXIT.values(), LabError.exit_status, Unsound.exit_status, 130)}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that looks like the project to a command: its scenarios are there, and runs go below it."""
    (tmp_path / "scenarios").symlink_to(ROOT / "scenarios", target_is_directory=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def call(words: list[str]) -> None:
    """One `lab` line. A run of employees is made small, and really made; of any other scenario it is planned only."""
    name, *rest = words
    if name == "run":
        # With its parent: a command remembers how its first context wanted to be asked for help.
        group = click.Context(cli, info_name="lab", **cli.context_settings)
        with cli.commands["run"].make_context("run", list(rest), parent=group) as context:
            given = context.params
        assert plan(Source(Path(given["scenario"]), given["overrides"], given["seed"])).projections
        if given["scenario"] != "scenarios/employees.toml":
            return
        rest += SMALL
    result = CliRunner().invoke(cli, [name, *rest])
    # The textbook's handler is there to fail.
    wanted = 1 if "lab.kit.examples.naive_insert:handle" in rest else 0
    assert result.exit_code == wanted, f"lab {shlex.join(words)}\n{result.output}"


@pytest.mark.parametrize("page", PAGES)
def test_every_line_of_every_shell_block_works(page: str, project: Path) -> None:
    targets = set(re.findall(r"^([a-z]+):", text("Makefile"), flags=re.M))
    for words in shell_lines(page):
        match words:
            case ["lab", *rest]:
                call(rest)
            case ["make", *made]:
                assert set(made) <= targets, words
            case [".", ".venv/bin/activate"]:
                assert "VENV   := .venv" in text("Makefile")
            case ["conda", "env", "create", "-f", file]:
                assert (ROOT / file).is_file()
            case _:
                pytest.fail(f"{page}: nobody checks {shlex.join(words)!r}")


def test_the_python_of_the_readme_works(small_run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(small_run.path.parent.parent.parent)
    names: dict[str, Any] = {}
    for block in blocks("README.md", "python"):
        exec(block, names)
    assert names["run"].path == small_run.path


# --- stores, rooms, the run folder -----------------------------------------------------------------------------------


def test_every_store_is_named() -> None:
    for page in ("lab/README.md", "scenarios/README.md"):
        assert [name for name in STORES if f"`{name}`" not in text(page)] == []


def test_every_room_is_on_the_map_and_every_name_on_the_map_is_a_room() -> None:
    drawn = set(re.findall(r"^  (\w+(?:/|\.py)) ", blocks("lab/README.md", "")[0], flags=re.M))
    packages = {f"{path.parent.name}/" for path in (ROOT / "lab").glob("*/__init__.py")}
    modules = {path.name for path in (ROOT / "lab").glob("*.py") if path.name != "__init__.py"}
    assert drawn == packages | modules


def test_the_map_has_the_order_of_the_layers() -> None:
    contracts = tomllib.loads(text("pyproject.toml"))["tool"]["importlinter"]["contracts"]
    layers = next(item["layers"] for item in contracts if item["type"] == "layers")
    level = {room.strip(): at for at, layer in enumerate(layers) for room in layer.split("|")}
    drawn = re.findall(r"^  (\w+)(?:/|\.py) ", blocks("lab/README.md", "")[0], flags=re.M)
    assert [level[room] for room in drawn] == sorted(level[room] for room in drawn)


@pytest.fixture(scope="module")
def small_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A real run of employees, small, below a folder `runs`; its columns and keys are what must be documented."""
    settings = [word for word in SMALL if "=" in word]
    source = Source(ROOT / "scenarios" / "employees.toml", settings)
    return run(plan(source), tmp_path_factory.mktemp("small") / "runs")


def test_the_generated_parts_of_the_documents_are_up_to_date() -> None:
    generate = runpy.run_path(str(ROOT / "docs" / "generate.py"))
    for page in generate["PAGES"]:
        found = page.read_text(encoding="utf-8")
        assert found == generate["generated"](found), f"{page.name} is out of date: run `make docs`"


def test_every_column_of_a_run_s_tables_is_explained(small_run: Run) -> None:
    documented = sections("docs/run-folder.md")
    for path in small_run.path.glob("*.parquet"):
        assert list(rows(documented[path.stem])) == pl.read_parquet_schema(path).names(), path.stem


def test_every_check_is_explained() -> None:
    documented = rows(sections("docs/run-folder.md")["Verdicts"])
    assert [name for name in CHECKS if name not in documented] == []
    assert len(CHECKS) == 14, "the READMEs and the change log say fourteen checks"


def test_every_key_of_the_manifest_is_explained(small_run: Run) -> None:
    section = sections("docs/run-folder.md")["manifest.json"]
    whole, each = section.split("Each of `projections`:")
    manifest = small_run.manifest
    assert set(rows(whole)) == set(manifest)
    assert set(rows(each)) == set(manifest["projections"][0])
    for name in ("scenario", "truth", "machine", "phases"):
        assert [key for key in manifest[name] if f"`{key}`" not in rows(whole)[name][0]] == [], name


def test_a_run_is_a_page_a_manifest_and_the_documented_tables(small_run: Run) -> None:
    optional = ("deliveries", "readers")
    expected = {"manifest.json", "report.html", *(f"{name}.parquet" for name in (*ALWAYS, *optional))}
    assert {path.name for path in small_run.path.iterdir()} == expected
    assert lab.load_run(small_run.path).manifest == json.loads((small_run.path / "manifest.json").read_text())


# --- links, versions -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES)
def test_every_relative_link_leads_somewhere(page: str) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", text(page))
    here = (ROOT / page).parent
    assert [link for link in links if "://" not in link and not (here / link.partition("#")[0]).exists()] == []


def project_table() -> dict[str, Any]:
    """The table [project] of pyproject.toml."""
    found: dict[str, Any] = tomllib.loads(text("pyproject.toml"))["project"]
    return found


def direct() -> list[str]:
    """The names of all direct dependencies, extras included."""
    table = project_table()
    wanted = table["dependencies"] + [item for extra in table["optional-dependencies"].values() for item in extra]
    return [re.split(r"[<>=!~\[ ]", item)[0] for item in wanted]


def test_every_direct_dependency_and_extra_is_explained() -> None:
    page = text("README.md")
    assert [name for name in direct() if f"`{name}`" not in page] == []
    assert [name for name in project_table()["optional-dependencies"] if f"`{name}` (" not in page] == []


def test_the_lock_has_exact_versions_and_no_address() -> None:
    lines = [line for line in text("requirements.lock").splitlines() if not line.startswith("#")]
    assert [line for line in lines if not re.fullmatch(r"[a-z0-9-]+==[\w.]+( ; .+)?", line)] == []
    assert not re.search(r"://|@|--|/", "\n".join(lines))


def test_conda_s_environment_agrees_with_the_lock() -> None:
    environment = yaml.safe_load(text("environment.yml"))
    assert environment["name"] == "polyglot-lab"
    assert environment["channels"] == ["conda-forge"]
    python, pip, packages = environment["dependencies"]
    assert (python, pip) == (f"python{project_table()['requires-python']}", "pip")
    first, *pinned, last = packages["pip"]
    assert (first, last) == ("--constraint requirements.lock", "-e .")
    locked = [line for line in text("requirements.lock").splitlines() if line.split("==")[0] in direct()]
    assert sorted(pinned) == sorted(locked)
    assert {line.split("==")[0] for line in pinned} == set(direct())


def test_the_version_is_in_the_change_log() -> None:
    assert f"## {project_table()['version']}\n" in text("CHANGELOG.md")


def test_the_pictures_are_small_enough() -> None:
    assert [path.name for path in (ROOT / "docs").iterdir() if path.stat().st_size > 150_000] == []


def test_the_picture_says_what_the_seed_gives() -> None:
    made = plan(Source(ROOT / "scenarios" / "messages-only.toml"))
    commands = made.domain.workload(made.options, stream(made.scenario.seed, "workload"))
    published = Published.of(Oracle.of_commands(made.domain, commands).revisions)
    sent = deliveries(made, published)
    assert sent is not None
    lost = sent.journal.filter(pl.col("fate") == "lost").height
    # A change is shown by its own message, or by any later one about its record.
    arrived = pl.DataFrame({"record": published.record[sent.message], "last": sent.message})
    last = arrived.group_by("record").agg(pl.col("last").max())
    changes = pl.DataFrame({"record": published.record}).with_row_index("change")
    never = changes.join(last, on="record", how="left").filter(pl.col("last").fill_null(-1) < pl.col("change")).height
    page = text("README.md")
    assert page.count(f"never shows {never}") == 2
    assert f"{lost} copies were lost" in page
    assert f"the same {published.record.size:,} commands" in page
