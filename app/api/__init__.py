"""Endpoints: one folder each, or one module while it needs no schema.

This table is where an endpoint is switched on, and where one sees at a glance who may call it.
"""

from __future__ import annotations

from flask import Blueprint, Flask

from app.api import (
    chat_completions,
    completions,
    health,
    home,
    metrics,
    models,
    openapi,
    responses,
)
from app.api.internal import console, log_level, maintenance, recent, status, traces, usage
from app.http.auth import Access

BLUEPRINTS: tuple[tuple[Blueprint, Access], ...] = (
    (chat_completions.blueprint, Access.KEY),
    (completions.blueprint, Access.KEY),
    (responses.blueprint, Access.KEY),
    (models.blueprint, Access.KEY),
    (health.blueprint, Access.PUBLIC),
    (home.blueprint, Access.PUBLIC),
    (openapi.blueprint, Access.PUBLIC),
    (metrics.blueprint, Access.METRICS),
    (log_level.blueprint, Access.ADMIN),
    (maintenance.blueprint, Access.ADMIN),
    (traces.blueprint, Access.ADMIN),
    (usage.blueprint, Access.ADMIN),
    (status.blueprint, Access.ADMIN),
    (recent.blueprint, Access.ADMIN),
    (console.blueprint, Access.PUBLIC),
)

STARTS_NOTHING = frozenset({"responses.cancel_response"})
"""Endpoints of POST that start no work, which the limits of keys let through."""


def init_app(app: Flask, *, has_admin: bool, has_home: bool, has_console: bool) -> None:
    """Register every endpoint; without an admin key `/internal` does not exist, and both pages can be off."""
    is_on = {home.blueprint: has_home, console.blueprint: has_admin and has_console}
    for blueprint, needed in BLUEPRINTS:
        if is_on.get(blueprint, has_admin or needed is not Access.ADMIN):
            app.register_blueprint(blueprint)


def access_by_blueprint(*, protect_models: bool) -> dict[str, Access]:
    """Return who may call what; `PROXY_PROTECT_MODELS=false` opens the model list."""
    access = {blueprint.name: needed for blueprint, needed in BLUEPRINTS}
    if not protect_models:
        access[models.blueprint.name] = Access.PUBLIC
    return access
