"""RPCs that the gateway uses: parameters in, validated results out. Pure.

One function for each direction of each method, so that what we say to codex and what we believe of its answers stands
in one place. Results are checked before anything is streamed; `ProtocolError` names what is wrong.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from app.backend.request import Item, Model, TurnRequest
from app.backends.app_server.parse_events import ThreadId, TurnId, member
from app.codex.config import WEBSOCKET_PROVIDER

CLIENT_NAME = "codex_completions_api"

UNUSED_NOTIFICATIONS = (
    "thread/started",
    "thread/status/changed",
    "thread/closed",
    "thread/settings/updated",
    "turn/started",
    "turn/diff/updated",
    "item/completed",
    "item/reasoning/summaryPartAdded",
    "configWarning",
    "deprecationNotice",
    "remoteControl/status/changed",
    "mcpServer/startupStatus/updated",
    "skills/changed",
)
"""Not sent to us (`optOutNotificationMethods`)."""


FALLBACK = "warning"
"""What codex says where it goes back from a WebSocket to HTTP, and not only then."""


def is_fallback(params: dict[str, Any]) -> bool:
    """Return True for a `warning` that says so."""
    return "WebSocket" in str(params.get("message"))


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
    return member(result, "userAgent", str, "initialize")


def codex_version(user_agent: str) -> str:
    """Return codex's version from `name/1.2.3 (system) …`; the whole text if it looks otherwise."""
    name, _, rest = user_agent.partition("/")
    return rest.split(" ", 1)[0] if name and rest else user_agent


AUTH_STATUS = {"includeToken": False, "refreshToken": False}
"""Parameters of `getAuthStatus`, which asks nobody outside. codex knows it, and its own schema does not name it."""


def renewal_params() -> dict[str, Any]:
    """Parameters of `account/read` with which codex renews a ChatGPT login before it looks at it."""
    return {"refreshToken": True}


def parse_auth_method(result: Any) -> str | None:
    """Return the kind of login that codex sends with its requests; None where it would send none."""
    found = result.get("authMethod") if isinstance(result, dict) else None
    return found if isinstance(found, str) else None


def thread_start_params(request: TurnRequest, *, over_websocket: bool = False) -> dict[str, Any]:
    """Parameters of `thread/start` for a thread that is nothing but the caller's conversation."""
    params: dict[str, Any] = {
        "model": request.model,
        "ephemeral": True,
        "sandbox": "read-only",
        "approvalPolicy": "never",
        "environments": [],
        "baseInstructions": "",
        "developerInstructions": "",
        "experimentalRawEvents": True,
    }
    if over_websocket:
        params["modelProvider"] = WEBSOCKET_PROVIDER
    if request.tools:
        params["dynamicTools"] = list(request.tools)
    if request.verbosity is not None:
        # The only thing that has no other way; a thread with a configuration of its own starts more slowly.
        params["config"] = {"model_verbosity": request.verbosity}
    return params


def parse_thread_id(result: Any) -> ThreadId:
    """Return the id of the thread that `thread/start` made."""
    thread = member(result, "thread", dict, "thread/start")
    return ThreadId(member(thread, "id", str, "thread/start"))


def inject_items_params(thread_id: ThreadId, items: Iterable[Item]) -> dict[str, Any]:
    """Parameters of `thread/inject_items`: the history, or the next part of it."""
    return {"threadId": thread_id, "items": list(items)}


def turn_start_params(thread_id: ThreadId, request: TurnRequest) -> dict[str, Any]:
    """Parameters of `turn/start`. The input is empty: everything was injected, nothing is added.

    The model is told here too: a warm thread was started before it was known.
    """
    options = {
        "model": request.model,
        "effort": request.effort,
        "summary": request.summary,
        "outputSchema": request.output_schema,
        "serviceTier": request.service_tier,
    }
    given = {name: value for name, value in options.items() if value is not None}
    return {"threadId": thread_id, "input": [], **given}


def parse_turn_id(result: Any) -> TurnId:
    """Return the id of the turn that `turn/start` began."""
    turn = member(result, "turn", dict, "turn/start")
    return TurnId(member(turn, "id", str, "turn/start"))


def interrupt_params(thread_id: ThreadId, turn_id: TurnId) -> dict[str, Any]:
    """Parameters of `turn/interrupt`."""
    return {"threadId": thread_id, "turnId": turn_id}


def unsubscribe_params(thread_id: ThreadId) -> dict[str, Any]:
    """Parameters of `thread/unsubscribe`, after which codex unloads the thread."""
    return {"threadId": thread_id}


def read_params(thread_id: ThreadId) -> dict[str, Any]:
    """Parameters of `thread/read`, without the thread's turns."""
    return {"threadId": thread_id}


def is_active(result: Any) -> bool:
    """Return True if `thread/read` says that a turn runs on the thread."""
    thread = member(result, "thread", dict, "thread/read")
    status = member(thread, "status", dict, "thread/read")
    return member(status, "type", str, "thread/read") == "active"


def loaded_list_params() -> dict[str, Any]:
    """Parameters of `thread/loaded/list`: the cheapest question, asked for the sake of the answer."""
    return {"limit": 1}


def model_list_params(cursor: str | None) -> dict[str, Any]:
    """Parameters of one page of `model/list`."""
    return {} if cursor is None else {"cursor": cursor}


def parse_models(result: Any) -> tuple[list[Model], str | None]:
    """Return one page of `model/list` and the cursor of the next, None at the end."""
    where = "model/list"
    models = [_parse_model(entry, where) for entry in member(result, "data", list, where)]
    cursor = result.get("nextCursor")
    return models, cursor if isinstance(cursor, str) else None


def _parse_model(entry: Any, where: str) -> Model:
    options = member(entry, "supportedReasoningEfforts", list, where)
    efforts = tuple(member(option, "reasoningEffort", str, where) for option in options)
    default = member(entry, "defaultReasoningEffort", str, where)
    is_none = default == "none" and default not in efforts  # so codex says that it sends no effort
    return Model(
        id=member(entry, "model", str, where),
        efforts=efforts,
        default_effort=None if is_none else default,
    )
