"""The documentation can't rot: keys, commands, stores, tables, rooms and versions are held to the code."""

from __future__ import annotations

import json
import re
import runpy
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import polars as pl
import pytest
import yaml
from documents import PAGES, ROOT, blocks, rows, sections, text
from pydantic import BaseModel
from pydantic.fields import FieldInfo

import lab
from lab.base import stream
from lab.experiment import run
from lab.experiment.strands import Messages
from lab.feed.published import Published
from lab.kit.examples import mended
from lab.queries.kinds import KINDS
from lab.queries.model import OPERATORS
from lab.runs import Run
from lab.scenario import Delay, DelayPart, FaultsTable, Scenario, ServiceModel, Source
from lab.stores import STORES
from lab.tables import ALWAYS
from lab.verdict.oracle import Oracle
from lab.wiring import plan

SCENARIOS = sorted((ROOT / "scenarios").glob("*.toml"))
SMALL = ("workload.commands=400", "domain.records=40", "measure.samples=3")


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
HEADINGS = [
    (heading, model)
    for heading, model in tables()
    if model not in (Delay, DelayPart) or heading.startswith("channel.delay")
]


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


def test_what_is_said_to_be_expected_to_fail_is() -> None:
    listed = re.findall(r"^\| \[(\S+\.toml)\].*\| (.+) \|$", text("scenarios/README.md"), flags=re.M)
    assert {file for file, _ in listed} == {path.name for path in SCENARIOS}
    for file, said in listed:
        projections = plan(Source(ROOT / "scenarios" / file)).scenario.projection
        failing = {projection.name for projection in projections if projection.expect == "fail"}
        assert failing == set(re.findall(r"`([^`]+)`", said)), file


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")])
def test_the_python_of_the_documents_works(page: str, small_run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(small_run.path.parent.parent.parent)
    names: dict[str, Any] = {"MyProjector": mended.handle}
    for block in blocks(page, "python"):
        exec(block, names)
    if "test_my_projector" in names:
        names["test_my_projector"]()


# --- stores, rooms, the run folder -----------------------------------------------------------------------------------


def test_every_store_is_named() -> None:
    for page in ("lab/README.md", "scenarios/README.md"):
        assert [name for name in STORES if f"`{name}`" not in text(page)] == []


def test_every_store_says_how_it_is_tuned() -> None:
    said = re.findall(r"^## `([\w.]+)`$", text("docs/tuning.md"), flags=re.M)
    assert sorted(said) == sorted(STORES)


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
    source = Source(ROOT / "scenarios" / "employees.toml", SMALL)
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


def test_every_key_of_the_manifest_is_explained(small_run: Run) -> None:
    section = sections("docs/run-folder.md")["manifest.json"]
    whole, each = section.split("Each of `projections`:")
    manifest = small_run.manifest
    # Only a run of several repetitions has them.
    assert set(rows(whole)) == set(manifest) | {"repetitions"}
    assert set(rows(each)) == set(manifest["projections"][0]) | {"repetition", "unexpected"}
    for name in ("scenario", "truth", "machine", "phases"):
        assert [key for key in manifest[name] if f"`{key}`" not in rows(whole)[name][0]] == [], name


def test_a_run_is_a_page_a_manifest_and_the_documented_tables(small_run: Run) -> None:
    optional = (
        "beside",
        "claims",
        "deliveries",
        "lag_parts",
        "lag_parts_summary",
        "midrun",
        "query_samples",
        "readers",
    )
    optional += ("recovery", "utilisation", "what_if", "work")
    expected = {"manifest.json", "report.html", *(f"{name}.parquet" for name in (*ALWAYS, *optional))}
    assert {path.name for path in small_run.path.iterdir()} == expected
    assert lab.load_run(small_run.path).manifest == json.loads((small_run.path / "manifest.json").read_text())


# --- packages, versions --------------------------------------------------------------------------------------------


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
    page = text("docs/installing.md")
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


def test_the_picture_says_what_the_seed_gives() -> None:
    made = plan(Source(ROOT / "scenarios" / "messages-only.toml"))
    commands = made.domain.workload(made.options, stream(made.scenario.seed, "workload"))
    published = Published.of(Oracle.of_commands(made.domain, commands).revisions)
    sent = Messages(made, published).to("messages-only")
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


def test_who_cites_the_lab_cites_this_version() -> None:
    citation = yaml.safe_load(text("CITATION.cff"))
    assert citation["version"] == project_table()["version"]
    assert citation["license"] == project_table()["license"]


def test_the_forge_runs_targets_that_there_are() -> None:
    (job,) = yaml.safe_load(text(".github/workflows/check.yml"))["jobs"].values()
    run = [step["run"] for step in job["steps"] if "run" in step]
    assert run == ["make run", "make check", "make test"]
    targets = re.findall(r"^([a-z]+):", text("Makefile"), flags=re.M)
    assert {words.split()[1] for words in run} <= set(targets)
