"""Limits of client keys: how many requests in a while, and how many at once.

Counted is what starts work: every POST that a client key opens, on whichever route, in one budget for each key. And
every request of a key has one of the places that all keys share, of which none may have all: whatever its requests
wait for, others find a connection. Keys are known by their configured names, after the key was checked, so a caller
without a key takes no memory here, and neither the spelling of a path nor an address makes a difference.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from functools import partial
from typing import TYPE_CHECKING

from flask import Flask, Request, Response, g

from app.backend.account import AccountLimits
from app.budget import Budget, SharedBudget, Shares
from app.errors import KeyLimited, WorkerBusy
from app.http.auth import Access
from app.http.rate_limit_headers import Decision, account_headers, rate_headers, refusal
from app.http.request_context import current_record, current_request
from app.http.request_lifetime import current_lifetime

if TYPE_CHECKING:
    from app.http.limit_store import LimitStore


class KeyLimits:
    """The limits of every key. Without a `store` there is none on requests in a while.

    `max_concurrency` is for each key, 0 for no limit; `places` are for the requests of all of them.
    """

    def __init__(self, store: LimitStore | None, max_concurrency: int, places: Shares) -> None:
        self._store = store
        self._places = SharedBudget(places, _full)
        self._max_concurrency = max_concurrency
        self._in_progress: dict[str, Budget] = {}

    @property
    def decision(self) -> Decision | None:
        """What was decided about the request being served, where its windows were looked at."""
        return None if self._store is None else g.get("rate_decision")

    def take_place(self, name: str) -> None:
        """Let a request of a key be in progress until its end, or raise `WorkerBusy`."""
        current_lifetime().on_close(self._places.reserve(name).release)

    def enter(self, name: str) -> None:
        """Let one request of a key in until its end, or raise `KeyLimited`. May block for Redis."""
        record = current_record()
        try:
            self._reserve(name)
        except KeyLimited:
            record.limited_by = "key_concurrency"
            if self._store is not None:
                g.rate_decision = self._store.peek(name)
            raise
        if self._store is None:
            return
        g.rate_decision = decision = self._store.hit(name)
        if decision is not None and not decision.is_allowed:
            record.limited_by = "key_rate"
            raise refusal(decision, name)

    def _reserve(self, name: str) -> None:
        """Take one of the places of a key until the request is over. Raises `KeyLimited`."""
        if not self._max_concurrency:
            return
        limit = self._max_concurrency
        budget = self._in_progress.setdefault(name, Budget(limit, partial(_busy, name, limit)))
        current_lifetime().on_close(budget.reserve().release)

    def __repr__(self) -> str:
        return f"<KeyLimits {self._store!r} in_progress={sum(b.used for b in self._in_progress.values())}>"


def _full(is_share: bool) -> WorkerBusy:  # noqa: FBT001  (called by the budget)
    if is_share:
        return WorkerBusy(
            "Your key has as many requests in progress at this gateway as it may have beside others; try again shortly."
        )
    return WorkerBusy(
        "This gateway has as many requests in progress as it may have; try again shortly."
    )


def _busy(name: str, limit: int) -> KeyLimited:
    return KeyLimited(
        f"Your key '{name}' has as many requests in progress at this gateway as it may have at once ({limit}). "
        "Wait until one of them has ended. (It is this gateway's own limit, not the account's.)",
        code="KEY_BUSY",
    )


def init_app(
    app: Flask,
    limits: KeyLimits,
    access: Mapping[str, Access],
    account: AccountLimits,
    starts_nothing: Collection[str] = (),
) -> None:
    """Check every POST that a client key opens, and show its caller both limits: the key's own, and the account's.

    `starts_nothing` has the endpoints of those that only end what runs: a key at its limit must be able to.
    To be called after `auth.init_app`, with the same `access`.
    """

    def check() -> None:
        request = current_request()
        name = _caller(access, request)
        if name is None:
            return
        limits.take_place(name)
        if request.method == "POST" and request.endpoint not in starts_nothing:
            limits.enter(name)

    def add_headers(response: Response) -> Response:
        if (decision := limits.decision) is not None:
            response.headers.extend(rate_headers(decision))
        if _caller(access, current_request()) is not None:
            for name, value in account_headers(account.windows(time.time())).items():
                response.headers.add(name, value)
        return response

    app.before_request(check)
    app.after_request(add_headers)


def _caller(access: Mapping[str, Access], request: Request) -> str | None:
    """Return the name of the key, on a route that client keys open; None on others, and for a caller without one."""
    if (
        request.url_rule is None
        or access.get(request.blueprint or "", Access.KEY) is not Access.KEY
    ):
        return None
    return current_record().key_name
