"""`GET /openapi.json`: the document of this scenario, made of the models of its requests and answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from pydantic import BaseModel

from lab.channel.fates import LiveFaults
from lab.domain.model import published
from lab.service import answers, requests
from lab.service.changes import ARROW
from lab.service.problems import PROBLEM, TITLES
from lab.wiring import Plan, ProjectionPlan

Schema = dict[str, Any]
JSON = "application/json"
# What any request may be answered with: the gate and the checks of the request come first.
ALWAYS = (400, 401, 403, 404, 413, 421)


class Document:
    """An OpenAPI 3.1 document, operation by operation; definitions that models share go to its components."""

    def __init__(self) -> None:
        self.paths: Schema = {}
        self.schemas: Schema = {}
        self.schemas["Problem"] = self.schema(answers.ProblemDocument)

    def schema(self, model: type[BaseModel], mode: Any = "serialization") -> Schema:
        """A model's schema, with references into the components."""
        found = model.model_json_schema(ref_template="#/components/schemas/{model}", mode=mode)
        self.schemas |= found.pop("$defs", {})
        return found

    def add(
        self,
        method: str,
        path: str,
        summary: str,
        good: Mapping[int, str],
        answer: type[BaseModel] | str | None = None,
        *bad: int,
        parameters: type[BaseModel] = requests.Parameters,
        body: type[BaseModel] | None = None,
    ) -> Schema:
        """One operation: what it answers (a model, or a media type), its refusals, its parameters and its body."""
        text = answer if isinstance(answer, str) else None
        schema = self.schema(answer) if isinstance(answer, type) else {"type": "string" if text else "object"}
        responses: Schema = {
            str(status): {"description": said, "content": {text or JSON: {"schema": schema}}}
            for status, said in good.items()
        }
        problem = {PROBLEM: {"schema": {"$ref": "#/components/schemas/Problem"}}}
        for status in sorted({*ALWAYS, *bad}):
            responses[str(status)] = {"description": TITLES[status], "content": problem}
        operation: Schema = {"summary": summary, "parameters": self._parameters(parameters), "responses": responses}
        if body is not None:
            described = self.schema(body, "validation")
            operation["requestBody"] = {"required": True, "content": {JSON: {"schema": described}}}
        self.paths.setdefault(path, {})[method] = operation
        return operation

    def _parameters(self, model: type[BaseModel]) -> list[Schema]:
        schema = self.schema(model, "validation")
        found = []
        for name, one in schema.get("properties", {}).items():
            said, often = one.pop("description", ""), one.get("type") == "array"
            if one.get("default", "") is None:
                del one["default"]
            row = {"name": name, "in": "query", "required": name in schema.get("required", ()), "description": said}
            found.append(row | {"schema": one} | ({"style": "form", "explode": True} if often else {}))
        return found


def openapi(
    plan: Plan,
    token: bool,
    commands: Mapping[str, type[BaseModel]],
    queries: Mapping[tuple[str, str], type[BaseModel]],
) -> Schema:
    """The document. `commands` are the bodies by entity, `queries` the query strings by projection and query."""
    found = Document()
    for name, body in commands.items():
        _command(found, name, body)
    _changes(found, [*published(plan.domain)])
    said = "Every projection, and how far it is"
    found.add("get", "/projections", said, {200: "Projections"}, answers.ProjectionList)
    for item in plan.projections:
        _projection(found, item, queries)
    now = {200: "Now, and in the scenario"}
    found.add("get", "/faults", "What the channel does to messages", now, answers.FaultsStatus, 409)
    said = "Replace it; what is left out is no fault"
    found.add("put", "/faults", said, now, answers.FaultsStatus, 409, 413, 415, body=LiveFaults)
    now = {200: "Its rate, and what it has sent"}
    found.add("get", "/load", "The small load generator", now, answers.LoadStatus)
    said = "Set its rate, in commands a second"
    found.add("put", "/load", said, now, answers.LoadStatus, 409, 415, body=requests.LoadBody)
    said, share = "Commands of the scenario's workload, to be sent by a load generator", requests.WorkloadParameters
    found.add("get", "/workload", said, {200: "Commands"}, answers.WorkloadPage, 409, parameters=share)
    said, stream = "What happens, a few times a second: each event is a document in JSON", {200: "Server-sent events"}
    found.add("get", "/live", said, stream, "text/event-stream", 503, parameters=requests.LiveParameters)
    found.add("get", "/metrics", "For Prometheus", {200: "Metrics"}, "text/plain")
    found.add("get", "/health", "Whether every process is there", {200: "Their states"}, answers.Health)
    found.add("get", "/openapi.json", "This document", {200: "OpenAPI"})
    document: Schema = {
        "openapi": "3.1.0",
        "info": {"title": f"Polyglot lab: {plan.scenario.name}", "version": _version()},
        "paths": found.paths,
        "components": {"schemas": found.schemas},
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


def _command(found: Document, name: str, body: type[BaseModel]) -> None:
    said, good = f"Decide a command on one {name}; the outcome is in the answer", "Accepted"
    statuses = {200: good, 201: f"{good}, and the record is new"}
    path = f"/commands/{name}"
    operation = found.add("post", path, said, statuses, answers.CommandOutcome, 409, 415, 422, 503, body=body)
    said = (
        "Sent again under the same key, a command gets the outcome of the first time, and nothing is done twice. "
        "Another command under that key is not decided: 422, with the type `urn:lab:problem:idempotency-key-reused`. "
        "Of a command that failed nothing is kept"
    )
    once = {"type": "string", "minLength": 1, "maxLength": requests.KEY_MAX, "pattern": "^[ -~]+$"}
    header = {"name": "Idempotency-Key", "in": "header", "required": False, "description": said, "schema": once}
    operation["parameters"].append(header)


def _changes(found: Document, entities: Sequence[str]) -> None:
    said, parameters = "The changes after a position, in commit order", requests.ChangesParameters
    page = {200: "A page of changes"}
    operation = found.add("get", "/changes", said, page, answers.ChangesPage, 406, 503, parameters=parameters)
    operation["responses"]["200"]["content"][ARROW] = {"schema": {"type": "string", "format": "binary"}}
    # Without it there is no such entity, which is answered with 404.
    entity = operation["parameters"][0]
    entity |= {"required": True, "schema": {"type": "string", "enum": entities}}


def _projection(found: Document, item: ProjectionPlan, queries: Mapping[tuple[str, str], type[BaseModel]]) -> None:
    base = f"/projections/{item.name}"
    said, wait = f"How far `{item.name}` is, and its rebuild", requests.WaitParameters
    found.add("get", base, said, {200: "The projection"}, answers.ProjectionStatus, 503, 504, parameters=wait)
    said, begun = "Build it anew beside, then swap it in", {202: "Begun; see the projection"}
    found.add("post", f"{base}/rebuild", said, begun, answers.RebuildBegun, 409, 503)
    said, parameters = f"What became visible in `{item.name}`", requests.AppliedParameters
    path = f"/applied/{item.name}"
    found.add("get", path, said, {200: "Changes"}, answers.AppliedChanges, 503, parameters=parameters)
    rows = {200: "Rows, the position that they stand for, and its age"}
    for query in item.queries:
        said = f"`{query.name}`: {query.kind} of {query.entity.name}, in {item.table.store}"
        model, own = answers.rows_page(query), queries[item.name, query.name]
        found.add("get", f"{base}/{query.name}", said, rows, model, 422, 503, 504, parameters=own)
