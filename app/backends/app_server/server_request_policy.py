"""Policy for the requests that the *child* makes: the answer to each. Pure.

The gateway never acts for the model: every approval is declined, every question is answered with nothing, and a call of
a tool that no client offered fails. An unanswered request would hang its turn for ever, so a method that is not in the
table is refused, not ignored.
Shapes: `ServerRequest` and the `*Response` schemas of the pinned binary.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from app.rpc.messages import METHOD_NOT_FOUND


@dataclass(frozen=True, slots=True)
class Answer:
    """A result that says no."""

    result: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Refusal:
    """A JSON-RPC error: there is no way to say no inside a result."""

    code: int
    message: str


TOOL_CALL = "item/tool/call"
"""The one request that may concern a tool of the client; see `app.backends.app_server.server_requests`."""

_NO_TOOL = "This gateway runs no tools."

ANSWERS: Mapping[str, Answer | Refusal] = MappingProxyType(
    {
        "item/commandExecution/requestApproval": Answer({"decision": "decline"}),
        "item/fileChange/requestApproval": Answer({"decision": "decline"}),
        "item/permissions/requestApproval": Answer({"permissions": {}, "scope": "turn"}),
        "item/tool/requestUserInput": Answer({"answers": {}}),
        TOOL_CALL: Answer(
            {"contentItems": [{"type": "inputText", "text": _NO_TOOL}], "success": False}
        ),
        "mcpServer/elicitation/request": Answer({"action": "decline", "content": None}),
        "applyPatchApproval": Answer({"decision": {"denied": {"rejection": _NO_TOOL}}}),
        "execCommandApproval": Answer({"decision": {"denied": {"rejection": _NO_TOOL}}}),
        "account/chatgptAuthTokens/refresh": Refusal(
            METHOD_NOT_FOUND, "The codex process keeps its own login."
        ),
        "attestation/generate": Refusal(METHOD_NOT_FOUND, "This client attests nothing."),
        "currentTime/read": Refusal(METHOD_NOT_FOUND, "This client gives no time."),
    }
)


def answer_to(method: str) -> Answer | Refusal:
    """Return what to say to a server request; never None."""
    return ANSWERS.get(method) or Refusal(METHOD_NOT_FOUND, "This client does not know the method.")
