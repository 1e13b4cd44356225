"""Request id and record: made first, sent back on every response, written last."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence

from flask import Flask, Request, Response, current_app, request

from app.http.request_lifetime import CARRIER, current_lifetime, lifetime_if_any, record_if_any
from app.observability import logs
from app.observability.requests import Listener, RequestRecord
from app.observability.span_recorder import SpanRecorder

_API_VERSION = "2020-10-01"
"""What OpenAI calls the version of `/v1` in its own answers."""

_LISTENERS = "request_listeners"
_SPANS = "request_spans"
current_request: Callable[[], Request] = request._get_current_object  # type: ignore[attr-defined]  # noqa: SLF001
"""Return the request being served. Flask's `request` looks it up anew for each of its members."""

current_application: Callable[[], Flask] = current_app._get_current_object  # type: ignore[attr-defined]  # noqa: SLF001
"""Return the application that serves it; as above."""

_ACCEPTED_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")


def init_app(
    app: Flask, listeners: Sequence[Listener] = (), spans: SpanRecorder | None = None
) -> None:
    """Give every request a record, every response its headers, and write the canonical line at the very end.

    `listeners` hear of every request. Where `spans` are recorded, each request to `/v1` has one.
    """
    app.extensions[_LISTENERS] = listeners
    app.extensions[_SPANS] = spans
    app.before_request(_begin_record)
    app.after_request(_finish)
    logs.add_fields(_request_id)


def _begin_record() -> None:
    _begin()


def current_record() -> RequestRecord:
    """Return the record of the request being served."""
    lifetime = lifetime_if_any()
    if lifetime is None or lifetime.record is None:
        return _begin()
    return lifetime.record


def _begin() -> RequestRecord:
    request, extensions = current_request(), current_application().extensions
    offered = request.environ.get("HTTP_X_REQUEST_ID", "")
    request_id = offered if _ACCEPTED_ID.fullmatch(offered) else f"req_{os.urandom(16).hex()}"
    rule = request.url_rule
    record = RequestRecord(
        request_id,
        request.method,
        route=rule.rule if rule is not None else "unmatched",
        request_bytes=request.content_length,
        transport="websocket" if CARRIER in request.environ else None,
        listeners=[*extensions[_LISTENERS]],
    )
    spans: SpanRecorder | None = extensions[_SPANS]
    if spans is not None and request.path.startswith("/v1/"):
        record.span = spans.begin(request.headers.get("traceparent"), request.scheme)
        record.listeners += [record.span] if record.span is not None else []
    current_lifetime().record = record
    return record


def _finish(response: Response) -> Response:
    record = current_record()
    record.status = response.status_code
    response.headers["X-Request-Id"] = record.request_id
    if current_request().path.startswith("/v1/"):
        response.headers["openai-version"] = _API_VERSION
        response.headers["openai-processing-ms"] = str(record.age_ms())
    if not record.is_streaming:
        record.response_bytes = response.calculate_content_length()
    # Not here but at close: a stream has only begun when this function runs.
    current_lifetime().on_close(record.write)
    return response


def _request_id() -> dict[str, str]:
    """Return the id for log lines, wherever a request is being served."""
    record = record_if_any()
    return {} if record is None else {"request_id": record.request_id}
