"""Views of `/internal/maintenance`. Each answers with the whole state."""

from __future__ import annotations

import time
from typing import Any

from flask import Blueprint

from app.api.internal.maintenance.request import parse_maintenance
from app.http.body import read_json_object
from app.http.services import services

blueprint = Blueprint("maintenance", __name__, url_prefix="/internal/maintenance")


@blueprint.get("")
def show() -> dict[str, Any]:
    """Answer with what holds now."""
    return services().maintenance.state().to_json()


@blueprint.post("")
def change() -> dict[str, Any]:
    """Set the flag. Nothing of what was set before stays."""
    return services().maintenance.set(parse_maintenance(read_json_object(), time.time())).to_json()


@blueprint.delete("")
def reset() -> dict[str, Any]:
    """Go back to PROXY_MAINTENANCE_MODE."""
    return services().maintenance.reset().to_json()
