"""Counts requests in Redis, so that several replicas share each key's limit exactly.

One script reads and writes all windows of a key in one step, by the clock of the server: neither replicas nor their
clocks can disagree. While Redis cannot be asked, each replica counts for itself (in another store), and asks again
after a moment: a limit that is too generous for a while does less harm than a service that refuses everybody.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

from gevent import Timeout
from redis import BlockingConnectionPool, Redis, RedisError
from redis import TimeoutError as RedisTimeout
from redis.backoff import NoBackoff
from redis.retry import Retry

from app.edge.limit_windows import Reading, Store, Verdict
from app.setting_values import Window

log = logging.getLogger("codex_api.limits")

_PATIENCE_S = 0.25
"""Longest time that a request waits for Redis, all included: name, connection, answer."""

PAUSE_S = 1.0
"""How long Redis is left alone after it could not be asked."""

_CONNECTIONS = 16

# KEYS: a list for each window, the newest request first. ARGV: 1 to count, then limit and seconds of each window.
# Entries of one list are in order, so what still counts is found by halving.
_SCRIPT = """
local clock = redis.call('TIME')
local now = clock[1] + clock[2] / 1000000
local function counts(entry, seconds)
  return entry and math.abs(now - tonumber(entry)) < seconds
end
local allowed = 1
for i, key in ipairs(KEYS) do
  local limit, seconds = tonumber(ARGV[2 * i]), tonumber(ARGV[2 * i + 1])
  if counts(redis.call('LINDEX', key, limit - 1), seconds) then allowed = 0 end
end
local answer = {allowed}
for i, key in ipairs(KEYS) do
  local limit, seconds = tonumber(ARGV[2 * i]), tonumber(ARGV[2 * i + 1])
  if allowed == 1 and ARGV[1] == '1' then
    redis.call('LPUSH', key, string.format('%.6f', now))
    redis.call('LTRIM', key, 0, limit - 1)
    redis.call('EXPIRE', key, seconds)
  end
  local used, beyond = 0, redis.call('LLEN', key)
  while used < beyond do
    local middle = math.floor((used + beyond) / 2)
    if counts(redis.call('LINDEX', key, middle), seconds) then used = middle + 1 else beyond = middle end
  end
  local frees, empties = 0, 0
  if used > 0 then empties = redis.call('LINDEX', key, 0) + seconds - now end
  if used >= limit then frees = redis.call('LINDEX', key, limit - 1) + seconds - now end
  answer[#answer + 1] = {used, tostring(frees), tostring(empties)}
end
return answer
"""


class LimitRedis:
    """See the module. `on_failure` is called for each request that Redis did not decide."""

    def __init__(
        self,
        url: str,
        fallback: Store,
        on_failure: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=_CONNECTIONS,
            timeout=_PATIENCE_S,
            socket_timeout=_PATIENCE_S,
            socket_connect_timeout=_PATIENCE_S,
            retry=Retry(NoBackoff(), 0),
            protocol=2,
        )
        self._script = Redis(connection_pool=pool).register_script(_SCRIPT)
        self._fallback = fallback
        self._on_failure = on_failure
        self._clock = clock
        self._ask_again_at = 0.0
        self._is_lost = False

    def take(self, name: str, windows: Sequence[Window]) -> Verdict:
        """Count one request of a key in all its windows, or in none. Blocks. Raises what the fallback raises."""
        return self._ask(name, windows, "1") or self._fallback.take(name, windows)

    def look(self, name: str, windows: Sequence[Window]) -> Verdict:
        """Return what `take` would, and count nothing. Blocks. Raises what the fallback raises."""
        return self._ask(name, windows, "0") or self._fallback.look(name, windows)

    def _ask(self, name: str, windows: Sequence[Window], to_count: str) -> Verdict | None:
        """Return what Redis says, None where it cannot be asked. While it is lost, one request at a time tries."""
        if self._clock() < self._ask_again_at:
            self._on_failure()
            return None
        if self._is_lost:
            self._ask_again_at = self._clock() + PAUSE_S
        # A hash tag: in a cluster, all windows of one key are on one node.
        keys = [f"codex-api:{{{name}}}:{window.limit}/{window.seconds}" for window in windows]
        arguments: list[str | int] = [to_count]
        for window in windows:
            arguments += window.limit, window.seconds
        try:
            with Timeout(_PATIENCE_S, RedisTimeout("no answer in time")):
                answer: Any = self._script(keys, arguments)
        except (RedisError, OSError) as error:
            self._lose(error)
            return None
        self._find()
        return _verdict(answer, windows)

    def _lose(self, error: Exception) -> None:
        self._on_failure()
        self._ask_again_at = self._clock() + PAUSE_S
        if not self._is_lost:
            self._is_lost = True
            # Its text may hold the address, and that a password.
            log.warning("rate_limit_store_lost", extra={"reason": type(error).__name__})

    def _find(self) -> None:
        self._ask_again_at = 0.0
        if self._is_lost:
            self._is_lost = False
            log.info("rate_limit_store_back")

    def __repr__(self) -> str:
        return f"<LimitRedis {'lost' if self._is_lost else 'asked'}>"


def _verdict(answer: Any, windows: Sequence[Window]) -> Verdict:
    allowed, *found = answer
    readings = (
        Reading(window, int(used), float(frees_s), float(empties_s))
        for window, (used, frees_s, empties_s) in zip(windows, found, strict=True)
    )
    return Verdict(bool(allowed), tuple(readings))
