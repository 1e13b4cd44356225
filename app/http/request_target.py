"""Target of a request as it was written: the path that a proxy in front has judged is the one that is served.

A server decodes a path before it looks for a route, and takes slashes off its beginning. A rule of a proxy in front
(`/internal` is closed to the outside) often looks at the text instead: `//internal/…` and `/%69nternal/…` would go
past it. So a route is served only under its own spelling.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from flask import Flask

from app.errors import UnknownUrl
from app.http.auth import Access
from app.http.request_context import current_record, current_request

_ORIGIN = re.compile(r"https?://[^/?#]*", re.IGNORECASE)
_FOR_CLIENTS = (Access.KEY, Access.PUBLIC)
"""No proxy closes these, and a client whose base URL ends in a slash asks for `//v1/…`."""

_SHOWN = 200


def init_app(app: Flask, access: Mapping[str, Access]) -> None:
    """Refuse other spellings of a route's path. Call it after the request has its record, and before all else."""

    def check() -> None:
        request = current_request()
        rule = request.url_rule
        if rule is None:
            return
        is_for_clients = access.get(request.blueprint or "", Access.KEY) in _FOR_CLIENTS
        # Without a server that tells the target, as in a test of the application alone, there is nothing to compare.
        target = request.environ.get("RAW_URI", request.path)
        if is_as_written(target, rule.rule, is_for_clients=is_for_clients):
            return
        current_record().route = "unmatched"
        raise UnknownUrl(
            f"Unknown request URL: {request.method} {target[:_SHOWN]}. A path is served only as it is documented: "
            "one slash before it, no percent-encoding in its fixed part."
        )

    app.before_request(check)


def is_as_written(target: str, rule: str, *, is_for_clients: bool) -> bool:
    """True if the target of a request line spells the route `rule` (as Flask writes it) in its fixed part.

    A whole URL counts without its origin, and one slash may end the path. What stands for a variable of the rule may be
    encoded in any way. `is_for_clients`: more slashes before it are allowed.
    """
    path = _ORIGIN.sub("", target, count=1).partition("?")[0]
    if is_for_clients and path.startswith("/"):
        path = f"/{path.lstrip('/')}"
    fixed, variable, _ = rule.partition("<")
    if variable:
        return path.startswith(fixed)
    return path in (rule, f"{rule}/")
