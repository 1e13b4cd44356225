"""WSGI application of one route, `GET /verify`: 200 for a caller with a key, else 401 in OpenAI's envelope.

Whatever is not 200 is a refusal for the proxy, so every fault of this service keeps callers out.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from typing import Any

from app.bearer import CHALLENGE, caller_name, refusal
from app.errors import (
    GatewayError,
    InvalidApiKey,
    MethodNotSupported,
    UnknownUrl,
    WorkerUnavailable,
)

PATH = "/verify"

_ONLY = f"This service answers GET {PATH} alone."

_HEADERS = (("Content-Type", "application/json"), ("Cache-Control", "no-store"))

_CHALLENGE = (("WWW-Authenticate", CHALLENGE),)

_SHARED = (("Access-Control-Allow-Origin", "*"),)
"""The proxy hands a refusal on, and the script of a page must be able to read it."""

Headers = tuple[tuple[str, str], ...]


class Verify:
    """The application. `keys` is asked at each request for the keys that count now, by their names."""

    def __init__(self, keys: Callable[[], Mapping[str, bytes]]) -> None:
        self._keys = keys

    def __call__(
        self, environ: Mapping[str, Any], start_response: Callable[..., object]
    ) -> Iterable[bytes]:
        """Answer one request. Nothing of it is logged, repeated or remembered."""
        try:
            self._judge(environ)
        except GatewayError as error:
            more = _CHALLENGE if isinstance(error, InvalidApiKey) else ()
            headers = (*_hints(error), *_SHARED, *more)
            return _answer(start_response, error.status, error.to_envelope(), headers)
        return _answer(start_response, 200, {"ok": True})

    def _judge(self, environ: Mapping[str, Any]) -> None:
        """Raise what keeps this request out."""
        if environ["PATH_INFO"] != PATH:
            raise UnknownUrl(_ONLY)
        if environ["REQUEST_METHOD"] != "GET":
            raise MethodNotSupported(_ONLY)
        offered = environ.get("HTTP_AUTHORIZATION", "")
        keys = self._keys()
        if not keys:
            raise WorkerUnavailable("This gateway's keys cannot be read at the moment.")
        if caller_name(keys, offered) is None:
            raise InvalidApiKey(refusal(offered))


def _hints(error: GatewayError) -> Headers:
    """Return the headers that the OpenAI SDKs obey."""
    after = error.retry_after_s
    hint = ("x-should-retry", "true" if error.retryable else "false")
    return (hint,) if after is None else (hint, ("Retry-After", str(after)))


def _answer(
    start_response: Callable[..., object], status: int, body: Any, headers: Headers = ()
) -> Iterable[bytes]:
    text = json.dumps(body).encode()
    length = (("Content-Length", str(len(text))),)
    start_response(f"{status} {HTTPStatus(status).phrase}", [*_HEADERS, *length, *headers])
    return [text]
