"""Pool of connections to a Redis that is never waited for long, and whose address is never shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from redis import BlockingConnectionPool

CONNECT_S = 0.25
"""Longest wait for a connection. Half of it was too short on a busy machine: a false outage."""

CONNECTIONS = 64
"""Enough that a crowd does not wait for one another for so long that it looks like an outage."""


def redis_pool(url: str, timeout_s: float = CONNECT_S) -> BlockingConnectionPool:
    """Return connections to the server of a URL; one step of it may take `timeout_s`. Connects to nothing yet."""
    from redis import BlockingConnectionPool  # noqa: PLC0415  (loaded only where it is used)
    from redis.backoff import NoBackoff  # noqa: PLC0415
    from redis.retry import Retry  # noqa: PLC0415

    pool: BlockingConnectionPool = BlockingConnectionPool.from_url(
        url,
        max_connections=CONNECTIONS,
        timeout=CONNECT_S,
        socket_timeout=timeout_s,
        socket_connect_timeout=CONNECT_S,
        retry=Retry(NoBackoff(), 0),
        protocol=2,
    )
    return pool
