"""First bytes of a connection: what they tell of its request before anything is made for it. Pure.

Loaded by gunicorn's master, too, which must not load the application: so this module imports nothing from `app`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

LOOKED_AT_BYTES = 8192
"""Length of what is looked at: heads are hardly ever longer."""

HEALTH_CHECKS = frozenset({"/livez", "/readyz", "/healthz"})
"""Paths for which nobody has to wait behind what strangers ask."""

_BEGINNINGS = tuple(
    f"{method} {path} ".encode() for method in ("GET", "HEAD") for path in sorted(HEALTH_CHECKS)
)
LONGEST_BEGINNING = max(map(len, _BEGINNINGS))

_END = b"\r\n\r\n"
_AUTHORIZATION = re.compile(rb"\r\nauthorization:[ \t]*([^\r\n]*)\r\n", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class FirstBytes:
    """What the first bytes tell. `authorization` is the header's value, nothing without one."""

    is_whole: bool
    is_health_check: bool
    authorization: str


def read(begun: bytes) -> FirstBytes:
    """Return what is known of a request of which so much has come."""
    head, end, _ = begun.partition(_END)
    found = _AUTHORIZATION.search(head + b"\r\n")
    authorization = found[1].decode("latin-1").strip() if found else ""
    return FirstBytes(bool(end), bool(end) and begins_health_check(begun), authorization)


def begins_health_check(begun: bytes) -> bool:
    """Return True for the beginning of a health check."""
    return begun.startswith(_BEGINNINGS)


def ends_head(more: bytes) -> bool:
    """Return True if a head that has begun is whole with these bytes."""
    return _END in more or (bool(more) and _END.endswith(more))
