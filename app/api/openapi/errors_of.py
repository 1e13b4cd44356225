"""Errors of a route, out of the tree of errors: who may call it, what it reads and what it asks decide."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from app import errors
from app.errors import GatewayError
from app.http.auth import Access
from app.http.operation import Operation

ALL: tuple[type[GatewayError], ...] = tuple(
    found
    for _, found in inspect.getmembers(errors, inspect.isclass)
    if issubclass(found, GatewayError) and found is not GatewayError
)

_OF_ONE_KIND_OF_ROUTE = frozenset({errors.AnswerNotFound, errors.MethodNotSupported})
"""Not what asking a model can come to."""

_ALWAYS = (
    errors.InvalidRequest,  # what is no HTTP
    errors.UnknownUrl,  # the path in another spelling
    errors.WorkerBusy,
    errors.InternalError,
    errors.OutOfMemory,
    errors.Draining,
)
_OF_BODIES = (
    errors.InvalidJson,
    errors.BodyTimeout,
    errors.BodyTooLarge,
    errors.TooManyValues,
    errors.UnsupportedContentType,
    errors.UnsupportedContentEncoding,
)


def errors_of(
    operation: Operation, path: str, method: str, access: Access
) -> tuple[type[GatewayError], ...]:
    """Return the classes that a route can answer with, each once."""
    return tuple(dict.fromkeys(_errors_of(operation, path, method, access)))


def _errors_of(
    operation: Operation, path: str, method: str, access: Access
) -> Iterator[type[GatewayError]]:
    yield from _ALWAYS
    yield from operation.errors
    if access is not Access.PUBLIC:
        yield errors.InvalidApiKey
    if path.startswith("/v1/"):
        yield errors.InMaintenance
    if access is Access.KEY and method == "POST":
        yield errors.KeyLimited
    if operation.body is not None:
        yield from _OF_BODIES
    if operation.asks_model:
        yield from (kind for kind in ALL if kind not in _OF_ONE_KIND_OF_ROUTE)


def responses_of(kinds: Sequence[type[GatewayError]]) -> Mapping[int, Mapping[str, Any]]:
    """Return a response of the document for each status of these classes."""
    ordered = sorted(kinds, key=lambda kind: (kind.status, kind.__name__))
    return {
        status: _response(list(same)) for status, same in groupby(ordered, lambda it: it.status)
    }


def _response(kinds: Sequence[type[GatewayError]]) -> Mapping[str, Any]:
    told = dict.fromkeys(f"`{kind.default_code}`: {meaning_of(kind)}" for kind in kinds)
    names = ["X-Request-Id", "x-should-retry"]
    if any(kind.default_retry_after_s for kind in kinds):
        names.append("Retry-After")
    return {
        "description": "\n".join(told),
        "headers": {name: {"$ref": f"#/components/headers/{name}"} for name in names},
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
    }


def meaning_of(kind: type[GatewayError]) -> str:
    """Return the first sentence of a class about itself."""
    return (inspect.getdoc(kind) or "").partition("\n")[0]
