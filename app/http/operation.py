"""Operations as the OpenAPI document shows them: what a view says of its body, its answer and its errors.

A route is in the document without a word (its path, its method, the first line of its view's docstring, who may call
it, the errors that every such route has). `described` adds what only the endpoint knows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, TypeVar

from app.errors import GatewayError

JsonSchema = Mapping[str, Any]
View = TypeVar("View", bound=Callable[..., Any])

JSON = "application/json"
EVENTS = "text/event-stream"

_NOTHING: Mapping[Any, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Content:
    """Content of an answer. `schema` is of all of it; of a stream, of each event's data.

    Where it has a `name`, the schema is a component of the document.
    """

    schema: JsonSchema
    name: str = ""
    media_type: str = JSON


@dataclass(frozen=True, slots=True)
class Body:
    """Body of a request. `needs` are the fields that must be there, `needs_one_of` those of which one must.

    `needs_model`: there must be a `model`, unless the gateway has a default.
    """

    name: str
    properties: Mapping[str, JsonSchema]
    needs: tuple[str, ...] = ()
    needs_one_of: tuple[str, ...] = ()
    needs_model: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """What an endpoint says of one of its views.

    `query` has the schema of each parameter after the `?`, `variables` that of each in the path. `errors` are classes
    that this route raises and not every one like it; where it `asks_model`, all that can come of that are there, too.
    `answers` are contents by status.
    """

    answers: Mapping[int, tuple[Content, ...]]
    body: Body | None = None
    query: Mapping[str, JsonSchema] = field(default_factory=lambda: _NOTHING)
    variables: Mapping[str, JsonSchema] = field(default_factory=lambda: _NOTHING)
    errors: tuple[type[GatewayError], ...] = ()
    asks_model: bool = False


_UNKNOWN = Operation(answers={200: (Content({}),)})

_OPERATIONS: dict[Callable[..., Any], Operation] = {}


def described(operation: Operation) -> Callable[[View], View]:
    """Return a decorator that says of a view what it does. It goes below that of the route."""

    def note(view: View) -> View:
        _OPERATIONS[view] = operation
        return view

    return note


def operation_of(view: Callable[..., Any]) -> Operation:
    """Return what is said of a view."""
    return _OPERATIONS.get(view, _UNKNOWN)


def answer(schema: JsonSchema, name: str = "") -> Mapping[int, tuple[Content, ...]]:
    """Return a 200 with one JSON object."""
    return {200: (Content(schema, name),)}


def answer_or_events(
    whole: Content, event: JsonSchema, event_name: str
) -> Mapping[int, tuple[Content, ...]]:
    """Return a 200 that is one object, or a stream of such events."""
    return {200: (whole, Content(event, event_name, EVENTS))}
