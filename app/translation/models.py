"""Which model a request names, and how hard it may think. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from app.codex.methods import Model
from app.errors import InvalidRequest, ModelNotFound


def find_model(models: Iterable[Model], name: str) -> Model:
    """Return the model of that name. Raises `ModelNotFound`."""
    for model in models:
        if model.id == name:
            return model
    raise ModelNotFound(
        f"The model `{name[:100]}` does not exist or you do not have access to it. "
        "GET /v1/models lists those that do.",
        param="model",
    )


def check_effort(model: Model, effort: str | None) -> str | None:
    """Return the effort if the model knows it (codex would hand on any word). Raises `InvalidRequest`."""
    if effort is None or effort in model.efforts:
        return effort
    supported = ", ".join(f"'{name}'" for name in model.efforts)
    raise InvalidRequest(
        f"Unsupported value: 'reasoning_effort' does not support '{effort[:60]}' with this model. "
        f"Supported values are: {supported}.",
        param="reasoning_effort",
        code="unsupported_value",
    )
