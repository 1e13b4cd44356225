"""Request counter of the keys' rate limits, on the `limits` library: in memory, or in a Redis that replicas share.

Windows move: any stretch of a window's length holds at most its limit. While Redis fails, requests are counted in
memory, and one request asks Redis again from time to time (`app.outage`): a limit that is too generous for a while does
less harm than a service that refuses every request.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence

from limits import RateLimitItem, RateLimitItemPerSecond
from limits.storage import MemoryStorage, RedisStorage
from limits.strategies import MovingWindowRateLimiter

from app.http.rate_limit_headers import Decision, WindowState
from app.outage import Outage
from app.redis_pool import redis_pool
from app.settings.values import Window

log = logging.getLogger("codex_api.limits")

_SCOPE = "requests"  # the same on every route: a key has one budget


class LimitStore:
    """Counts requests in the windows of each key: `windows` by key name, the shortest first; none means no limit.

    `url` is `memory://`, or a Redis. `on_failure` is called for each request that Redis did not count. Starts a thread
    that ends at once, in which the library clears what is out of date.
    """

    def __init__(
        self, url: str, windows: Mapping[str, Sequence[Window]], on_failure: Callable[[], None]
    ) -> None:
        # All in seconds: the unit is a part of the name under which Redis counts.
        self._items = {
            name: [RateLimitItemPerSecond(window.limit, window.seconds) for window in of_key]
            for name, of_key in windows.items()
        }
        self._memory = MovingWindowRateLimiter(MemoryStorage())
        self._redis = None if url == "memory://" else _redis(url)
        self._on_failure = on_failure
        self._outage = Outage()

    def hit(self, name: str) -> Decision | None:
        """Count one request of a key, and return whether it fits and what its windows hold; None without a limit.

        A window that refuses counts nothing, and a longer one is not asked then; a shorter one has counted already.
        Blocks for Redis.
        """
        return self._decide(name, counts=True)

    def peek(self, name: str) -> Decision | None:
        """Return what the windows of a key hold, and count nothing; None without a limit. Blocks for Redis."""
        return self._decide(name, counts=False)

    def _decide(self, name: str, *, counts: bool) -> Decision | None:
        items = self._items.get(name)
        if not items:
            return None

        def ask(limiter: MovingWindowRateLimiter) -> Decision:
            is_allowed = not counts or all(limiter.hit(item, name, _SCOPE) for item in items)
            return Decision(is_allowed, tuple(_state(limiter, item, name) for item in items))

        if self._redis is None:
            return ask(self._memory)
        decision = self._asked(self._redis, ask) if self._outage.may_try() else None
        if decision is not None:
            return decision
        if counts:
            self._on_failure()
        return ask(self._memory)

    def _asked(
        self, redis: MovingWindowRateLimiter, ask: Callable[[MovingWindowRateLimiter], Decision]
    ) -> Decision | None:
        """Return what Redis says, None where it fails."""
        try:
            decision = ask(redis)
        except redis.storage.base_exceptions as error:
            if self._outage.note_failure():
                # Only its kind: the text may hold the address, and that a password.
                log.warning("rate_limit_store_lost", extra={"reason": type(error).__name__})
            return None
        if self._outage.note_success():
            log.info("rate_limit_store_back")
        return decision

    def __repr__(self) -> str:
        return f"<LimitStore keys={len(self._items)}{' lost' if self._outage.is_on else ''}>"


def _state(limiter: MovingWindowRateLimiter, item: RateLimitItem, name: str) -> WindowState:
    stats = limiter.get_window_stats(item, name, _SCOPE)
    used = item.amount - stats.remaining
    resets_s = stats.reset_time - time.time() if used else 0.0
    return WindowState(Window(item.amount, item.get_expiry()), used, resets_s)


def _redis(url: str) -> MovingWindowRateLimiter:
    """Return the library's counter over a pool of ours. It learns no address, so it cannot show one."""
    return MovingWindowRateLimiter(
        RedisStorage("redis://", connection_pool=redis_pool(url), key_prefix="codex-api")
    )
