"""Error handlers for every failure before a response is committed: one envelope, whatever went wrong."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import orjson
from flask import Flask, Response, current_app, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from app.bearer import CHALLENGE
from app.errors import (
    BodyTooLarge,
    GatewayError,
    InvalidApiKey,
    InvalidRequest,
    MethodNotSupported,
    UnknownUrl,
    UnsupportedContentEncoding,
)
from app.http.content_codings import ACCEPTED
from app.http.defects import unforeseen
from app.http.request_context import current_record
from app.http.services import services
from app.http.wrong_urls import advice_for, advice_for_method


def init_app(app: Flask) -> None:
    """Render gateway errors, HTTP errors of the framework, and every other exception."""
    app.register_error_handler(GatewayError, render)
    app.register_error_handler(HTTPException, _render_http)
    app.register_error_handler(Exception, _render_unforeseen)


def render(error: GatewayError) -> Response:
    """Return the error as an HTTP response, and note it in the request's record."""
    record = current_record()
    record.outcome, record.error_code = "failed", error.code
    response = Response(
        orjson.dumps(error.to_envelope()), status=error.status, content_type="application/json"
    )
    # The OpenAI SDKs obey this header; without it they would also retry what cannot succeed.
    response.headers["x-should-retry"] = "true" if error.retryable else "false"
    if error.retry_after_s is not None:
        response.headers["Retry-After"] = str(error.retry_after_s)
    if isinstance(error, InvalidApiKey):
        response.headers["WWW-Authenticate"] = CHALLENGE
    if isinstance(error, UnsupportedContentEncoding):
        response.headers["Accept-Encoding"] = ACCEPTED  # RFC 9110, sections 12.5.3 and 15.5.16
    return response


def _unknown_url() -> GatewayError:
    routes = current_app.url_map.bind("")
    endpoints = sorted(
        {
            rule.rule
            for rule in current_app.url_map.iter_rules()
            if not rule.arguments and not rule.rule.startswith("/internal")
        }
    )
    advice = advice_for(request.path, endpoints, lambda path: bool(routes.allowed_methods(path)))
    what = f"Unknown request URL: {request.method} {request.path[:200]}."
    return UnknownUrl(f"{what} {advice}".strip())


def _method_not_supported() -> GatewayError:
    what = f"{request.path[:200]} does not support {request.method}."
    return MethodNotSupported(f"{what} {advice_for_method(request.path)}".strip())


_BY_STATUS: Mapping[int, Callable[[], GatewayError]] = MappingProxyType(
    {
        404: _unknown_url,
        405: _method_not_supported,
        413: lambda: BodyTooLarge("The body is larger than this gateway accepts."),
    }
)


def _render_http(error: HTTPException) -> Response:
    make = _BY_STATUS.get(error.code or 0, lambda: InvalidRequest("The request is not valid HTTP."))
    response = render(make())
    if isinstance(error, MethodNotAllowed) and error.valid_methods:
        response.headers["Allow"] = ", ".join(sorted(error.valid_methods))
    return response


def _render_unforeseen(error: Exception) -> Response:
    # The last resort: whatever reaches this line is a defect of ours, and the caller still gets an answer.
    return render(
        unforeseen(error, current_record().request_id, is_told=services().options.tells_defects)
    )
