"""Configuration of `codex proto`, and its submissions. Pure.

0.42 keeps all it writes below CODEX_HOME, every conversation included; so each process has a CODEX_HOME of its own.
What the model is offered cannot be switched off altogether: see ADR-0066.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import orjson

from app.backend.request import Model, TurnRequest
from app.codex.catalog import EFFORTS, Offer
from app.codex.config import PROVIDER, UPSTREAM_KEY_VARIABLE, Upstream, UpstreamKind

TESTED_VERSION = "0.42.0"
LAST_MINOR = 42
"""The last one that has `codex proto` is 0.42."""

CWD = "/"
"""The working directory that is named to the model: one that tells nothing of this machine."""

_NEVER = 1 << 40
_FAMILY = "gpt-5"
"""What a model that 0.42 does not know is taken for: one that reasons, and is offered the fewest tools."""

_PURE: Mapping[str, Any] = MappingProxyType(
    {
        "model_provider": PROVIDER,
        "model": _FAMILY,
        "approval_policy": "never",
        "sandbox_mode": "read-only",
        "project_doc_max_bytes": 0,
        "model_context_window": _NEVER,
        "model_auto_compact_token_limit": _NEVER,
        "show_raw_agent_reasoning": True,
        "history": {"persistence": "none"},
        "tools": {"web_search": False, "view_image": False},
        "experimental_use_exec_command_tool": False,
        "experimental_use_unified_exec_tool": False,
        # Of a command that could not even be started.
        "shell_environment_policy": {"inherit": "none"},
    }
)


def child_config(upstream: Upstream, *, stream_idle_timeout_ms: int) -> dict[str, Any]:
    """Return the configuration that all processes have in common, as nested tables."""
    provider: dict[str, Any] = {
        "name": PROVIDER,
        "wire_api": "responses",
        "request_max_retries": 0,
        "stream_max_retries": 0,
        "stream_idle_timeout_ms": stream_idle_timeout_ms,
        "requires_openai_auth": upstream.kind is UpstreamKind.OPENAI,
    }
    if upstream.base_url:
        provider["base_url"] = upstream.base_url
    if upstream.has_key:
        provider["env_key"] = UPSTREAM_KEY_VARIABLE
    return {**_PURE, "model_providers": {PROVIDER: provider}}


OWN_MODELS = (
    Model("gpt-5-codex", ("low", "medium", "high"), "medium"),
    Model("gpt-5", ("minimal", "low", "medium", "high"), "medium"),
)
"""What 0.42 offers in its own menu. It has no call that would list them."""


def models(offer: Offer) -> tuple[Model, ...]:
    """Return the models of an offer. Of those that 0.42 does not know, the efforts are what every server has."""
    own = {model.id: model for model in OWN_MODELS}
    named = tuple(own.get(name, Model(name, EFFORTS, None)) for name in offer.names)
    if not offer.has_own:
        return named
    return (*(model for model in OWN_MODELS if model.id not in offer.names), *named)


def user_turn(request: TurnRequest, lines: Sequence[str]) -> dict[str, Any]:
    """Return the operation that asks the model: the conversation, a part of the text for each line of it."""
    return {
        "type": "user_turn",
        "items": [{"type": "text", "text": line} for line in lines],
        "cwd": CWD,
        "approval_policy": "never",
        "sandbox_policy": {"mode": "read-only"},
        "model": request.model,
        "effort": request.effort,
        "summary": request.summary or "auto",
        "final_output_json_schema": request.output_schema,
    }


def submission(number: str, kind: str) -> bytes:
    """Return a line for an operation without parameters."""
    return orjson.dumps({"id": number, "op": {"type": kind}}) + b"\n"
