"""Gate of `/v1`, closed while an operator works on the service.

It comes after the check of keys, so that only callers with a key learn of it, and closes only for requests that a view
would answer: an unknown path is a 404 and a preflight is a preflight all the same. A request that has passed is served
to its end, also out of the queue.
"""

from __future__ import annotations

import time

from flask import Flask

from app.http.maintenance_flag import MaintenanceFlag
from app.http.request_context import current_request


def init_app(app: Flask, flag: MaintenanceFlag) -> None:
    """Refuse what begins during maintenance. Call it after auth, and before what counts the requests of a caller."""

    def check() -> None:
        request = current_request()
        rule = request.url_rule
        if rule is None or request.method == "OPTIONS" or not rule.rule.startswith("/v1/"):
            return
        state = flag.state()
        if state.is_on:
            raise state.refusal(time.time())

    app.before_request(check)
