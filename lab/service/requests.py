"""What requests may say: a model for each query string and each body, which checks them and describes them.

The models are the one declaration: `parsed` validates by them, and `lab.service.openapi` makes the document of them.
Those of a query and of a command are made from the plan.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model
from pydantic_core import CoreSchema, core_schema
from starlette.requests import Request

from lab.base import INT_MAX, Entity, nearest
from lab.queries.kinds import KINDS
from lab.queries.model import Parameter, Query
from lab.service.problems import Refused
from lab.service.values import checked, schema_of, value

ROWS_MAX, ROWS = 10_000, 1_000
# Seconds that a reader may wait.
WAIT_MAX, WAIT = 60, 5.0
# Commands of a workload are shared out among so many senders at most, by their records' keys.
PARTS_MAX = 256
# Events that a client of `/live` may ask for.
EVENTS_MAX = 100_000
# Commands a second that the small load generator sends at most.
RATE_MAX = 1_000.0
# Characters of an Idempotency-Key at most.
KEY_MAX = 200


@dataclass(frozen=True)
class FromText:
    """A parameter of a query string: a kind, bounds, and how many times it may be there. Reads a list of texts."""

    kind: str
    least: int | None = None
    most: int | None = None
    key: bool = False
    times: int = 1

    def read(self, texts: list[str]) -> Any:
        """The value; a list of them if it may be there several times. Raises ValueError."""
        if len(texts) > self.times:
            raise ValueError(self.amount(len(texts)))
        found = [self._one(text) for text in texts]
        return found if self.times > 1 else found[0]

    def amount(self, count: int) -> str:
        """What is wrong with its being there so many times."""
        if count and self.least is not None:
            return f"is there {count} times"
        return f"is needed {'once' if self.times == 1 else f'1 to {self.times} times'}, and is there {count} times"

    def _one(self, text: str) -> Any:
        found = value(text, self.kind, self.key)
        if self.least is not None and self.most is not None and not self.least <= found <= self.most:
            unit = " seconds" if self.kind == "float" else ""
            raise ValueError(f"is {self.least} to {self.most}{unit}")
        return found

    def __get_pydantic_core_schema__(self, *_: object) -> CoreSchema:
        """Validate by `read`, whatever type is annotated."""
        return core_schema.no_info_plain_validator_function(self.read)

    def __get_pydantic_json_schema__(self, *_: object) -> dict[str, Any]:
        """Describe one value, or the list of them."""
        found = schema_of(self.kind, self.key)
        if self.least is not None:
            found |= {"minimum": self.least, "maximum": self.most}
        return {"type": "array", "items": found, "minItems": 1} if self.times > 1 else found


@dataclass(frozen=True)
class FromJson:
    """A member of a JSON body: a value of a kind, or null where it may be left out."""

    kind: str
    key: bool = False
    nullable: bool = False

    def read(self, found: Any) -> Any:
        """The same value. Raises ValueError with what is wrong."""
        return None if found is None and self.nullable else checked(found, self.kind, self.key)

    def __get_pydantic_core_schema__(self, *_: object) -> CoreSchema:
        """Validate by `read`, whatever type is annotated."""
        return core_schema.no_info_plain_validator_function(self.read)

    def __get_pydantic_json_schema__(self, *_: object) -> dict[str, Any]:
        """Describe the value."""
        return schema_of(self.kind, self.key, self.nullable)


class Parameters(BaseModel):
    """A query string. One that takes no parameters is this very class."""

    model_config = ConfigDict(extra="forbid", frozen=True)


Position = Annotated[int, FromText("int", 0, INT_MAX)]
Limit = Annotated[int, FromText("int", 1, ROWS_MAX)]
Seconds = Annotated[float, FromText("float", 0, WAIT_MAX)]


class WaitParameters(Parameters):
    """What a reader may wait for, and how long."""

    at_least: Annotated[int | None, FromText("int", 0, INT_MAX)] = Field(
        None, description="Wait until everything up to this position is in"
    )
    timeout: Seconds = Field(WAIT, description="Seconds to wait; then 504, and nothing old")


class QueryParameters(WaitParameters):
    """What every query takes beside its own parameters."""

    limit: Limit = Field(ROWS, description="Rows at the most")


class RecordParameters(QueryParameters):
    """What a query by key takes beside its own parameters."""

    revision_at_least: Annotated[int | None, FromText("int", 1, INT_MAX)] = Field(
        None, description="Wait until the record is shown in this revision or a later one, whatever else is in"
    )


class ChangesParameters(Parameters):
    """Which changes, and whether to wait for them."""

    entity: Annotated[str, FromText("str")] = Field("", description="Of which records")
    since: Position = Field(0, description="The last position that is known already")
    limit: Limit = Field(ROWS, description="Changes at the most")
    wait: Seconds = Field(0.0, description="Seconds to wait for a first one")


class AppliedParameters(Parameters):
    """Which of the changes that became visible."""

    since: Position = Field(0, description="How many have been told already")
    limit: Limit = Field(ROWS, description="Changes at the most")


class WorkloadParameters(Parameters):
    """Which share of the workload's commands, and from where."""

    of: Annotated[int, FromText("int", 1, PARTS_MAX)] = Field(
        1, description="Among how many senders they are shared out, by their records"
    )
    part: Annotated[int, FromText("int", 0, PARTS_MAX - 1)] = Field(0, description="Which share, from 0")
    since: Position = Field(0, description="How many of the share are known already")
    limit: Limit = Field(ROWS, description="Commands at the most")


class LiveParameters(Parameters):
    """How long a stream is."""

    events: Annotated[int, FromText("int", 1, EVENTS_MAX)] = Field(EVENTS_MAX, description="End after so many")


class LoadBody(BaseModel):
    """The rate of the small load generator: commands a second; 0 is none."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    rate: float = Field(ge=0, le=RATE_MAX, allow_inf_nan=False)


class CommandBody(BaseModel):
    """A command; its key and fields depend on the entity."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    command: Annotated[str, FromJson("str")]
    expected: Annotated[int | None, FromJson("int", nullable=True)] = Field(
        None, description="The revision that it was decided on"
    )


@lru_cache(maxsize=4096)
def _own(query: Query) -> tuple[Parameter, ...]:
    return KINDS[query.kind].parameters(query)


def query_parameters(query: Query) -> type[QueryParameters]:
    """The query string of one query. Its own parameters have the attributes `own_0`, `own_1` and so on."""
    fields: dict[str, Any] = {
        # By an alias: a column may be called like a method of a model.
        f"own_{place}": (
            Annotated[Any, FromText(one.kind, key=one.key, times=one.most)],
            Field(alias=one.name, description=one.meaning),
        )
        for place, one in enumerate(_own(query))
    }
    base = RecordParameters if query.kind == "get" else QueryParameters
    return create_model(f"{query.name}-parameters", __base__=base, **fields)


def own_values(query: Query, asked: QueryParameters) -> list[Any]:
    """The values of a query's own parameters as a store takes them."""
    found: list[Any] = []
    for place, one in enumerate(_own(query)):
        given = getattr(asked, f"own_{place}")
        found += given if one.most > 1 else [given]
    return list(KINDS[query.kind].given(query, found))


def command_body(entity: Entity) -> type[CommandBody]:
    """The body of a command on an entity."""
    columns: dict[str, Any] = {
        f"column_{place}": (Annotated[Any, FromJson(kind, nullable=True)], Field(None, alias=name))
        for place, (name, kind) in enumerate(entity.columns.items())
    }
    fields = create_model(f"{entity.name}-fields", __config__=ConfigDict(extra="forbid"), **columns)
    own: dict[str, Any] = {
        "key": (Annotated[Any, FromJson(entity.key, key=True)], ...),
        "values": (fields, Field(alias="fields", default_factory=fields)),
    }
    return create_model(f"{entity.name}-command", __base__=CommandBody, **own)


Model = TypeVar("Model", bound=BaseModel)


def parsed(model: type[Model], request: Request) -> Model:
    """The query string, checked; all that is wrong is told at once. Raises Refused."""
    given: dict[str, list[str]] = {}
    for name, text in request.query_params.multi_items():
        given.setdefault(name, []).append(text)
    try:
        return model.model_validate(given)
    except ValidationError as error:
        raise Refused(400, _told(error, model, "parameter")) from None


def checked_command(model: type[CommandBody], body: Any) -> dict[str, Any]:
    """The members of a command's body: command, key, fields, expected. Raises Refused."""
    if not isinstance(body, dict):
        raise Refused(400, 'a command is an object: {"command": ..., "key": ..., "fields": {...}}')
    try:
        model.model_validate({"command": None, "key": None} | body)
    except ValidationError as error:
        raise Refused(400, _told(error, model, "member")) from None
    return {"fields": {}, "expected": None} | body


def checked_rate(body: Any) -> float:
    """The rate that the body of `PUT /load` gives. Raises Refused."""
    try:
        return LoadBody.model_validate(body).rate
    except ValidationError:
        raise Refused(400, f'a load is {{"rate": ...}}: commands a second, 0 to {RATE_MAX:g}') from None


def _told(error: ValidationError, model: type[BaseModel], what: str) -> str:
    """Every mistake in a few words; of a name that there is not, the nearest one."""
    known: dict[str, Any] = {field.alias or name: field for name, field in model.model_fields.items()}
    told = []
    for item in error.errors(include_url=False):
        *above, name = ("", *map(str, item["loc"]))
        match item["type"]:
            case "string_unicode":
                told.append("a name is no text: half of a surrogate pair")
            case "extra_forbidden" if above[1:]:
                inner = known[above[1]].annotation.model_fields
                names = [field.alias for field in inner.values()]
                told.append(f"no field `{name[:50]}` ({nearest(name[:50], names)})")
            case "extra_forbidden" if what == "parameter":
                told.append(f"no parameter `{name[:50]}` ({nearest(name[:50], known)})")
            case "extra_forbidden":
                told.append(f"no member `{name[:50]}`")
            case "missing":
                told.append(f"`{name}` {known[name].metadata[0].amount(0)}")
            case "value_error":
                told.append(f"`{name}` {item['ctx']['error']}")
            case _:
                told.append(f"`{name}` is an object")
    return "; ".join(told)
