"""Parse a scenario's text, and what `--set` says, within limits of size and depth."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from reprlib import Repr
from typing import Any

from lab.base import INT_MAX, INT_MIN, NotReadable, Problem, nearest
from lab.formatting import printable
from lab.scenario.limits import FILE_BYTES, KEY_PARTS, NESTING

WAY_OUT = "see scenarios/README.md for an example"
# Strings and comments, which can have any dots in them. One that is never closed matches too: if it didn't, another try
# would begin at each of its quotes, and a file of many would take hours. What is wrong with it the parser says.
_QUOTED = re.compile(
    r'"""(?:[^"\\]|\\.|"(?!""))*+(?:""")?'
    r"|'''(?:[^']|'(?!''))*+(?:''')?"
    r'|"(?:[^"\\\n]|\\.)*+"?|\'[^\'\n]*+\'?|#[^\n]*+',
    re.DOTALL,
)
_LONG_KEY = re.compile(rf"(?:\.[\w-]*+){{{KEY_PARTS}}}")
_BRIEF = Repr()
_BRIEF.maxstring = _BRIEF.maxother = 100


class TooDeep(ValueError):
    """A text that would take the parser memory without bounds."""


def shown(value: Any) -> str:
    """Return a value as messages show it, cut if it is long."""
    return _BRIEF.repr(value)


def cut(text: str, most: int = 200) -> str:
    """Return a text as messages show it: in one line, and cut if it is long."""
    return printable(text if len(text) <= most else f"{text[:most]}...")


def read_text(path: Path) -> str:
    """Return the file's text. Raises NotReadable, also if it is too large to be a scenario."""
    try:
        if path.exists() and not (path.is_file() or path.is_dir()):
            # A device or a pipe may have no end.
            raise NotReadable(str(path), "neither a file nor a folder", "a scenario is a TOML file")
        with path.open("rb") as file:
            found = file.read(FILE_BYTES + 1)
        if len(found) > FILE_BYTES:
            raise NotReadable(str(path), f"larger than {FILE_BYTES:,} bytes", "a scenario is a few pages of TOML")
        return found.decode("utf-8")
    except FileNotFoundError:
        folder = path.parent if path.parent.is_dir() else Path("scenarios")
        names = [str(file) for file in folder.glob("*.toml")] if folder.is_dir() else []
        raise NotReadable(str(path), "no such file", nearest(str(path), names) if names else "") from None
    except IsADirectoryError:
        raise NotReadable(str(path), "a folder, not a scenario", "name a .toml file in it") from None
    except UnicodeDecodeError:
        raise NotReadable(str(path), "not text (a binary file?)", "a scenario is a TOML file in UTF-8") from None
    except (OSError, ValueError) as error:
        raise NotReadable(shown(str(path)), getattr(error, "strerror", None) or str(error)) from None


def parse(path: Path, text: str) -> dict[str, Any]:
    """Return the tables of a text. Raises NotReadable for what is not TOML, or nested too deeply."""
    if len(text) > FILE_BYTES:
        raise NotReadable(str(path), f"larger than {FILE_BYTES:,} characters", "a scenario is a few pages of TOML")
    try:
        found = loads(text)
    except ValueError as error:
        raise NotReadable(str(path), f"not TOML: {cut(str(error))}", WAY_OUT) from None
    if (deep := _deepest(found)) is not None:
        raise NotReadable(str(path), f"tables or lists within each other, more than {NESTING} deep: {deep}", WAY_OUT)
    return found


def loads(text: str) -> dict[str, Any]:
    """Parse TOML. Raises ValueError for what is none, and TooDeep for a key or for nesting beyond the limits."""
    if _LONG_KEY.search(_QUOTED.sub("q", text).replace(" ", "").replace("\t", "")):
        raise TooDeep(f"a key of more than {KEY_PARTS} parts")
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise TooDeep(f"tables or lists within each other, more than {NESTING} deep") from None


def _deepest(raw: dict[str, Any]) -> str | None:
    """Return the top-level key below which tables and lists are nested too deeply; None if there is none."""
    level: list[tuple[str, Any]] = list(raw.items())
    for _ in range(NESTING):
        inner: list[tuple[str, Any]] = []
        for name, value in level:
            values = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
            inner += [(name, one) for one in values]
        level = inner
        if not level:
            return None
    return cut(level[0][0])


def oversized(raw: Any, file: str) -> list[Problem]:
    """Refuse whole numbers of more than 64 bits, wherever they are."""
    problems: list[Problem] = []
    todo: list[tuple[str, Any]] = [("", raw)]
    while todo:
        key, value = todo.pop()
        if isinstance(value, dict):
            todo += [(f"{key}.{cut(name, 60)}" if key else cut(name, 60), inner) for name, inner in value.items()]
        elif isinstance(value, list):
            todo += [(key, inner) for inner in value]
        elif isinstance(value, int) and not INT_MIN <= value <= INT_MAX:
            problems.append(Problem(f"{file}: {key}", "a whole number of more than 64 bits", f"at most {INT_MAX:,}"))
    return problems


def assignment(item: str) -> tuple[list[str], Any] | Problem:
    """Return the parts of the key and the value of one `--set`; a value that isn't TOML is taken as text."""
    path, equals, text = item.partition("=")
    where = f"--set {cut(item)}"
    if not equals or not path.strip():
        return Problem(where, "not of the form key=value", "for example --set truth.model=events")
    keys = _parts(path)
    if keys is None or not all(keys) or len(keys) > KEY_PARTS:
        return Problem(where, "not a key", "parts with a dot between each two: channel.delay.mean")
    if len(text) > FILE_BYTES:
        return Problem(where, f"longer than {FILE_BYTES:,} characters")
    try:
        found = loads(f"value = {text}")
    except TooDeep as error:
        return Problem(where, str(error))
    except ValueError:
        return keys, text
    if len(found) > 1 or _commented(text):
        return Problem(where, "something after the value, which would be ignored", "one --set for each key")
    if _deepest(found) is not None:
        return Problem(where, f"tables or lists within each other, more than {NESTING} deep")
    return keys, found["value"]


def _parts(path: str) -> list[str] | None:
    if not {'"', "'"} & set(path):
        return [part.strip() for part in path.split(".")]
    try:
        table: Any = loads(f"{path} = 0")
    except ValueError:
        return None
    keys: list[str] = []
    while isinstance(table, dict):
        if len(table) != 1:
            return None
        ((key, table),) = table.items()
        keys.append(key)
    return keys


def _commented(text: str) -> bool:
    """True if the last line ends in a comment: only there can more words follow."""
    if "#" not in text:
        return False
    try:
        tomllib.loads(f"value = {text} more")
    except ValueError:
        return False
    return True
