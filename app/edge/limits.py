"""What one key may ask of this gateway: so many requests in a while, and so many at once.

Counted is what starts work: every POST that a client key opens, on whichever route, in one budget for each key. Keys
are known by their configured names, after the key was checked, so whoever has none leaves nothing behind here, and
neither the spelling of a path nor an address makes a difference.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from flask import Flask, Response, g, request

from app.codex.account import AccountLimits
from app.edge.auth import Access
from app.edge.context import current_record
from app.edge.life import current_life
from app.edge.limit_windows import Store, Verdict, account_headers, rate_headers, refusal
from app.errors import KeyLimited
from app.setting_values import Window

log = logging.getLogger("codex_api.limits")


class KeyLimits:
    """The limits of every key. `windows` is by key name; a key that is missing, or has none, is not counted at all.

    `max_concurrency` is for each key, 0 for no limit. `on_failure` is called where nothing could be counted.
    """

    def __init__(
        self,
        store: Store,
        windows: Mapping[str, Sequence[Window]],
        max_concurrency: int,
        on_failure: Callable[[], None],
    ) -> None:
        self._store = store
        self._windows = windows
        self._max_concurrency = max_concurrency
        self._on_failure = on_failure
        self._in_progress: Counter[str] = Counter()
        self._is_counting = True

    def enter(self, name: str) -> None:
        """Let one request of a key in until its end, or raise `KeyLimited`. May block for Redis."""
        record = current_record()
        if not self._begin(name):
            record.limited_by = "key_concurrency"
            self._judge(name, self._store.look)
            raise KeyLimited(
                f"Your key '{name}' has as many requests in progress at this gateway as it may have at once "
                f"({self._max_concurrency}). Wait until one of them has ended. "
                "(It is this gateway's own limit, not the account's.)",
                code="KEY_BUSY",
            )
        verdict = self._judge(name, self._store.take)
        if verdict is not None and not verdict.is_allowed:
            record.limited_by = "key_rate"
            raise refusal(verdict, name)

    def _begin(self, name: str) -> bool:
        """Take one of the places of a key, if there is one left; it is given back when the request is over."""
        if not self._max_concurrency:
            return True
        if self._in_progress[name] >= self._max_concurrency:
            return False
        self._in_progress[name] += 1
        current_life().at_end(lambda: self._end(name))
        return True

    def _end(self, name: str) -> None:
        self._in_progress[name] -= 1

    def _judge(self, name: str, ask: Callable[[str, Sequence[Window]], Verdict]) -> Verdict | None:
        """Return what the store says, for the headers, too; None without a limit, or if nothing can be counted."""
        windows = self._windows.get(name)
        if not windows:
            return None
        try:
            verdict = ask(name, windows)
        except OSError as error:
            # Disk full, or CODEX_HOME taken away: no reason to refuse everybody.
            self._on_failure()
            if self._is_counting:
                log.warning("rate_limit_not_counted", extra={"reason": type(error).__name__})
            self._is_counting = False
            return None
        self._is_counting = True
        g.rate_verdict = verdict
        return verdict

    def __repr__(self) -> str:
        return f"<KeyLimits {self._store!r} in_progress={self._in_progress.total()}>"


def init_app(
    app: Flask, limits: KeyLimits, access: Mapping[str, Access], account: AccountLimits
) -> None:
    """Check every POST that a client key opens, and show its caller both limits: the key's own, and the account's.

    To be called after `auth.init_app`, with the same `access`.
    """

    def check() -> None:
        name = _caller(access)
        if name is not None and request.method == "POST":
            limits.enter(name)

    def add_headers(response: Response) -> Response:
        verdict: Verdict | None = g.get("rate_verdict")
        if verdict is not None:
            response.headers.extend(rate_headers(verdict))
        if _caller(access) is not None:
            response.headers.extend(account_headers(account.windows(time.time())))
        return response

    app.before_request(check)
    app.after_request(add_headers)


def _caller(access: Mapping[str, Access]) -> str | None:
    """Return the name of the key, on a route that client keys open; None on others, and for a caller without one."""
    if (
        request.url_rule is None
        or access.get(request.blueprint or "", Access.KEY) is not Access.KEY
    ):
        return None
    return current_record().key_name
