"""Read a scenario: TOML text and overrides in, a frozen `Scenario` or every problem out."""

from __future__ import annotations

import copy
import hashlib
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, Field, ValidationError
from pydantic_core import ErrorDetails

from lab.base import BadInput, Problem, nearest
from lab.formatting import plural
from lab.scenario.limits import PROBLEMS_TOLD, QUERIES_MAX
from lab.scenario.tables import AdviceTable, LevelsTable, Scenario
from lab.scenario.text import assignment, cut, oversized, parse, read_text, shown
from lab.scenario.values import Ratio, ScenarioTable, Word

# The lists of tables whose rows go by name.
NAMED = ("projection", "query", "page", "claim")


class Source:
    """A scenario's text with the overrides of the command line, from which a run can be replayed.

    `text` is read from the file unless it is given (`of_text`). Raises NotReadable if there is no such file, or if the
    text is not TOML.
    """

    def __init__(
        self, path: Path, overrides: Sequence[str] = (), seed: int | None = None, text: str | None = None
    ) -> None:
        self.path = path
        self.overrides = tuple(overrides)
        self.seed = seed
        self.text = read_text(path) if text is None else text
        self.raw = parse(path, self.text)

    @classmethod
    def of_text(cls, text: str, path: Path | str) -> Source:
        """Take a scenario from a text. `path` names it in messages and in the manifest; no such file needs to exist.

        Paths of `[[domain.entity]]` are relative to the folder of `path`.
        """
        return cls(Path(path), text=text)

    @property
    def sha256(self) -> str:
        """Return the SHA-256 of the text."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    @staticmethod
    def sets_repeat(item: str) -> bool:
        """Return whether an override sets the number of repetitions."""
        return item.partition("=")[0].strip() == "repeat"

    def validate(self) -> tuple[Scenario | None, list[Problem]]:
        """Return the scenario and every problem of its keys and values.

        If there are problems, the scenario is what is left without the wrong keys, so that `lab.wiring` can report its
        problems too; None if nothing valid is left. Raises BadInput for more mistakes than are reported.
        """
        raw = dict(self.raw)
        problems = _overridden(raw, self.overrides)
        if self.seed is not None:
            raw["seed"] = self.seed
        if large := oversized(raw, self.path.name):
            # Such numbers can't even be shown.
            return None, problems + large
        problems += _twice(self.path.name, raw)
        try:
            return Scenario.model_validate(raw), problems
        except ValidationError as error:
            errors = error.errors(include_url=False)
            # Putting one into words takes a while, and a file may have a hundred thousand.
            told = _causes(errors)
            problems += [_problem(self.path.name, raw, item) for item in told[:PROBLEMS_TOLD]]
            if len(told) > PROBLEMS_TOLD:
                raise refusal(problems, len(told) - PROBLEMS_TOLD) from None
            return _rest(raw, told), problems


class AdviceQuestion(ScenarioTable):
    """What a finished run can be asked: levels, weights of queries, and which of its figures to take."""

    levels: LevelsTable = Field(default_factory=LevelsTable)
    weights: dict[Word, Ratio] = Field(default_factory=dict, max_length=QUERIES_MAX)
    advice: AdviceTable = AdviceTable()


def question(raw: Mapping[str, Any], items: Sequence[str]) -> AdviceQuestion:
    """Return what a finished run is asked (`raw` has the tables of its scenario) after overrides of the command line.

    Nothing else of a finished run can be set. Raises BadInput with every problem.
    """
    tables = dict(raw)
    problems, chosen = [], []
    for item in items:
        if item.partition(".")[0].strip() in AdviceQuestion.model_fields:
            chosen.append(item)
        else:
            what = "the run is finished: only levels, weights and advice can be set"
            problems.append(Problem(f"--set {cut(item)}", what, "for example --set levels.lag_p99=0.5"))
    problems += _overridden(tables, chosen)
    if large := oversized(tables, "--set"):
        refuse([*problems, *large])
    try:
        asked = AdviceQuestion.model_validate(tables)
    except ValidationError as error:
        problems += [_problem("--set", tables, item) for item in _causes(error.errors())]
    refuse(problems)
    return asked


def _overridden(raw: dict[str, Any], items: Sequence[str]) -> list[Problem]:
    """Set every `key=value` in the raw tables; return what is wrong with them."""
    problems: list[Problem] = []
    for item in items:
        read = assignment(item)
        if isinstance(read, Problem):
            problems.append(read)
            continue
        problem = _override(raw, f"--set {cut(item)}", *read)
        problems += [problem] if problem else []
    return problems


def _twice(file: str, raw: dict[str, Any]) -> list[Problem]:
    """Refuse two projections, queries, pages or claims of one name."""
    problems = []
    for table in NAMED:
        rows = raw.get(table)
        names = [row.get("name") for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
        # A store has a folder of its own, and there are file systems on which large and small letters are the same.
        often = Counter(name.lower() for name in names if isinstance(name, str))
        told = {name for name in names if isinstance(name, str) and often[name.lower()] > 1}
        problems += [
            Problem(f"{file}: {table}.{cut(name)}", f"two of [[{table}]] are called `{cut(name)}`", "rename one")
            for name in sorted(told)
        ]
    return problems


def _override(raw: dict[str, Any], where: str, keys: list[str], value: Any) -> Problem | None:
    """Set a key in the raw tables; those of `NAMED` go by name: `projection.NAME.key`."""
    keys = list(keys)
    table: Any = raw
    while len(keys) > 1:
        key = keys.pop(0)
        if key in NAMED and isinstance(table.get(key), list):
            wanted = keys.pop(0)
            rows = table[key] = [dict(row) if isinstance(row, dict) else row for row in table[key]]
            # A name that is none, and may be a number too long to be shown, is refused later.
            names = {row["name"]: row for row in rows if isinstance(row, dict) and isinstance(row.get("name"), str)}
            if wanted not in names:
                return Problem(where, f"no {key} is called `{wanted}`", nearest(wanted, names))
            if not keys:
                return Problem(where, f"names a {key}, not a key of it", f"{key}.{wanted}.KEY=value")
            table = names[wanted]
            continue
        inner = table.get(key, {})
        if not isinstance(inner, dict):
            return Problem(where, f"`{key}` is not a table")
        table[key] = dict(inner)
        table = table[key]
    table[keys[0]] = value
    return None


def _model_at(location: Sequence[int | str]) -> Mapping[str, Any]:
    """Return the fields of the table at a location, from which the nearest valid key is suggested."""
    model: Any = Scenario
    for part in location:
        if isinstance(part, int):
            continue
        fields = {(field.alias or name): field for name, field in model.model_fields.items()}
        if part not in fields:
            return fields
        model = _table_in(fields[part].annotation) or model
    return {(field.alias or name): field for name, field in model.model_fields.items()}


def _table_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for inner in get_args(annotation) if (found := _table_in(inner))), None)


def _where(raw: Any, location: Sequence[int | str]) -> str:
    """Return a location in the words of the file: `projection.directory.batch` for ('projection', 0, 'batch')."""
    words: list[str] = []
    for part in location:
        raw = _inner(raw, part)
        if isinstance(part, int):
            name = raw.get("name") if isinstance(raw, dict) else None
            words.append(cut(str(name)) if name else f"#{part + 1}")
        else:
            words.append(cut(part))
    return ".".join(words)


def _inner(raw: Any, part: int | str) -> Any:
    """Return the value at a key or index; None if there is none."""
    if isinstance(raw, dict):
        return raw.get(part)
    return raw[part] if isinstance(raw, list) and isinstance(part, int) and part < len(raw) else None


def _causes(errors: Sequence[ErrorDetails]) -> list[ErrorDetails]:
    """Return the errors that follow from no other: a list is only too short since its wrong items don't count."""
    within = {error["loc"][:length] for error in errors for length in range(len(error["loc"]))}
    return [error for error in errors if error["type"] != "too_short" or error["loc"] not in within]


# What a value must be, in the words of the file; pydantic would name its classes.
_TYPES = {"model_type": "must be a table", "dict_type": "must be a table", "tuple_type": "must be a list"}


def _problem(file: str, raw: dict[str, Any], error: ErrorDetails) -> Problem:
    location = error["loc"]
    where = f"{file}: {_where(raw, location) or 'scenario'}"
    value = error["input"]
    match error["type"]:
        case "extra_forbidden":
            return Problem(where, "unknown key", nearest(cut(str(location[-1])), _model_at(location[:-1])))
        case "missing":
            way_out = "a seed has no default: add `seed = 1087`" if location == ("seed",) else "add it"
            return Problem(where, "required, and missing", way_out)
        case "literal_error":
            valid = re.findall(r"'([^']+)'|\b(\d+)\b", error["ctx"]["expected"])
            return Problem(
                where, f"`{cut(str(value))}` is not valid", nearest(cut(str(value)), [a or b for a, b in valid])
            )
    what = _TYPES.get(error["type"]) or error["msg"].removeprefix("Value error, ")
    what = what[0].lower() + what[1:]
    return Problem(where, what if isinstance(value, dict | list) else f"{what}, not {shown(value)}")


def _rest(raw: dict[str, Any], errors: Sequence[ErrorDetails]) -> Scenario | None:
    """Return the scenario without its wrong keys, which only serves to find further mistakes; None if that fails."""
    rest = copy.deepcopy(raw)
    for error in errors:
        table: Any = rest
        for part in error["loc"][:-1]:
            table = _inner(table, part)
        if isinstance(table, dict) and error["loc"]:
            table.pop(error["loc"][-1], None)
    rest.setdefault("seed", 0)
    rest.setdefault("schema", 1)
    rest.setdefault("name", "unnamed")
    try:
        return Scenario.model_validate(rest)
    except ValidationError:
        return None


def refusal(problems: Sequence[Problem], more: int = 0) -> BadInput:
    """Return the error with these problems, sorted, without repetition, and at most PROBLEMS_TOLD of them.

    The rest is counted, together with `more` that were not put into words.
    """
    found = sorted(set(problems))
    told, more = found[:PROBLEMS_TOLD], more + max(0, len(found) - PROBLEMS_TOLD)
    if more:
        told.append(Problem(found[0].where.partition(":")[0], f"{plural(more, 'mistake')} more", "mend these first"))
    return BadInput(told)


def refuse(problems: Sequence[Problem]) -> None:
    """Raise BadInput with the problems, if there are any."""
    if problems:
        raise refusal(problems)
