"""What is to be graded: each file or folder is a submission, found and named without executing any of it."""

from __future__ import annotations

import ast
import importlib.util
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

from lab.base import BadInput, Problem
from lab.kit.styles import VERBS

_DECORATORS = ("on_sqlite", "on_duckdb")


@dataclass(frozen=True)
class Submission:
    """One submission: MODULE:OBJECT in a folder, or a command. `wrong` is why it can't be tried, if it can't."""

    name: str
    target: str = ""
    folder: Path | None = None
    command: str = ""
    wrong: str = ""


def submissions(place: Path, program: str | None = None, name: str | None = None) -> list[Submission]:
    """Return the submissions at a place: the file itself, or every file and folder in the folder, by name.

    `program` is a command in which `{}` stands for the submission's path. Without it they are Python files, or folders
    with one, and `name` says what the projector is called in them: OBJECT, or MODULE:OBJECT. Raises BadInput.
    """
    if program is not None and "{}" not in program:
        what = "it says nowhere which submission to start"
        raise BadInput([Problem(f"--exec {shlex.quote(program)}", what, 'for example --exec "node {}"')])
    if program is not None and name is not None:
        raise BadInput([Problem("--object", "a program has no object", "leave one of --exec and --object out")])
    if not place.exists():
        raise BadInput([Problem(str(place), "there is no such file or folder", "name a submission, or their folder")])
    entries = sorted(place.iterdir()) if place.is_dir() else [place]
    found = [_one(entry, program, name) for entry in entries if _counts(entry, program)]
    if not found:
        what = "there is no submission in it"
        way_out = "each is a file or a folder; without --exec, a Python file or a folder with one"
        raise BadInput([Problem(str(place), what, way_out)])
    return found


def _counts(entry: Path, program: str | None) -> bool:
    if entry.name.startswith((".", "__")):
        return False
    return program is not None or entry.suffix == ".py" or entry.is_dir()


def _one(entry: Path, program: str | None, name: str | None) -> Submission:
    path = entry.absolute()
    if program is not None:
        return Submission(entry.name, command=program.replace("{}", shlex.quote(str(path))))
    module, _, wanted = (name or "").rpartition(":")
    if path.is_dir():
        files = [path / f"{module}.py"] if module else sorted(path.glob("*.py"))
        if len(files) != 1 or not files[0].is_file():
            what = f"it has no {module}.py" if module else f"it has {len(files)} Python files: --object MODULE:OBJECT"
            return Submission(entry.name, wrong=what)
        path = files[0]
    if "." in path.stem:
        return Submission(entry.name, wrong="a module's name has no dot: rename it")
    if path.stem in sys.stdlib_module_names or _elsewhere(path):
        return Submission(entry.name, wrong=f"`{path.stem}` is the name of another module: rename it")
    try:
        wanted = wanted or _projector(path.read_text(encoding="utf-8"))
    except (OSError, SyntaxError, ValueError, RecursionError) as error:
        line = f" (line {error.lineno})" if isinstance(error, SyntaxError) else ""
        return Submission(entry.name, wrong=f"can't be read: {getattr(error, 'msg', None) or error}{line}")
    if not wanted:
        what = "has not exactly one class with `apply` and `rows`, or a function on a connection: --object NAME"
        return Submission(entry.name, wrong=what)
    return Submission(entry.name, f"{path.stem}:{wanted}", path.parent)


def _elsewhere(path: Path) -> bool:
    """Return whether Python finds another module of that name."""
    try:
        spec = importlib.util.find_spec(path.stem)
    except (ImportError, ValueError):
        return False
    return spec is not None and spec.origin != str(path)


def _projector(text: str) -> str:
    """Return the name of the only projector in a module's text; "" if there is none, or more than one."""
    body = ast.parse(text).body
    methods: dict[str, set[str]] = {}
    bases: set[str] = set()
    names = []
    for node in body:
        if isinstance(node, ast.ClassDef):
            methods[node.name] = {
                item.name for item in node.body if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef)
            }
            # What a class of the same module hands down.
            for base in (item.id for item in node.bases if isinstance(item, ast.Name) and item.id in methods):
                methods[node.name] |= methods[base]
                bases.add(base)
        elif isinstance(node, ast.FunctionDef):
            names += [node.name] if any(_decorates(item) for item in node.decorator_list) else []
    names += [
        name for name, own in methods.items() if "rows" in own and not own.isdisjoint(VERBS) and name not in bases
    ]
    return names[0] if len(names) == 1 else ""


def _decorates(node: ast.expr) -> bool:
    called = node.func if isinstance(node, ast.Call) else node
    return (called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")) in _DECORATORS
