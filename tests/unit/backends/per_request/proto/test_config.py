"""What `codex proto` is started with and asked."""

from __future__ import annotations

import json

import pytest

from app.backend.request import Model, TurnRequest
from app.backends.per_request.proto.config import (
    OWN_MODELS,
    child_config,
    models,
    submission,
    user_turn,
)
from app.codex.catalog import Offer
from app.codex.config import UPSTREAM_KEY_VARIABLE, Upstream, UpstreamKind, to_arguments

URL = "http://host/v1"


def test_a_configured_upstream_is_asked_once_and_with_its_key_alone() -> None:
    upstream = Upstream(UpstreamKind.CONFIGURED, URL, has_key=True)
    config = child_config(upstream, stream_idle_timeout_ms=5)
    provider = config["model_providers"]["gateway"]
    assert provider == {
        "name": "gateway",
        "base_url": URL,
        "env_key": UPSTREAM_KEY_VARIABLE,
        "wire_api": "responses",
        "request_max_retries": 0,
        "stream_max_retries": 0,
        "stream_idle_timeout_ms": 5,
        "requires_openai_auth": False,
    }


def test_openai_is_asked_with_the_login() -> None:
    config = child_config(Upstream(UpstreamKind.OPENAI), stream_idle_timeout_ms=5)
    provider = config["model_providers"]["gateway"]
    assert provider["requires_openai_auth"] is True
    assert provider["request_max_retries"] == 0
    assert not {"base_url", "env_key"} & provider.keys()


def test_what_can_be_switched_off_is() -> None:
    config = child_config(Upstream(UpstreamKind.DEMO, URL), stream_idle_timeout_ms=5)
    arguments = to_arguments(config)
    for pair in (
        'approval_policy="never"',
        'sandbox_mode="read-only"',
        "tools.web_search=false",
        "tools.view_image=false",
        'history.persistence="none"',
        'shell_environment_policy.inherit="none"',
        "project_doc_max_bytes=0",
    ):
        assert pair in arguments


@pytest.mark.parametrize(
    ("offer", "names"),
    [
        (Offer(), ["gpt-5-codex", "gpt-5"]),
        (Offer(("a", "gpt-5"), has_own=False), ["a", "gpt-5"]),
        (Offer(("a", "gpt-5"), has_own=True), ["gpt-5-codex", "a", "gpt-5"]),
    ],
)
def test_models(offer: Offer, names: list[str]) -> None:
    found = models(offer)
    assert [model.id for model in found] == names
    assert all(model in OWN_MODELS for model in found if model.id != "a")
    unknown = Model("a", ("low", "medium", "high"), None)
    assert all(model == unknown for model in found if model.id == "a")


def test_a_turn_is_asked_for_in_full() -> None:
    request = TurnRequest("m", (), "low", "detailed", output_schema={"type": "object"})
    asked = user_turn(request, ["a", "b"])
    assert asked == {
        "type": "user_turn",
        "items": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}],
        "cwd": "/",
        "approval_policy": "never",
        "sandbox_policy": {"mode": "read-only"},
        "model": "m",
        "effort": "low",
        "summary": "detailed",
        "final_output_json_schema": {"type": "object"},
    }
    assert user_turn(TurnRequest("m", ()), [])["summary"] == "auto"


def test_a_submission_is_a_line() -> None:
    line = submission("3", "shutdown")
    assert line.endswith(b"\n")
    assert json.loads(line) == {"id": "3", "op": {"type": "shutdown"}}
