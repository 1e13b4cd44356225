"""Model catalog that the child is given: codex's own, with everything taken out that would speak for it. Pure.

codex reads from its catalog which tools it offers the model, which instructions it adds, when it compacts a long
history and when it truncates. Feature flags alone do not switch that off (app-server protocol notes, section 3), so
each entry is rewritten: no tools, no instructions, a window that no conversation fills.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class Offer:
    """The models that the child offers: those that codex knows by itself, the named ones, or both."""

    names: tuple[str, ...] = ()
    has_own: bool = True


OWN_MODELS = Offer()

EFFORTS = ("low", "medium", "high")
"""What a model may be asked for of which nothing is known: the words that every server with efforts has."""

UNKNOWN: Mapping[str, Any] = MappingProxyType(
    {
        "description": None,
        # None by default: then no effort is sent, and a model without reasoning is not asked for it.
        "default_reasoning_level": None,
        "supported_reasoning_levels": [{"effort": word, "description": ""} for word in EFFORTS],
        "upgrade": None,
        "availability_nux": None,
        # What a model is not said to have, codex drops from the request without a word.
        "support_verbosity": True,
        "service_tiers": [
            {"id": word, "name": word, "description": ""} for word in ("priority", "flex")
        ],
        "input_modalities": ["text", "image"],
    }
)
"""Members of an entry for a model that codex does not know; the rest is that of one it knows."""


def offering(stripped: Mapping[str, Any], offer: Offer) -> dict[str, Any]:
    """Return a stripped catalog that holds the models of the offer, the named ones in their order.

    A named model that codex knows keeps what codex knows of it, also where codex itself hides it.
    """
    own = {str(model.get("slug")): model for model in stripped["models"]}
    template = next((model for model in own.values() if model.get("visibility") == "list"), None)
    if template is None or not offer.names:
        return dict(stripped)
    named = [
        _named(own.get(name) or {**template, **UNKNOWN}, name, place)
        for place, name in enumerate(offer.names)
    ]
    before = [own[slug] for slug in own if slug not in offer.names] if offer.has_own else []
    return {**stripped, "models": [*before, *named]}


_AFTER_CODEX = 1000


def _named(entry: Mapping[str, Any], name: str, place: int) -> dict[str, Any]:
    shown = {"visibility": "list", "supported_in_api": True, "priority": _AFTER_CODEX + place}
    return {**entry, "slug": name, "display_name": name, **shown}


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
