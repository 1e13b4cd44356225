"""Counts requests with Flask-Limiter: in the worker's memory, or in a Redis that several replicas share.

Windows move: any stretch of a window's length holds at most its limit. While Redis cannot be asked, the library counts
in memory, and asks again after 1, 2, 4 … 32 seconds: a limit that is too generous for a while does less harm than a
service that refuses everybody.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from flask import Flask, g
from flask_limiter import Limiter, RateLimitExceeded
from limits import RateLimitItem, parse_many
from limits.storage import RedisStorage

from app.http.rate_limit_headers import Reading, Verdict
from app.setting_values import Window

log = logging.getLogger("codex_api.limits")

_PATIENCE_S = 0.25
"""Longest wait for one step of Redis. One request of each outage takes two: its own, and the library's check.

Half of it was too short on a busy machine: a false outage, and more requests served than the limit.
"""

_CONNECTIONS = 64
"""Enough that a crowd does not wait for one another for so long that it looks like an outage."""

_SCOPE = "requests"  # the same on every route: a key has one budget


class LimitStore:
    """See the module. `windows` is by key name, the shortest first; a key without one is not counted.

    `url` is `memory://`, or a Redis. `on_failure` is called for each request that Redis did not decide.
    Starts a thread that ends at once, in which the library clears what is out of date.
    """

    def __init__(
        self,
        app: Flask,
        url: str,
        windows: Mapping[str, Sequence[Window]],
        on_failure: Callable[[], None],
    ) -> None:
        texts = {name: _text(of_key) for name, of_key in windows.items() if of_key}
        self._items = {name: parse_many(text) for name, text in texts.items()}
        self._on_failure = on_failure
        self._is_lost = False
        is_shared = url != "memory://"
        self._limiter = Limiter(
            lambda: str(g.limited_key),
            app=app,
            strategy="moving-window",
            storage_uri=f"{_WatchedRedis.SCHEME}://" if is_shared else url,
            storage_options=_redis_options(url) if is_shared else {},
            in_memory_fallback_enabled=is_shared,
            headers_enabled=False,
        )
        # It looks at every request by itself, too: at none but those in `take`, so that no other one waits for Redis.
        self._limiter.request_filter(lambda: "limited_key" not in g)
        count = self._limiter.shared_limit(lambda: texts[g.limited_key], scope=_SCOPE)
        self._count = count(_nothing)

    def take(self, name: str) -> Verdict | None:
        """Count one request of a key, and say whether it fits; None without a limit, or if nobody could count.

        A window that refuses counts nothing, and a longer one is not asked then; a shorter one has counted already.
        Blocks for Redis.
        """
        if name not in self._items:
            return None
        g.limited_key = name
        try:
            is_allowed = self._ask()
        finally:
            del g.limited_key
        self._notice(is_counted=is_allowed is not None)
        return None if is_allowed is None else self._read(name, is_allowed=is_allowed)

    def look(self, name: str) -> Verdict | None:
        """Return what the windows of a key hold, and count nothing; None as for `take`. Blocks for Redis."""
        return self._read(name, is_allowed=True) if name in self._items else None

    def _ask(self) -> bool | None:
        # Twice: who still waited for Redis when another request noticed the outage is not caught by the library.
        for _ in range(2):
            try:
                self._count()
            except RateLimitExceeded:
                return False
            except self._limiter.storage.base_exceptions:
                continue
            return True
        return None

    def _read(self, name: str, *, is_allowed: bool) -> Verdict | None:
        strategy, now = self._limiter.limiter, time.time()
        try:
            found = [strategy.get_window_stats(item, name, _SCOPE) for item in self._items[name]]
        except self._limiter.storage.base_exceptions:
            self._on_failure()
            return None
        readings = (
            _reading(item, stats.remaining, stats.reset_time - now)
            for item, stats in zip(self._items[name], found, strict=True)
        )
        return Verdict(is_allowed, tuple(readings))

    def _notice(self, *, is_counted: bool) -> None:
        """Log the beginning and the end of an outage, and count what falls into it."""
        storage = self._limiter.storage
        is_lost = self._limiter.limiter.storage is not storage
        if is_lost or not is_counted:
            self._on_failure()
        if is_lost == self._is_lost:
            return
        self._is_lost = is_lost
        if is_lost and isinstance(storage, _WatchedRedis):
            log.warning("rate_limit_store_lost", extra={"reason": storage.reason})
        else:
            log.info("rate_limit_store_back")

    def __repr__(self) -> str:
        return f"<LimitStore keys={len(self._items)}{' lost' if self._is_lost else ''}>"


def _nothing() -> None:
    """What is decorated: to call it is to count."""


def _text(windows: Sequence[Window]) -> str:
    # All in seconds: the library asks short units first, and equal ones in this order.
    return ";".join(f"{window.limit}/{window.seconds} second" for window in windows)


def _reading(item: RateLimitItem, remaining: int, resets_s: float) -> Reading:
    used = item.amount - remaining
    return Reading(Window(item.amount, item.get_expiry()), used, resets_s if used else 0.0)


class _WatchedRedis(RedisStorage):
    """The library's storage, which remembers why it could not be asked: the library itself does not tell."""

    SCHEME = "codex-redis"
    STORAGE_SCHEME = [SCHEME]  # noqa: RUF012 - as the library declares it
    reason = "unknown"

    def acquire_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        try:
            return super().acquire_entry(key, limit, expiry, amount)
        except self.base_exceptions as error:
            # Its text may hold the address, and that a password.
            self.reason = type(error).__name__
            raise


def _redis_options(url: str) -> dict[str, Any]:
    """Return a pool that never waits long. The library learns no address, so it cannot show one."""
    from redis import BlockingConnectionPool  # noqa: PLC0415  (loaded only where it is used)
    from redis.backoff import NoBackoff  # noqa: PLC0415
    from redis.retry import Retry  # noqa: PLC0415

    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=_CONNECTIONS,
        timeout=_PATIENCE_S,
        socket_timeout=_PATIENCE_S,
        socket_connect_timeout=_PATIENCE_S,
        retry=Retry(NoBackoff(), 0),
        protocol=2,
    )
    return {"connection_pool": pool, "key_prefix": "codex-api"}
