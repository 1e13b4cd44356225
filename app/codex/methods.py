"""The RPCs that we use: parameters in, validated results out. Pure.

One function for each direction of each method, so that what we say to codex and what we believe of its answers stands
in one place. Results are checked before anything is streamed; `ProtocolError` names what is wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app.codex.events import ProtocolError, ThreadId, TurnId, TurnRequest

CLIENT_NAME = "codex_completions_api"

UNUSED_NOTIFICATIONS = (
    "thread/started",
    "thread/status/changed",
    "thread/closed",
    "thread/settings/updated",
    "turn/started",
    "turn/diff/updated",
    "item/started",
    "item/completed",
    "item/reasoning/summaryPartAdded",
    "error",
    "warning",
    "configWarning",
    "deprecationNotice",
    "account/rateLimits/updated",
    "remoteControl/status/changed",
    "mcpServer/startupStatus/updated",
    "skills/changed",
)
"""Not sent to us (`optOutNotificationMethods`). `error` repeats what `turn/completed` says when retries are off."""


@dataclass(frozen=True, slots=True)
class Model:
    """One entry of `model/list`."""

    id: str
    efforts: tuple[str, ...]
    default_effort: str


def initialize_params(version: str) -> dict[str, Any]:
    """Parameters of `initialize`; the experimental API is what has `inject_items` and ephemeral threads."""
    return {
        "clientInfo": {"name": CLIENT_NAME, "title": CLIENT_NAME, "version": version},
        "capabilities": {
            "experimentalApi": True,
            "requestAttestation": False,
            "optOutNotificationMethods": list(UNUSED_NOTIFICATIONS),
        },
    }


def parse_user_agent(result: Any) -> str:
    """Return the child's own name and version from the result of `initialize`."""
    return str(_member(result, "userAgent", str, "initialize"))


def thread_start_params(request: TurnRequest) -> dict[str, Any]:
    """Parameters of `thread/start` for a thread that is nothing but the caller's conversation."""
    return {
        "model": request.model,
        "ephemeral": True,
        "sandbox": "read-only",
        "approvalPolicy": "never",
        "environments": [],
        "baseInstructions": "",
        "developerInstructions": "",
        "experimentalRawEvents": True,
    }


def parse_thread_id(result: Any) -> ThreadId:
    """Return the id of the thread that `thread/start` made."""
    thread = _member(result, "thread", Mapping, "thread/start")
    return ThreadId(_member(thread, "id", str, "thread/start"))


def inject_items_params(thread_id: ThreadId, request: TurnRequest) -> dict[str, Any]:
    """Parameters of `thread/inject_items`: the whole history."""
    return {"threadId": thread_id, "items": list(request.items)}


def turn_start_params(thread_id: ThreadId, request: TurnRequest) -> dict[str, Any]:
    """Parameters of `turn/start`. The input is empty: everything was injected, nothing is added."""
    params: dict[str, Any] = {"threadId": thread_id, "input": []}
    if request.effort is not None:
        params["effort"] = request.effort
    return params


def parse_turn_id(result: Any) -> TurnId:
    """Return the id of the turn that `turn/start` began."""
    turn = _member(result, "turn", Mapping, "turn/start")
    return TurnId(_member(turn, "id", str, "turn/start"))


def interrupt_params(thread_id: ThreadId, turn_id: TurnId) -> dict[str, Any]:
    """Parameters of `turn/interrupt`."""
    return {"threadId": thread_id, "turnId": turn_id}


def unsubscribe_params(thread_id: ThreadId) -> dict[str, Any]:
    """Parameters of `thread/unsubscribe`, after which codex unloads the thread."""
    return {"threadId": thread_id}


def model_list_params(cursor: str | None) -> dict[str, Any]:
    """Parameters of one page of `model/list`."""
    return {} if cursor is None else {"cursor": cursor}


def parse_models(result: Any) -> tuple[list[Model], str | None]:
    """Return one page of `model/list` and the cursor of the next, None at the end."""
    where = "model/list"
    models = [_parse_model(entry, where) for entry in _member(result, "data", list, where)]
    cursor = result.get("nextCursor")
    return models, cursor if isinstance(cursor, str) else None


def _parse_model(entry: Any, where: str) -> Model:
    options = _member(entry, "supportedReasoningEfforts", list, where)
    return Model(
        id=_member(entry, "model", str, where),
        efforts=tuple(_member(option, "reasoningEffort", str, where) for option in options),
        default_effort=_member(entry, "defaultReasoningEffort", str, where),
    )


def _member(result: Any, name: str, kind: type[Any], where: str) -> Any:
    value = result.get(name) if isinstance(result, Mapping) else None
    if not isinstance(value, kind):
        raise ProtocolError(where, name)
    return value
