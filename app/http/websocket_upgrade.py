"""WebSocket upgrade: the handshake of a request that asks for one, and its response (RFC 6455, section 4)."""

from __future__ import annotations

import binascii
from base64 import b64decode
from collections.abc import Callable, Iterable
from typing import Any, cast

from flask import Response, current_app, request
from werkzeug.wsgi import ClosingIterator
from wsproto.utilities import generate_accept_token

from app.answer_store.connection_answers import ConnectionAnswers
from app.budget import Reservation
from app.errors import InvalidRequest, MethodNotSupported, OriginNotAllowed
from app.http import cors
from app.http.request_context import current_record
from app.http.request_lifetime import current_lifetime
from app.http.services import services
from app.http.websocket_session import SessionLimits, WebSocketSession

_VERSION = "13"
_KEY_BYTES = 16


def upgrade(is_silent: Callable[[bytes], bool]) -> Response:
    """Accept the handshake of the request at hand. Raises `InvalidRequest`, `WorkerBusy`, `OriginNotAllowed`.

    From the response on, each message is a POST to the same path, but for short ones that are `is_silent`.
    """
    here, record, lifetime = services(), current_record(), current_lifetime()
    bounds = here.websockets
    if not bounds.places.shares.limit or request.method != "GET":
        raise MethodNotSupported(f"{request.path} does not support WebSockets at this gateway.")
    accepted = _accepted()
    owner = record.key_name or ""
    lifetime.hand_over()()  # it is no request in progress any more; each of its messages is one
    lifetime.on_close(bounds.places.reserve(owner).release)
    session = WebSocketSession(
        current_app.wsgi_app,
        request.environ,
        lifetime,
        SessionLimits(bounds.idle_s, bounds.age_s, here.pace.tick_s, here.options.max_body_bytes),
        ConnectionAnswers(
            Reservation(bounds.answers, owner),
            here.metrics.overflows.labels("websocket_answers").inc,
        ),
        is_silent,
    )
    response = _Upgrade(session, status=101, direct_passthrough=True)
    del response.headers["Content-Type"]
    response.headers["Upgrade"] = "websocket"
    response.headers["Connection"] = "Upgrade"
    response.headers["Sec-WebSocket-Accept"] = accepted
    return response


class _Upgrade(Response):
    """A response with status 101 whose body is taken all the same."""

    def get_app_iter(self, environ: Any) -> Iterable[bytes]:
        return ClosingIterator(cast("Iterable[bytes]", self.response), self.close)


def _check_request() -> None:
    if request.environ["SERVER_PROTOCOL"] == "HTTP/1.0":
        raise InvalidRequest(
            "A WebSocket is opened over HTTP/1.1 (RFC 6455, section 4.1), and this is HTTP/1.0: a proxy in between may "
            "have to be told.",
            code="INVALID_WEBSOCKET",
        )
    if request.content_length or "HTTP_TRANSFER_ENCODING" in request.environ:
        raise InvalidRequest(
            "The handshake of a WebSocket has no body: what follows it are frames.",
            code="INVALID_WEBSOCKET",
        )


def _accepted() -> str:
    """Return what the client's key is answered with."""
    _check_request()
    given = request.headers
    if not cors.allows_page(given.get("Origin"), request.host):
        raise OriginNotAllowed(
            "Pages of this origin may not open a WebSocket here (PROXY_CORS_ALLOWED_ORIGINS)."
        )
    if given.get("Sec-WebSocket-Version") != _VERSION:
        raise InvalidRequest(
            f"Invalid 'Sec-WebSocket-Version': this gateway speaks version {_VERSION} of the WebSocket protocol.",
            code="INVALID_WEBSOCKET",
        )
    key = given.get("Sec-WebSocket-Key", "")
    if not _is_key(key):
        raise InvalidRequest(
            "Invalid 'Sec-WebSocket-Key': expected 16 bytes in base64.", code="INVALID_WEBSOCKET"
        )
    return generate_accept_token(key.encode()).decode()


def _is_key(text: str) -> bool:
    try:
        return len(b64decode(text, validate=True)) == _KEY_BYTES
    except (binascii.Error, ValueError):
        return False
