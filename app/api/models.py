"""`GET /v1/models`: what the child offers, as OpenAI lists it."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, current_app

from app.codex.client import Codex
from app.codex.methods import Model

blueprint = Blueprint("models", __name__)


@blueprint.get("/v1/models")
def list_models() -> dict[str, Any]:
    """List every model; blocks while the child is still shaking hands."""
    codex: Codex = current_app.extensions["codex"]
    owner = f"codex-{codex.upstream.value}"
    return {"object": "list", "data": [_render(model, owner) for model in codex.models()]}


def _render(model: Model, owner: str) -> dict[str, Any]:
    # codex's catalog has no date; OpenAI's type asks for one.
    return {"id": model.id, "object": "model", "created": 0, "owned_by": owner}
