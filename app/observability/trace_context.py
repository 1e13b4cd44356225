"""Trace context of W3C: what the header `traceparent` says, read strictly. Pure."""

from __future__ import annotations

import re
from typing import NamedTuple

_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_SAMPLED = 1


class TraceContext(NamedTuple):
    """Where a caller is in its own trace: ids in lower-case hexadecimal, and whether it records."""

    trace_id: str
    span_id: str
    is_sampled: bool


def parse_traceparent(header: str | None) -> TraceContext | None:
    """Return what the header says, None where there is none or it is invalid: then a new trace begins.

    Of a later version, what it has in common with version 00 is read, as the recommendation wants it.
    """
    found = _TRACEPARENT.fullmatch(header or "")
    if found is None:
        return None
    version, trace_id, span_id, flags, more = found.groups()
    is_invalid = version == "ff" or (version == "00" and more is not None)
    if is_invalid or not int(trace_id, 16) or not int(span_id, 16):
        return None
    return TraceContext(trace_id, span_id, bool(int(flags, 16) & _SAMPLED))
