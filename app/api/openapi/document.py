"""OpenAPI document of what is served: routes, what their views say of themselves, and the tree of errors."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from apispec import APISpec

from app.api.openapi.errors_of import ALL, errors_of, meaning_of, responses_of
from app.http.auth import Access
from app.http.content_codings import ACCEPTED
from app.http.json_schema import (
    BOOLEAN,
    STRING,
    component,
    constant,
    of,
    or_null,
    record,
    told,
    words,
)
from app.http.operation import EVENTS, JSON, Body, Content, Operation, operation_of

OPENAPI = "3.1.0"
_VERSION = "1"
"""Of the API, which the paths name, too. That of the gateway is for callers with a key: `/healthz` shows it."""

_VARIABLE = re.compile(r"<(?:\w+:)?(\w+)>")

_SCHEMES: Mapping[Access, tuple[str, str]] = MappingProxyType(
    {
        Access.KEY: ("clientKey", "`PROXY_API_KEY`, or one of `PROXY_API_KEYS`."),
        Access.METRICS: ("metricsKey", "`PROXY_METRICS_TOKEN`."),
        Access.ADMIN: ("adminKey", "`PROXY_ADMIN_KEY`."),
    }
)


@dataclass(frozen=True, slots=True)
class Route:
    """One method of one path, as Flask writes it (`/v1/models/<path:name>`). `name` is that of its endpoint."""

    path: str
    method: str
    name: str
    view: Callable[..., Any]
    access: Access

    @property
    def operation(self) -> Operation:
        """What its view says of itself."""
        return operation_of(self.view)


@dataclass(frozen=True, slots=True)
class Facts:
    """What of the document depends on the settings."""

    needs_model: bool
    max_choices: int
    max_body_bytes: int


def document(routes: Sequence[Route], facts: Facts) -> dict[str, Any]:
    """Return the document of these routes."""
    spec = APISpec(
        "Codex Completions API",
        _VERSION,
        OPENAPI,
        info={"description": _introduction(facts)},
        servers=[{"url": "/"}],
    )
    _add_common(spec, routes)
    for route in routes:
        _add_schemas(spec, route.operation, facts)
        spec.path(
            path=_VARIABLE.sub(r"{\1}", route.path),
            operations={route.method.lower(): dict(_operation(route))},
        )
    found: dict[str, Any] = spec.to_dict()
    return found


def _introduction(facts: Facts) -> str:
    return (
        "OpenAI's API, answered by codex. `null` means absent for every optional field of a body, and fields that "
        "nobody knows have no effect and are named. A body has at most "
        f"{facts.max_body_bytes} bytes, and may be compressed ({ACCEPTED}). Every error has one form."
    )


# Components


def _add_common(spec: APISpec, routes: Sequence[Route]) -> None:
    spec.components.schema("Error", _error())
    for name, schema, meaning in (
        ("X-Request-Id", STRING, "The request's id, which the log has, too."),
        ("x-should-retry", words("true", "false"), "Whether the same request may succeed."),
        ("Retry-After", STRING, "Seconds."),
    ):
        spec.components.header(name, {"description": meaning, "schema": schema})
    for access in dict.fromkeys((Access.KEY, *(route.access for route in routes))):
        if access in _SCHEMES:
            name, meaning = _SCHEMES[access]
            scheme = {"type": "http", "scheme": "bearer", "description": meaning}
            spec.components.security_scheme(name, scheme)


def _error() -> dict[str, Any]:
    codes = {kind.default_code: meaning_of(kind) for kind in ALL}
    known = [told(constant(code), meaning) for code, meaning in sorted(codes.items())]
    members = {
        "message": STRING,
        "type": words(*sorted({kind.type for kind in ALL})),
        "param": told(or_null(STRING), "The field that is wrong."),
        "code": of(*known, told(STRING, "A finer code, or the upstream's own.")),
        "retryable": BOOLEAN,
    }
    return record({"error": record(members)})


def _add_schemas(spec: APISpec, operation: Operation, facts: Facts) -> None:
    if operation.body is not None:
        _add_schema(spec, operation.body.name, _body_schema(operation.body, facts))
    for contents in operation.answers.values():
        for content in contents:
            if content.name:
                _add_schema(spec, content.name, dict(content.schema))


def _add_schema(spec: APISpec, name: str, schema: dict[str, Any]) -> None:
    """Add a component once: several operations may have it."""
    if name not in spec.components.schemas:
        spec.components.schema(name, schema)


def _body_schema(body: Body, facts: Facts) -> dict[str, Any]:
    properties = dict(body.properties)
    if "n" in properties:
        properties["n"] = {**properties["n"], "maximum": facts.max_choices}
    needs = (*(("model",) if body.needs_model and facts.needs_model else ()), *body.needs)
    schema: dict[str, Any] = {"type": "object", "properties": properties}
    if needs:
        schema["required"] = list(needs)
    if body.needs_one_of:
        schema["anyOf"] = [{"required": [name]} for name in body.needs_one_of]
    return schema


# Operations


def _operation(route: Route) -> Iterator[tuple[str, Any]]:
    said = route.operation
    yield "operationId", route.name.replace(".", "_")
    yield "summary", (inspect.getdoc(route.view) or "").partition("\n")[0].removesuffix(".")
    yield "tags", [route.name.partition(".")[0].replace("_", " ")]
    yield "security", _security(route.access)
    if parameters := list(_parameters(route)):
        yield "parameters", parameters
    if said.body is not None:
        content = {JSON: {"schema": component(said.body.name)}}
        yield "requestBody", {"required": True, "content": content}
    kinds = errors_of(said, route.path, route.method, route.access)
    yield "responses", _responses(said, responses_of(kinds))


def _security(access: Access) -> list[dict[str, list[str]]]:
    if access is Access.PUBLIC:
        # With a key some of them show more.
        return [{}, {_SCHEMES[Access.KEY][0]: []}]
    return [{_SCHEMES[access][0]: []}]


def _parameters(route: Route) -> Iterator[dict[str, Any]]:
    said = route.operation
    for name in _VARIABLE.findall(route.path):
        schema = dict(said.variables.get(name, STRING)) | {"minLength": 1}
        yield {"name": name, "in": "path", "required": True, "schema": schema}
    for name, described in said.query.items():
        yield {"name": name, "in": "query", "schema": dict(described)}


def _responses(
    said: Operation, refused: Mapping[int, Mapping[str, Any]]
) -> dict[int, Mapping[str, Any]]:
    """Return the responses by status: answers, errors, and both where a status has both."""
    responses = dict(refused)
    for status, contents in said.answers.items():
        meaning = refused[status]["description"] if status in refused else "The answer."
        shown = {content.media_type: _content(content) for content in contents}
        if status in refused:
            schemas = (shown[JSON]["schema"], component("Error"))
            shown[JSON] = {"schema": of(*schemas)}
        headers = {"X-Request-Id": {"$ref": "#/components/headers/X-Request-Id"}}
        responses[status] = {"description": meaning, "headers": headers, "content": shown}
    return dict(sorted(responses.items()))


def _content(content: Content) -> dict[str, Any]:
    schema = component(content.name) if content.name else dict(content.schema)
    if content.media_type != EVENTS:
        return {"schema": schema}
    # Of the data of each event, for which version 3.2 has a word; what has a `schema` itself is one text.
    return {"x-item-schema": schema}
