"""Errors of the channel and of codex's protocol, mapped to the gateway's: the one boundary between the two.

What the caller cannot be told is logged: codex's own sentence may quote the request, its code and method do not.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager

from app.backends.app_server.parse_events import ProtocolError
from app.errors import (
    GatewayError,
    InternalError,
    InvalidRequest,
    RequestPart,
    ToolRefused,
    UpstreamError,
    WorkerLost,
    WorkerUnavailable,
)
from app.rpc.errors import CallRefused, CallTimeout, ChannelClosed, RpcError
from app.rpc.messages import OVERLOADED

log = logging.getLogger("codex_api.codex")


@contextmanager
def mapped() -> Iterator[None]:
    """Raise the gateway's error in place of a channel's, or of an answer that codex's schema does not allow."""
    try:
        yield
    except RpcError as error:
        raise to_gateway_error(error) from error
    except ProtocolError as error:
        log.warning("codex_protocol_error", extra={"field": error.field})
        raise UpstreamError(
            "The codex process answered in a way that this gateway does not know."
        ) from error


def to_gateway_error(error: RpcError) -> GatewayError:
    """Return the error that the caller of the gateway should see."""
    match error:
        case CallRefused():
            return _refused(error)
        case ChannelClosed():
            return WorkerLost("The codex process went away; try again shortly.")
        case CallTimeout():
            return WorkerUnavailable("The codex process did not answer in time.")
    return WorkerUnavailable("The codex process is not keeping up; try again shortly.")


def _refused(error: CallRefused) -> GatewayError:
    if error.code == OVERLOADED:
        return WorkerUnavailable("The codex process is overloaded; try again shortly.")
    if error.method == "thread/inject_items":
        return InvalidRequest("The conversation was refused by codex.", part=RequestPart.PROMPT)
    if error.method == "thread/start" and "dynamic" in error.reason.lower():
        return _tool_refused(error.reason)
    log.error("codex_call_refused", extra={"method": error.method, "code": error.code})
    return InternalError(
        "The codex process refused an internal call; this gateway's log says which."
    )


_NAME = re.compile(r"(?: for|:) ([a-zA-Z0-9_-]{1,128})(?=:|\Z)")
_REASON = 200
"""Characters of codex's reason that the caller is told; it may quote the tool."""


def _tool_refused(sentence: str) -> ToolRefused:
    """Return the error with the name from codex's sentence (`dynamic tool name is reserved: mcp` and the like)."""
    error = ToolRefused("A tool was refused by codex.", part=RequestPart.TOOLS)
    if found := _NAME.search(sentence):
        error.alias, error.reason = found[1], sentence[:_REASON]
    return error
