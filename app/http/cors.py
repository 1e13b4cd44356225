"""CORS: which web pages may call this gateway from a browser, and what their scripts may read of the answers.

A page needs a key like any other caller: what guards the API is the bearer key, not the origin. So `*`, the default,
gives nothing away, and it never comes with credentials (cookies), which nothing here reads. A list of origins keeps
the scripts of other sites out even where they know a key.

Everything is shared but `/internal` and `/metrics`, errors included, so that a script can read why it was refused.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from flask import Flask, Response, request
from flask_cors import CORS

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

_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+\Z")
"""SDKs and editors send headers of many names (x-stainless-*, http-referer, …): what is asked for is allowed."""

_MAX_AGE_S = 7200
"""How long a browser need not ask again: as long as Chromium allows."""


def init_app(app: Flask, origins: Sequence[str]) -> None:
    """Answer preflights before any key is asked for, and mark the answers. Without origins nothing is done."""
    if not origins:
        return
    is_open = ANY in origins
    CORS(
        app,
        resources=SHARED,
        # Compiled here: the extension would take the brackets of an IPv6 address for a regular expression.
        origins=ANY if is_open else [_exactly(origin) for origin in origins],
        methods=METHODS,
        allow_headers=[_HEADER_NAME],
        expose_headers=EXPOSED,
        max_age=_MAX_AGE_S,
        supports_credentials=False,
        send_wildcard=True,
        # `*` is the same for everyone; else only an origin that was sent can be judged.
        always_send=is_open,
        vary_header=False,
        # Every error is made into a response before the extension sees it.
        intercept_exceptions=False,
        # A public page may reach into a private network only where its origin was named.
        allow_private_network=not is_open,
    )
    app.before_request(_answer_preflight)
    if not is_open:
        app.after_request(_vary)


def _exactly(origin: str) -> re.Pattern[str]:
    # Browsers leave out the port that the scheme implies.
    implied = {"http": ":80", "https": ":443"}.get(origin.partition(":")[0], "")
    return re.compile(re.escape(origin.removesuffix(implied)) + r"\Z", re.IGNORECASE)


def _answer_preflight() -> Response | None:
    """Answer for every path, known or not: the request that follows shall get an answer that its script can read."""
    given = request.headers
    is_preflight = "Origin" in given and "Access-Control-Request-Method" in given
    if request.method != "OPTIONS" or not is_preflight or not SHARED.match(request.path):
        return None
    response = Response(status=204)
    response.vary.update(("Access-Control-Request-Method", "Access-Control-Request-Headers"))
    return response


def _vary(response: Response) -> Response:
    """Keep caches from giving one origin's answer to another; also where no origin was sent, or a foreign one."""
    if SHARED.match(request.path):
        response.vary.add("Origin")
    return response
