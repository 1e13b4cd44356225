"""Configuration of the child: one table, handed over on its command line. Pure.

On the command line, because it is then immutable for as long as the child lives: codex reads its `config.toml` again
at every `thread/start`, so that a file rewritten for the next generation would reach the present one (ADR-0006).
Nothing secret is in here: keys travel in the environment, under the name that `env_key` gives.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from types import MappingProxyType
from typing import Any

import orjson

UPSTREAM_KEY_VARIABLE = "GATEWAY_UPSTREAM_KEY"
"""The variable in the *child's* environment that holds the key for a configured upstream."""

PROVIDER = "gateway"
WEBSOCKET_PROVIDER = "gateway_websocket"
"""The same upstream for those threads that use a WebSocket."""

_WEBSOCKET_CONNECT_MS = 5_000
"""Then codex goes back to HTTP. Its own limit is 15 s, as long as a request waits for a slow network that drops it."""


class UpstreamKind(Enum):
    """Who answers in the end. The value is what clients see in `codex_metadata.upstream`."""

    OPENAI = "openai"
    CONFIGURED = "custom"
    DEMO = "demo"


@dataclass(frozen=True, slots=True)
class Upstream:
    """The Responses API behind the child. `base_url` is empty for OpenAI: codex derives it from the login.

    `websockets` says whether it speaks WebSocket; None where that is found out.
    """

    kind: UpstreamKind
    base_url: str = ""
    has_key: bool = False
    websockets: bool | None = False

    @property
    def needs_tls(self) -> bool:
        """False only where every connection of the child is plain HTTP."""
        return not self.base_url.startswith("http://")


_FEATURES_OFF = [
    "shell_tool",
    "unified_exec",
    "apps",
    "plugins",
    "goals",
    "hooks",
    "image_generation",
    "view_image",
    "skill_search",
    "tool_suggest",
    "memories",
    "browser_use",
    "computer_use",
    "in_app_browser",
    "code_mode_host",
    "shell_snapshot",
    "skill_mcp_dependency_install",
    "workspace_dependencies",
    "remote_plugin",
    "plugin_sharing",
    "auth_elicitation",
    "mentions_v2",
    # With it codex waits for an upstream that it cannot reach, for ever, and the turn has to be interrupted.
    "unbounded_connection_retries",
]

_PURE: Mapping[str, Any] = MappingProxyType(
    {
        "model_provider": PROVIDER,
        "approval_policy": "never",
        "sandbox_mode": "read-only",
        "web_search": "disabled",
        "project_doc_max_bytes": 0,
        "include_permissions_instructions": False,
        "include_environment_context": False,
        "include_apps_instructions": False,
        "include_collaboration_mode_instructions": False,
        "check_for_update_on_startup": False,
        # Without this and thread/unsubscribe every finished thread stays loaded (0.9 MB each).
        "thread_unload_delay_secs": 0,
        "skills": {"include_instructions": False},
        "tools": {"web_search": False, "experimental_request_user_input": {"enabled": False}},
        "agents": {"enabled": False},
        "analytics": {"enabled": False},
        # fast_mode stays on: with it off, a service tier of "priority" is silently not sent.
        "features": dict.fromkeys(_FEATURES_OFF, False) | {"fast_mode": True},
    }
)


def child_config(
    upstream: Upstream, *, catalog: Path, stream_idle_timeout_ms: int
) -> dict[str, Any]:
    """Return the whole configuration as nested tables.

    The provider entry is our own also for OpenAI, because codex's built-in one retries by itself: that repeats
    deltas which the client has already seen.
    """
    provider: dict[str, Any] = {
        "name": PROVIDER,
        "wire_api": "responses",
        "supports_websockets": False,
        "request_max_retries": 0,
        "stream_max_retries": 0,
        "stream_idle_timeout_ms": stream_idle_timeout_ms,
        "requires_openai_auth": upstream.kind is UpstreamKind.OPENAI,
    }
    if upstream.base_url:
        provider["base_url"] = upstream.base_url
    if upstream.has_key:
        provider["env_key"] = UPSTREAM_KEY_VARIABLE
    providers = {PROVIDER: provider}
    if upstream.websockets is not False:
        providers[WEBSOCKET_PROVIDER] = provider | {
            "supports_websockets": True,
            "websocket_connect_timeout_ms": _WEBSOCKET_CONNECT_MS,
        }
    return {
        **_PURE,
        # A child that needs no login reads none: it would renew one all the same, and spend it in its start.
        "cli_auth_credentials_store": "file"
        if upstream.kind is UpstreamKind.OPENAI
        else "ephemeral",
        "model_catalog_json": str(catalog),
        "model_providers": providers,
    }


def to_arguments(config: Mapping[str, Any]) -> list[str]:
    """Return `-c key=value` pairs, one for each leaf, in a fixed order. Values are JSON, which TOML reads alike."""
    arguments: list[str] = []
    for key, value in sorted(_leaves(config)):
        arguments += ["-c", f"{key}={orjson.dumps(value).decode()}"]
    return arguments


def _leaves(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in table.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
