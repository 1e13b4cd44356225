"""Authentication by bearer key: one check for every route, closed unless a route's blueprint says otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from functools import partial

from flask import Flask
from werkzeug.routing import Rule

from app.bearer import caller_name, refusal
from app.errors import InvalidApiKey
from app.http.request_context import current_record, current_request


class Access(Enum):
    """Kind of key that a blueprint asks of its callers."""

    KEY = "key"
    METRICS = "metrics"
    ADMIN = "admin"
    PUBLIC = "public"


_ACCESS = "access"

Keys = Mapping[str, str]
"""Keys by their names, which the log shows."""


def init_app(app: Flask, keys: Mapping[Access, Keys], access: Mapping[str, Access]) -> None:
    """Check the bearer key before every view. `access` is by blueprint name; a name that is missing needs a key.

    `keys` has the keys of each kind. A `PUBLIC` blueprint is open without one, and shows more to a caller with one of
    `KEY`.
    """
    app.extensions[_ACCESS] = access
    encoded = {
        kind: {name: key.encode() for name, key in named.items()} for kind, named in keys.items()
    }

    def check() -> None:
        request = current_request()
        rule = request.url_rule
        needed = access.get(request.blueprint or "", Access.KEY)
        kind = Access.KEY if needed is Access.PUBLIC else needed
        authorization = request.environ.get("HTTP_AUTHORIZATION", "")
        name = caller_name(encoded[kind], authorization)
        current_record().key_name = name
        if rule is None or request.method == "OPTIONS":
            return  # 404, 405 and preflights say nothing that a key protects
        if name is None and needed is not Access.PUBLIC:
            raise InvalidApiKey(refusal(authorization))

    app.before_request(check)
    # For the worker, before there is a request: whatever kind of key it is, its caller is no stranger.
    of_all_kinds = {f"{kind.value} {n}": k for kind in encoded for n, k in encoded[kind].items()}
    app.extensions["caller_of"] = partial(caller_name, of_all_kinds)


def access_of(app: Flask, rule: Rule) -> Access:
    """Return what kind of key a route asks of its callers."""
    access: Mapping[str, Access] = app.extensions[_ACCESS]
    return access.get(rule.endpoint.rpartition(".")[0], Access.KEY)
