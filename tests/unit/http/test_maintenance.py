"""The gate, before every route that there is, in an application that no master started."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from flask import Flask
from werkzeug.routing import Rule

from app import create_app
from app.http.maintenance_flag import Maintenance
from app.settings import load_settings

KEY = "q7Vd0m2XvK9sLw4Tz1Bn8RcJ"
BEARER = {"Authorization": f"Bearer {KEY}"}


@pytest.fixture
def app(tmp_path: Path) -> Flask:
    return create_app(
        load_settings(
            {
                "PROXY_API_KEY": KEY,
                "PROXY_MAINTENANCE_MODE": "true",
                "CODEX_HOME": str(tmp_path),
                "CODEX_UPSTREAM_URL": "http://127.0.0.1:9/v1",
            }
        )
    )


def requests_of(rule: Rule) -> list[tuple[str, str]]:
    path = re.sub(r"<[^>]+>", "something", rule.rule)
    return [(method, path) for method in sorted(rule.methods or ()) if method != "OPTIONS"]


def test_it_closes_every_route_below_v1_and_no_other(app: Flask) -> None:
    client = app.test_client()
    # Without an upgrade the route of a WebSocket does not exist.
    rules = [rule for rule in app.url_map.iter_rules() if not rule.websocket]
    asked = [pair for rule in rules for pair in requests_of(rule)]
    closed = {
        (method, path)
        for method, path in asked
        # DELETE /internal/maintenance resets to the setting, which is on.
        if client.open(path, method=method, headers=BEARER).headers.get("Retry-After") == "30"
    }
    assert closed == {(method, path) for method, path in asked if path.startswith("/v1/")}
    assert closed


def test_a_key_is_asked_for_first(app: Flask) -> None:
    client = app.test_client()
    assert client.get("/v1/models").status_code == 401
    assert client.get("/v1/models", headers=BEARER).status_code == 503
    assert client.options("/v1/models").status_code == 200
    assert client.get("/v1/nothing", headers=BEARER).status_code == 404


def test_what_is_set_counts_at_once(app: Flask) -> None:
    client = app.test_client()
    app.extensions["services"].maintenance.set(Maintenance(False))
    assert client.post("/v1/chat/completions", headers=BEARER).status_code == 415
    app.extensions["services"].maintenance.reset()
    assert client.post("/v1/chat/completions", headers=BEARER).status_code == 503
