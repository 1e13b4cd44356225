"""Model catalog that the child is given: codex's own, with everything taken out that would speak for it. Pure.

codex reads from its catalog which tools it offers the model, which instructions it adds, when it compacts a long
history and when it truncates. Feature flags alone do not switch that off (app-server protocol notes, section 3), so
each entry is rewritten: no tools, no instructions, a window that no conversation fills.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

_UNBOUNDED = 1 << 40
"""Tokens or bytes; large enough that codex never compacts a history or truncates a tool's output by itself."""

STRIPPED: Mapping[str, Any] = MappingProxyType(
    {
        "apply_patch_tool_type": None,
        "tool_mode": None,
        "multi_agent_version": None,
        "multi_agent_reasoning_effort": None,
        "use_responses_lite": False,
        "experimental_supported_tools": [],
        "supports_search_tool": False,
        "base_instructions": "",
        "model_messages": None,
        "include_skills_usage_instructions": False,
        "include_plugin_usage_instructions": False,
        "include_apps_usage_instructions": False,
        "context_window": _UNBOUNDED,
        "max_context_window": _UNBOUNDED,
        "auto_compact_token_limit": None,
        "truncation_policy": {"mode": "bytes", "limit": _UNBOUNDED},
        "default_verbosity": None,
        "supports_image_detail_original": True,
    }
)


def strip(catalog: Any) -> dict[str, Any]:
    """Return the catalog with every model rewritten. Members that an entry does not have are not added."""
    models = catalog.get("models") if isinstance(catalog, Mapping) else None
    if not isinstance(models, list) or not models:
        raise ValueError("the codex binary printed a model catalog without models")
    if not all(isinstance(model, Mapping) for model in models):
        raise ValueError("the codex binary printed a model catalog with an entry that is no object")
    return {"models": [_strip_model(model) for model in models]}


def _strip_model(model: Mapping[str, Any]) -> dict[str, Any]:
    return {name: STRIPPED.get(name, value) for name, value in model.items()}
