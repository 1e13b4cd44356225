"""Faults: whose doing an error is, by its code, in the words of the dashboard and of alerts. Pure."""

from __future__ import annotations

from types import MappingProxyType

CLIENTS = "clients"

_CODES = {
    "upstream": ("UPSTREAM_ERROR", "ANSWER_TOO_LARGE", "server_is_overloaded", "WORKER_TIMEOUT"),
    "account": ("UPSTREAM_AUTH", "UPSTREAM_FORBIDDEN", "insufficient_quota", "rate_limit_exceeded"),
    "gateway": (
        "INTERNAL_ERROR",
        "WORKER_UNAVAILABLE",
        "REQUEST_SUSPECTED",
        "OUT_OF_MEMORY",
        "STORE_UNAVAILABLE",
    ),
    "load": ("WORKER_BUSY", "BODIES_FULL", "PROMPTS_FULL"),
    "operator": ("MAINTENANCE", "DRAINING"),
}

FAULTS = (*_CODES, CLIENTS)
_FAULT_OF = MappingProxyType({code: fault for fault, codes in _CODES.items() for code in codes})


def fault_of(code: str) -> str:
    """Return whose fault an error is, by its code as the metrics have it; `clients` for every other one."""
    return _FAULT_OF.get(code, CLIENTS)
