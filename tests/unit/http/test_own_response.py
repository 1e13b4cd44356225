from typing import Any

import pytest
from flask import Response
from werkzeug.test import EnvironBuilder, run_wsgi_app

from app.http.own_response import OwnResponse

STREAM: dict[str, Any] = {"content_type": "text/event-stream", "direct_passthrough": True}


def sent(response: Response, method: str) -> tuple[bytes, str, list[tuple[str, str]]]:
    response.headers["X-Request-Id"] = "req_1"
    body, status, headers = run_wsgi_app(response, EnvironBuilder(method=method).get_environ())
    return b"".join(body), status, [*headers]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    ("body", "options"),
    [
        (b'{"a": 1}', {"content_type": "application/json"}),
        (b"", {"content_type": "application/json"}),
        (b"{}", {"content_type": "application/json", "status": 429}),
        ([b"data: 1\n\n", b"data: 2\n\n"], STREAM),
    ],
)
def test_what_is_sent_is_what_flask_would_send(body: Any, options: Any, method: str) -> None:
    streams = options is STREAM
    ours, plain = (
        kind(iter(body) if streams else body, **options) for kind in (OwnResponse, Response)
    )
    assert sent(ours, method) == sent(plain, method)


def test_a_header_cannot_begin_another() -> None:
    response = OwnResponse(b"{}")
    with pytest.raises(ValueError, match="newline"):
        response.headers["X-Request-Id"] = "a\r\nSet-Cookie: b"


def test_headers_are_handed_over_and_not_copied() -> None:
    response = OwnResponse(b"{}")
    assert response.get_wsgi_headers({}) is response.headers
