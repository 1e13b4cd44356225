"""What it means when the child refuses a call. Pure."""

from __future__ import annotations

from app.errors import GatewayError, InvalidRequest, WorkerUnavailable
from app.rpc.channel import RpcError
from app.rpc.messages import OVERLOADED


def to_gateway_error(error: RpcError) -> GatewayError:
    """Return the error that our caller should see for a call that the child refused."""
    if error.rpc_code == OVERLOADED:
        return WorkerUnavailable("The codex process is overloaded; try again shortly.")
    if error.method == "thread/inject_items":
        return InvalidRequest("The conversation was refused by codex.", param="messages")
    if error.method == "thread/start" and "dynamic" in error.rpc_message.lower():
        return InvalidRequest("A tool was refused by codex.", param="tools")
    return error
