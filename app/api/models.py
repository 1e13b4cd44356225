"""`GET /v1/models` and `GET /v1/models/{name}`: what the child offers, as OpenAI shows it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from flask import Blueprint

from app.answers.model_names import Names, dangling, listed, resolve
from app.backend.request import Model
from app.errors import ModelNotFound, RequestPart, WorkerUnavailable
from app.http.json_schema import INTEGER, STRING, array, component, constant, record, told
from app.http.operation import Operation, answer, described
from app.http.services import services

blueprint = Blueprint("models", __name__)

log = logging.getLogger("codex_api.models")

_CREATED = 1_767_225_600
"""1 January 2026: OpenAI's type asks for a time, codex's catalog has none, and clients show 0 as a day in 1970."""

_FIELDS = {RequestPart.MODEL: "model"}


_MODEL = record({"id": STRING, "object": constant("model"), "created": INTEGER, "owned_by": STRING})
_LIST = record({"object": constant("list"), "data": array(component("Model"))})


@blueprint.get("/v1/models")
@described(Operation(answers=answer(_LIST, "ModelList"), errors=(WorkerUnavailable,)))
def list_models() -> dict[str, Any]:
    """List every model and alias; blocks while the child is still shaking hands."""
    names = listed(services().engine.models(), services().model_names)
    return {"object": "list", "data": [_render(name) for name in names]}


# A path, since the name of an alias may hold a slash.
@blueprint.get("/v1/models/<path:name>")
@described(
    Operation(
        answers=answer(_MODEL, "Model"),
        variables={"name": told(STRING, "Any name that a request may use; it may hold slashes.")},
        errors=(ModelNotFound, WorkerUnavailable),
    )
)
def retrieve_model(name: str) -> dict[str, Any]:
    """Show one model by any name that a request may use, effort variants included. Raises `ModelNotFound`."""
    models, names = services().engine.models(), services().model_names
    return _render(resolve(models, names, _FIELDS, name.removesuffix("/")).name)


def warn_of_dangling(models: Sequence[Model], names: Names) -> None:
    """Log the aliases, and the default, that name no model: requests for them are answered 404."""
    if wrong := dangling(models, names):
        log.warning("model_name_unknown", extra={"names": list(wrong)})


def _render(name: str) -> dict[str, Any]:
    return {
        "id": name,
        "object": "model",
        "created": _CREATED,
        "owned_by": f"codex-{services().engine.backend.upstream}",
    }
