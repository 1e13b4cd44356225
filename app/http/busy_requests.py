"""Budget of requests in progress: where few files may be open, some connections stay free for health and operators.

With as many connections as the settings ask for, the limits on turns, streams and bodies keep some free; this one then
never refuses.
"""

from __future__ import annotations

from collections.abc import Mapping

from flask import Flask, request

from app.budget import Budget
from app.errors import WorkerBusy
from app.http.auth import Access
from app.http.request_lifetime import current_lifetime

EXTENSION = "busy_requests"


class BusyRequests(Budget):
    """At most `limit` requests of clients at once. One more is refused with `WorkerBusy`."""

    def __init__(self, limit: int) -> None:
        super().__init__(limit, self._busy)

    def _busy(self) -> WorkerBusy:
        return WorkerBusy(
            f"This gateway has {self.limit} requests in progress, as many as its limit of open files allows; "
            "try again shortly."
        )


def init_app(app: Flask, limit: int, access: Mapping[str, Access]) -> None:
    """Count every POST that a client key opens until it is over. To be called after `auth.init_app`."""
    budget = app.extensions[EXTENSION] = BusyRequests(limit)

    def check() -> None:
        is_clients = access.get(request.blueprint or "", Access.KEY) is Access.KEY
        if request.method == "POST" and is_clients:
            current_lifetime().on_close(budget.reserve().release)

    app.before_request(check)
