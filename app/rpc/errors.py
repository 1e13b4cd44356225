"""Errors of a JSON-RPC call. They know neither HTTP nor the program at the other end; the caller maps them once."""

from __future__ import annotations


class RpcError(Exception):
    """The root: a call came to nothing."""


class ChannelClosed(RpcError):
    """The connection is gone, and the call with it."""


class ChannelFull(RpcError):
    """The other end does not read: more waits to be sent than may wait."""


class CallTimeout(RpcError):
    """No answer came before the call's deadline."""


class CallRefused(RpcError):
    """The other end answered with an error: `code` and `reason` are its own words (JSON-RPC 2.0, section 5.1)."""

    def __init__(self, method: str, code: int, reason: str) -> None:
        super().__init__(f"{method} was refused: {reason} ({code})")
        self.method = method
        self.code = code
        self.reason = reason
