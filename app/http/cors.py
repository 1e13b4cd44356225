"""CORS policy: web pages that may call this gateway from a browser, and what their scripts may read of the answers.

A page needs a key like any other caller: what guards the API is the bearer key, not the origin. So `*`, the default,
gives nothing away, and it never comes with credentials (cookies), which nothing here reads. A list of origins keeps
the scripts of other sites out even where they know a key.

Everything is shared but `/internal` and `/metrics`, errors included, so that a script can read why it was refused.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from flask import Flask, Request, Response, current_app
from werkzeug.datastructures import Headers

from app.http.request_context import current_request

ANY = "*"

SHARED = re.compile(r"/(?!(?:internal|metrics)(?:/|\Z))")
"""Matches the start of every path that pages of other origins may call."""

METHODS = ("DELETE", "GET", "HEAD", "OPTIONS", "POST")

EXPOSED = (
    "openai-organization",
    "openai-processing-ms",
    "openai-version",
    "retry-after",
    "retry-after-ms",
    "x-codex-primary-reset-at",
    "x-codex-primary-used-percent",
    "x-codex-primary-window-minutes",
    "x-codex-secondary-reset-at",
    "x-codex-secondary-used-percent",
    "x-codex-secondary-window-minutes",
    "x-ratelimit-limit-requests",
    "x-ratelimit-limit-tokens",
    "x-ratelimit-remaining-requests",
    "x-ratelimit-remaining-tokens",
    "x-ratelimit-reset-requests",
    "x-ratelimit-reset-tokens",
    "x-request-id",
    "x-should-retry",
)
"""Headers of an answer that clients look at; a script sees no other, apart from the few that are always visible."""

_EXPOSED = ", ".join(EXPOSED)

_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
"""SDKs and editors send headers of many names (x-stainless-*, http-referer, …): what is asked for is allowed."""

_EXTENSION = "cors_origins"

_MAX_AGE_S = 7200
"""How long a browser need not ask again: as long as Chromium allows."""


def init_app(app: Flask, origins: Sequence[str]) -> None:
    """Answer preflights before any key is asked for, and mark the answers. Without origins nothing is done."""
    app.extensions[_EXTENSION] = frozenset(map(_without_implied_port, origins))
    if origins:
        policy = _Policy(origins)
        app.before_request(policy.answer_preflight)
        app.after_request(policy.share)


def allows_page(origin: str | None, host: str) -> bool:
    """Return True for a page of `host` itself or of an origin that may call, and for a caller that is no page.

    For a WebSocket, which browsers open for any page without asking first.
    """
    if origin is None:
        return True
    allowed: frozenset[str] = current_app.extensions[_EXTENSION]
    return ANY in allowed or origin.lower() in allowed or origin.partition("://")[2] == host


class _Policy:
    def __init__(self, origins: Sequence[str]) -> None:
        self._is_open = ANY in origins
        self._listed = frozenset(map(_without_implied_port, origins))

    def answer_preflight(self) -> Response | None:
        """Answer for every path, known or not: a script shall be able to read the answer to what follows."""
        request = current_request()
        if request.method != "OPTIONS" or not SHARED.match(request.path):
            return None
        given = request.headers
        if "Origin" not in given or "Access-Control-Request-Method" not in given:
            return None
        response = Response(status=204)
        response.vary.update(("Access-Control-Request-Method", "Access-Control-Request-Headers"))
        if self._allowed_origin(request):
            # A public page may reach into a private network only where its origin was named.
            response.headers.extend(_grants(given, private_network=not self._is_open))
        return response

    def share(self, response: Response) -> Response:
        """Say who may read the answer, and which of its headers."""
        request = current_request()
        if not SHARED.match(request.path):
            return response
        if not self._is_open:
            # Keeps caches from giving one origin's answer to another; also where none was sent, or a foreign one.
            response.vary.add("Origin")
        if origin := self._allowed_origin(request):
            response.headers["Access-Control-Allow-Origin"] = origin
            response.headers["Access-Control-Expose-Headers"] = _EXPOSED
        return response

    def _allowed_origin(self, request: Request) -> str | None:
        if self._is_open:
            return ANY
        origin = request.headers.get("Origin", "")
        return origin if origin.lower() in self._listed else None


def _without_implied_port(origin: str) -> str:
    """Return an origin in lower case, and as browsers send it: without the port that its scheme implies."""
    implied = {"http": ":80", "https": ":443"}.get(origin.partition(":")[0], "")
    return origin.removesuffix(implied).lower()


def _grants(preflight: Headers, *, private_network: bool) -> dict[str, str]:
    """Return what the request after a preflight with these headers may be."""
    granted = {}
    if preflight.get("Access-Control-Request-Private-Network") == "true":
        granted["Access-Control-Allow-Private-Network"] = "true" if private_network else "false"
    if preflight["Access-Control-Request-Method"].upper() in METHODS:
        granted["Access-Control-Allow-Methods"] = ", ".join(METHODS)
        granted["Access-Control-Max-Age"] = str(_MAX_AGE_S)
        asked = preflight.get("Access-Control-Request-Headers", "").split(",")
        if names := sorted(filter(_HEADER_NAME.fullmatch, map(str.strip, asked))):
            granted["Access-Control-Allow-Headers"] = ", ".join(names)
    return granted
