"""The shape of the package: no name twice, nothing too long, and no circle of imports."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import grimp
import pytest
from documents import ROOT

MODULE_LINES, FUNCTION_LINES = 300, 60
MODULES = sorted((ROOT / "lab").rglob("*.py"))


def nodes(module: Path) -> Iterator[ast.AST]:
    yield from ast.walk(ast.parse(module.read_text(encoding="utf-8")))


def homonyms(modules: list[Path]) -> dict[str, list[str]]:
    """The names of classes that stand more than once, and where."""
    found = defaultdict(list)
    for module in modules:
        for node in nodes(module):
            if isinstance(node, ast.ClassDef):
                found[node.name].append(f"{module}:{node.lineno}")
    return {name: places for name, places in found.items() if len(places) > 1}


def too_long(modules: list[Path]) -> list[str]:
    """The modules and functions, decorators left out, that are longer than they may be."""
    found = []
    for module in modules:
        lines = len(module.read_text(encoding="utf-8").splitlines())
        found += [f"{module}: {lines} lines"] if lines > MODULE_LINES else []
        for node in nodes(module):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or 0) - node.lineno + 1
                found += [f"{module}: {node.name}: {lines} lines"] if lines > FUNCTION_LINES else []
    return found


def circle(imports: dict[str, set[str]]) -> list[str]:
    """The modules of a circle of imports, the first one again at the end; empty if there is none."""
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        found: list[str] = error.args[1]
        return found
    return []


def own_quantiles(modules: list[Path]) -> list[str]:
    """Where a quantile is computed by another definition than the lab's: by a method, or by a function of a library."""
    functions = {"median", "nanmedian", "nanpercentile", "nanquantile", "percentile", "quantile", "quantiles"}
    functions |= {"median_grouped", "median_high", "median_low", "mquantiles", "scoreatpercentile"}
    found = []
    for module in modules:
        for node in nodes(module):
            if isinstance(node, ast.Attribute) and node.attr in functions:
                found.append(f"{module}:{node.lineno}: .{node.attr}")
            if isinstance(node, ast.ImportFrom) and node.module and not node.module.startswith("lab.statistics"):
                taken = functions & {alias.name for alias in node.names}
                found += [f"{module}:{node.lineno}: {name}" for name in sorted(taken)]
    return found


def test_no_class_name_stands_twice() -> None:
    assert homonyms(MODULES) == {}


def test_no_module_and_no_function_is_too_long() -> None:
    assert too_long(MODULES) == []


def test_every_quantile_is_the_order_statistic_of_lab_statistics() -> None:
    assert own_quantiles(MODULES + sorted((ROOT / "benchmarks").rglob("*.py"))) == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    """Imports within functions count as well; those for types alone don't: they are never carried out."""
    graph = grimp.build_graph("lab", exclude_type_checking_imports=True, cache_dir=None)
    names = {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in MODULES}
    # A script that has made a data set; no package holds it, and nothing imports it.
    assert names - graph.modules == {"lab.domain.data.flights.make"}
    imports = {module: set(graph.find_modules_directly_imported_by(module)) for module in graph.modules}
    assert circle(imports) == []


def test_what_is_wrong_is_seen(tmp_path: Path) -> None:
    one, other = tmp_path / "one.py", tmp_path / "other.py"
    one.write_text("class Live:\n    pass\n" + "\n" * MODULE_LINES)
    other.write_text("def f():\n    class Live:\n        pass\n" + "    x = 1\n" * FUNCTION_LINES)
    assert list(homonyms([one, other])) == ["Live"]
    assert [line.rpartition(":")[0].rpartition("/")[2] for line in too_long([one, other])] == ["one.py", "other.py: f"]


@pytest.mark.parametrize(("imports", "length"), [({"a": {"b"}, "b": {"a"}}, 3), ({"a": {"b"}, "b": set()}, 0)])
def test_a_circle_is_seen(imports: dict[str, set[str]], length: int) -> None:
    assert len(circle(imports)) == length


def test_a_quantile_of_another_definition_is_seen(tmp_path: Path) -> None:
    one = tmp_path / "one.py"
    one.write_text(
        "import numpy as np\nfrom statistics import median\nfrom lab.statistics.quantiles import quantile\n"
        "np.percentile(x, 99)\nframe.select(pl.col('x').quantile(0.5))\nquantile(x, 0.5)\n"
    )
    found = [line.removeprefix(f"{one}:") for line in own_quantiles([one])]
    assert found == ["2: median", "4: .percentile", "5: .quantile"]
