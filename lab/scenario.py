"""The file a person writes, validated: TOML in, a frozen `Scenario` out, or every problem at once.

This module knows the words' shapes and ranges. Whether a word names something that exists (a store, a
domain, a column) is decided in `lab.wiring`, which is the only place that turns words into objects.
"""

from __future__ import annotations

import copy
import hashlib
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from lab.base import BadInput, NotReadable, Problem, nearest

Probability = Annotated[float, Field(ge=0.0, le=1.0)]
Seconds = Annotated[float, Field(ge=0.0, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0.0, allow_inf_nan=False)]
NAME = r"^[A-Za-z][A-Za-z0-9_-]{0,63}$"
Name = Annotated[str, Field(pattern=NAME)]


class Table(BaseModel):
    """A table of the scenario: unknown keys and loose types are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class DomainTable(Table):
    """Which business, and how much of it."""

    name: str
    records: int | None = Field(None, ge=1)
    days: int | None = Field(None, ge=1)
    time_scale: Positive | None = None


class WorkloadTable(Table):
    """The commands: how many, how fast, on which records, and how many of them are bad."""

    commands: int = Field(0, ge=0)
    rate: Positive = 1_000.0
    arrivals: Literal["poisson", "uniform", "bursty"] = "poisson"
    skew: float = Field(0.0, ge=0.0, le=5.0)
    deletes: Probability = 0.0
    invalid: Probability = 0.0


class TruthTable(Table):
    """The source of truth: its write model, its engine, and how durable a commit is."""

    model: Literal["snapshot", "history", "events"] = "snapshot"
    engine: str = "sqlite"
    durability: Literal["full", "normal"] = "normal"


class CatchUpTable(Table):
    """Synchronous publishing: how often a projection polls, and how much it takes at once."""

    every: Positive = 1.0
    page: int = Field(10_000, ge=1, le=1_000_000)


class Delay(Table):
    """A delay's distribution; `mean` in seconds. `sigma` is the lognormal's, of the logarithm."""

    kind: Literal["constant", "exponential", "lognormal"] = "constant"
    mean: Seconds = 0.0
    sigma: float = Field(1.0, ge=0.0, le=5.0)


class Reorder(Table):
    """A share of the messages takes a detour, and later ones overtake them."""

    share: Probability = 0.0
    extra: Delay = Delay()


class Outage(Table):
    """The channel is cut off: messages wait until it is back, or are lost."""

    at: Seconds
    lasts: Seconds
    loses: bool = False


class ChannelTable(Table):
    """Asynchronous publishing over messages. Every fault is zero by default."""

    delay: Delay = Delay()
    duplicate: Probability = 0.0
    lose: Probability = 0.0
    reorder: Reorder = Reorder()
    ordered_by_key: bool = False
    outages: tuple[Outage, ...] = Field((), strict=False)
    capacity: int = Field(1_000_000, ge=1)


class ServiceModel(Table):
    """A modelled store: a batch of n rows takes `per_batch + per_row * n` seconds."""

    per_batch: Seconds = 0.000_5
    per_row: Seconds = 0.000_01


class TimeTable(Table):
    """Where a store's own working time comes from: the real engine, or a model."""

    service: Literal["measured", "modelled"] = "measured"
    model: ServiceModel = ServiceModel()


class ProjectionTable(Table):
    """One read model: what it keeps, where, fed how, and what its verdict should be."""

    name: Name
    store: str
    keeps: Literal["records", "revisions", "totals"] | None = None
    totals: str | None = None
    entities: tuple[str, ...] | None = Field(None, strict=False)
    queries: tuple[str, ...] | None = Field(None, strict=False)
    guard: Literal["none", "dedupe", "revision", "ordered"] = "revision"
    subscribe: Literal["catch-up", "channel", "both"] = "both"
    batch: int = Field(1_000, ge=1, le=1_000_000)
    linger: Seconds = 0.0
    every: Positive | None = None
    model: ServiceModel | None = None
    hold: int = Field(1_000_000, ge=1)
    expect: Literal["pass", "fail", "unknown"] = "pass"


class QueryTable(Table):
    """One question, declared once; each store answers it in its own way."""

    name: Name
    kind: str
    entity: str
    where: dict[str, Any] = Field(default_factory=dict)
    order_by: str | None = None
    descending: bool = False
    limit: int | None = Field(None, ge=1)
    count: int = Field(20, ge=1, le=1_000)
    group_by: tuple[str, ...] = Field((), strict=False)
    sum: tuple[str, ...] = Field((), strict=False)
    on: str | None = None
    to: str | None = None
    take: tuple[str, ...] = Field((), strict=False)
    weight: Positive = 1.0


class MeasureTable(Table):
    """How hard to measure: query samples, rounds before they count, and a bound on each query's time."""

    samples: int = Field(50, ge=1)
    warm_up: int = Field(3, ge=0)
    budget: Positive = 1.0
    rebuild: bool = True


class LevelsTable(Table):
    """Service levels, for advice; seconds."""

    lag_p99: Positive | None = None
    rebuild: Positive | None = None


class Scenario(Table):
    """One experiment. `seed` has no default: a run that can't be replayed is no evidence."""

    schema_: Literal[1] = Field(alias="schema")
    name: Name
    seed: int = Field(ge=0, lt=2**63)
    domain: DomainTable
    workload: WorkloadTable = WorkloadTable()
    truth: TruthTable = TruthTable()
    catch_up: CatchUpTable = CatchUpTable()
    channel: ChannelTable | None = None
    time: TimeTable = TimeTable()
    projection: tuple[ProjectionTable, ...] = Field(strict=False, min_length=1)
    query: tuple[QueryTable, ...] = Field((), strict=False)
    measure: MeasureTable = MeasureTable()
    levels: LevelsTable = LevelsTable()


class Source:
    """A scenario's text, with what was set on the command line: kept so that a run can be replayed."""

    def __init__(self, path: Path, overrides: Sequence[str] = (), seed: int | None = None) -> None:
        self.path = path
        self.overrides = tuple(overrides)
        self.seed = seed
        self.text = _read_text(path)
        self.raw = _parse(path, self.text)

    @property
    def sha256(self) -> str:
        """The hash of the file's text."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    def validate(self) -> tuple[Scenario | None, list[Problem]]:
        """The scenario, and every problem of its words.

        With problems, the scenario is what is left when the wrong keys are taken away, so that the rest can
        be looked at too and all mistakes are told at once; None when nothing sensible is left.
        """
        raw = dict(self.raw)
        problems = [problem for item in self.overrides if (problem := _override(raw, item))]
        if self.seed is not None:
            raw["seed"] = self.seed
        problems += _twice(self.path.name, raw)
        try:
            return Scenario.model_validate(raw), problems
        except ValidationError as error:
            problems += [_problem(self.path.name, raw, item) for item in error.errors()]
            return _rest(raw, error.errors()), problems


def _twice(file: str, raw: dict[str, Any]) -> list[Problem]:
    """Two of a kind with one name: neither could be spoken of."""
    problems = []
    for table in ("projection", "query"):
        rows = raw.get(table)
        names = [str(row.get("name")) for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
        for name in sorted({name for name in names if names.count(name) > 1 and name != "None"}):
            problems.append(Problem(f"{file}: {table}.{name}", f"two of [[{table}]] are called `{name}`", "rename one"))
    return problems


def _read_text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8")
    except FileNotFoundError:
        folder = path.parent if path.parent.is_dir() else Path("scenarios")
        names = [str(file) for file in folder.glob("*.toml")] if folder.is_dir() else []
        raise NotReadable(str(path), "no such file", nearest(str(path), names) if names else "") from None
    except IsADirectoryError:
        raise NotReadable(str(path), "a folder, not a scenario", "name a .toml file in it") from None
    except UnicodeDecodeError:
        raise NotReadable(str(path), "not text (a binary file?)", "a scenario is a TOML file in UTF-8") from None
    except OSError as error:
        raise NotReadable(str(path), error.strerror or str(error)) from None


def _parse(path: Path, text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise NotReadable(str(path), f"not TOML: {error}", "see scenarios/README.md for an example") from None


def _override(raw: dict[str, Any], item: str) -> Problem | None:
    """Set `key=value` in the raw tables; `projection.NAME.key` and `query.NAME.key` go by name."""
    path, equals, text = item.partition("=")
    where = f"--set {item}"
    if not equals or not path.strip():
        return Problem(where, "not of the form key=value", "for example --set truth.model=events")
    keys = path.strip().split(".")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    table: Any = raw
    while len(keys) > 1:
        key = keys.pop(0)
        if key in ("projection", "query") and isinstance(table.get(key), list):
            wanted = keys.pop(0)
            rows = table[key] = [dict(row) if isinstance(row, dict) else row for row in table[key]]
            names = {str(row.get("name")): row for row in rows if isinstance(row, dict)}
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
    """The fields of the table in which a key stands, so that the nearest valid key can be named."""
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
    """`projection.directory.batch` for ('projection', 0, 'batch'): the words of the file, not numbers."""
    words: list[str] = []
    for part in location:
        raw = _inner(raw, part)
        if isinstance(part, int):
            name = raw.get("name") if isinstance(raw, dict) else None
            words.append(str(name) if name else f"#{part + 1}")
        else:
            words.append(part)
    return ".".join(words)


def _inner(raw: Any, part: int | str) -> Any:
    """What stands at this key or number; None if nothing does."""
    if isinstance(raw, dict):
        return raw.get(part)
    return raw[part] if isinstance(raw, list) and isinstance(part, int) and part < len(raw) else None


def _problem(file: str, raw: dict[str, Any], error: ErrorDetails) -> Problem:
    location = error["loc"]
    where = f"{file}: {_where(raw, location) or 'scenario'}"
    value = error["input"]
    match error["type"]:
        case "extra_forbidden":
            return Problem(where, "unknown key", nearest(str(location[-1]), _model_at(location[:-1])))
        case "missing":
            way_out = "a seed has no default: add `seed = 1087`" if location == ("seed",) else "add it"
            return Problem(where, "required, and missing", way_out)
        case "literal_error":
            valid = re.findall(r"'([^']+)'|\b(\d+)\b", error["ctx"]["expected"])
            return Problem(where, f"`{value}` is not valid", nearest(str(value), [a or b for a, b in valid]))
    what = error["msg"].removeprefix("Value error, ")
    what = what[0].lower() + what[1:]
    return Problem(where, what if isinstance(value, dict | list) else f"{what}, not {value!r}")


def _rest(raw: dict[str, Any], errors: Sequence[ErrorDetails]) -> Scenario | None:
    """The scenario without its wrong keys: good for nothing but finding the other mistakes."""
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


def refuse(problems: Sequence[Problem]) -> None:
    """Raise BadInput when there are problems."""
    if problems:
        raise BadInput(sorted(set(problems)))
