"""`GET /openapi.json`: what can be asked of this scenario, made of its plan; parameters go by name."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from lab.domain.model import published
from lab.service import words
from lab.service.changes import ARROW
from lab.service.channel import Faults
from lab.service.live import EVENTS_MAX
from lab.service.loading import PARTS_MAX, Wanted
from lab.service.problems import PROBLEM, TITLES
from lab.wiring import Plan, ProjectionPlan

Schema = dict[str, Any]
INTEGER = {"type": "integer", "minimum": -words.INT_MAX - 1, "maximum": words.INT_MAX}
KINDS: Mapping[str, Schema] = {
    "int": INTEGER,
    "float": {"type": "number"},
    "str": {"type": "string", "maxLength": words.TEXT_MAX},
    "bool": {"type": "boolean"},
}
POSITION: Schema = {"type": "integer", "minimum": 0, "maximum": words.INT_MAX}


def openapi(plan: Plan, token: bool) -> Schema:
    """The document, in OpenAPI 3.1."""
    paths: Schema = {f"/commands/{name}": {"post": _command(plan, name)} for name in plan.domain.entities}
    paths["/changes"] = {"get": _changes(plan)}
    paths["/projections"] = {"get": _operation("Every projection, and how far it is", {200: "Projections"})}
    for item in plan.projections:
        base = f"/projections/{item.name}"
        paths[base] = {"get": _operation(f"How far `{item.name}` is, and its rebuild", {200: "The projection"})}
        started = _operation("Build it anew beside, then swap it in", {202: "Begun; see the projection"}, 409, 503)
        paths[f"{base}/rebuild"] = {"post": started}
        paths[f"/applied/{item.name}"] = {"get": _applied(item.name)}
        paths |= {f"{base}/{query.name}": {"get": _query(item, place)} for place, query in enumerate(item.queries)}
    faults = _operation("What the channel does to messages", {200: "Now, and in the scenario"}, 409)
    change = _operation("Replace it; what is left out is no fault", {200: "Now, and in the scenario"}, 409, 413, 415)
    # Local definitions move up to the components, where references are looked for.
    schema = Faults.model_json_schema(ref_template="#/components/schemas/{model}")
    schemas = schema.pop("$defs", {}) | {"Problem": _problem()}
    change["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    paths["/faults"] = {"get": faults, "put": change}
    paths["/load"] = {
        "get": _operation("The small load generator", {200: "Its rate, and what it has sent"}),
        "put": _load(),
    }
    paths["/workload"] = {"get": _workload()}
    paths["/live"] = {"get": _live()}
    paths["/metrics"] = {"get": _operation("For Prometheus", {200: "Metrics"}, kind="text/plain")}
    paths["/health"] = {"get": _operation("Whether every process is there", {200: "Their states"})}
    paths["/openapi.json"] = {"get": _operation("This document", {200: "OpenAPI"})}
    document: Schema = {
        "openapi": "3.1.0",
        "info": {"title": f"Polyglot lab: {plan.scenario.name}", "version": _version()},
        "paths": paths,
        "components": {"schemas": schemas},
    }
    if token:
        document["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        document["security"] = [{"token": []}]
    return document


def _version() -> str:
    try:
        return version("polyglot-lab")
    except PackageNotFoundError:
        return "0"


def _problem() -> Schema:
    text = {"type": "string"}
    properties = {"type": text, "title": text, "status": {"type": "integer"}, "detail": text}
    return {"type": "object", "properties": properties, "required": [*properties]}


def _operation(summary: str, good: Mapping[int, str], *bad: int, kind: str = "application/json") -> Schema:
    responses: Schema = {str(status): {"description": said, "content": {kind: {}}} for status, said in good.items()}
    problem = {PROBLEM: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    for status in sorted({400, 401, 403, 404, 413, 421, *bad}):
        responses[str(status)] = {"description": TITLES[status], "content": problem}
    return {"summary": summary, "responses": responses}


def _parameter(name: str, schema: Schema, said: str, required: bool = False, often: bool = False) -> Schema:
    if often:
        schema = {"type": "array", "items": schema, "minItems": 1}
    found = {"name": name, "in": "query", "required": required, "description": said, "schema": schema}
    return found | ({"style": "form", "explode": True} if often else {})


def _number(least: float, most: float, default: float) -> Schema:
    kind = "integer" if isinstance(default, int) else "number"
    return {"type": kind, "minimum": least, "maximum": most, "default": default}


def _command(plan: Plan, name: str) -> Schema:
    entity = plan.domain.entities[name]
    good = {200: "Accepted", 201: "Accepted, and the record is new"}
    operation = _operation(f"Decide a command on one {name}; the outcome is in the answer", good, 409, 415, 422, 503)
    fields = {column: _nullable(KINDS[kind]) for column, kind in entity.columns.items()}
    properties: Schema = {
        "command": {"type": "string", "minLength": 1, "maxLength": 100},
        "key": _key(entity.key),
        "fields": {"type": "object", "properties": fields, "additionalProperties": False},
        "expected": {**_nullable(INTEGER), "description": "The revision that it was decided on"},
    }
    schema = {"type": "object", "properties": properties, "required": ["command", "key"], "additionalProperties": False}
    operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    once = {"type": "string", "minLength": 1, "maxLength": 200, "pattern": "^[ -~]+$"}
    said = "Sent again under the same key, a command gets the outcome of the first time, and nothing is done twice"
    header = {"name": "Idempotency-Key", "in": "header", "required": False, "description": said, "schema": once}
    operation["parameters"] = [header]
    return operation


def _nullable(schema: Schema) -> Schema:
    return schema | {"type": [schema["type"], "null"]}


def _key(kind: str) -> Schema:
    return INTEGER if kind == "int" else {"type": "string", "maxLength": words.KEY_BYTES_MAX}


def _changes(plan: Plan) -> Schema:
    operation = _operation("The changes after a position, in commit order", {200: "A page of changes"}, 406, 503)
    operation["responses"]["200"]["content"] = {"application/json": {}, ARROW: {}}
    operation["parameters"] = [
        _parameter("entity", {"type": "string", "enum": [*published(plan.domain)]}, "Of which records", required=True),
        _parameter("since", POSITION | {"default": 0}, "The last position that is known already"),
        _parameter("limit", _number(1, words.ROWS_MAX, words.ROWS), "Changes at the most"),
        _parameter("wait", _number(0, words.WAIT_MAX, 0.0), "Seconds to wait for a first one"),
    ]
    return operation


def _load() -> Schema:
    operation = _operation("Set its rate, in commands a second", {200: "Its rate, and what it has sent"}, 409, 415)
    schema = Wanted.model_json_schema()
    operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    return operation


def _applied(name: str) -> Schema:
    operation = _operation(
        f"What became visible in `{name}`: position, committed at, visible at", {200: "Changes"}, 503
    )
    operation["parameters"] = [
        _parameter("since", POSITION | {"default": 0}, "How many have been told already"),
        _parameter("limit", _number(1, words.ROWS_MAX, words.ROWS), "Changes at the most"),
    ]
    return operation


def _workload() -> Schema:
    operation = _operation("Commands of the scenario's workload, to be sent by who makes load", {200: "Commands"}, 409)
    operation["parameters"] = [
        _parameter("of", _number(1, PARTS_MAX, 1), "Among how many senders they are shared out, by their records"),
        _parameter("part", _number(0, PARTS_MAX - 1, 0), "Which share, from 0"),
        _parameter("since", POSITION | {"default": 0}, "How many of the share are known already"),
        _parameter("limit", _number(1, words.ROWS_MAX, words.ROWS), "Commands at the most"),
    ]
    return operation


def _live() -> Schema:
    said = "What happens, a few times a second: each event is a document in JSON"
    operation = _operation(said, {200: "Server-sent events"}, 503, kind="text/event-stream")
    schema = _number(1, EVENTS_MAX, EVENTS_MAX)
    operation["parameters"] = [_parameter("events", schema, "End after so many")]
    return operation


def _query(item: ProjectionPlan, place: int) -> Schema:
    query = item.queries[place]
    operation = _operation(
        f"`{query.name}`: {query.kind} of {query.entity.name}, in {item.table.store}",
        {200: "Rows, the position that they stand for, and its age"},
        422, 503, 504,
    )  # fmt: skip
    own = [
        _parameter(
            one.name,
            _key(one.kind) if one.key else KINDS[one.kind],
            one.meaning,
            required=True,
            often=one.most > 1,
        )
        for one in words.parameters(query)
    ]
    common = [
        _parameter("at_least", POSITION, "Wait until everything up to this position is in"),
        _parameter("timeout", _number(0, words.WAIT_MAX, words.WAIT), "Seconds to wait; then 504, and no old rows"),
        _parameter("limit", _number(1, words.ROWS_MAX, words.ROWS), "Rows at the most"),
    ]
    operation["parameters"] = [*own, *common]
    return operation
