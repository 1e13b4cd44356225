import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.codex.config import Upstream, UpstreamKind, child_config, to_arguments

CATALOG = Path("/home/of/codex/catalog-0123.json")
OPENAI = Upstream(UpstreamKind.OPENAI)
CUSTOM = Upstream(UpstreamKind.CONFIGURED, "https://host/v1", has_key=True, websockets=True)
KEYLESS = Upstream(UpstreamKind.CONFIGURED, "http://host/v1")
DEMO = Upstream(UpstreamKind.DEMO, "http://127.0.0.1:8080/v1")
ALL = [OPENAI, CUSTOM, KEYLESS, DEMO]


def config_of(upstream: Upstream) -> dict[str, Any]:
    return child_config(upstream, catalog=CATALOG, stream_idle_timeout_ms=300_000)


COMMON = {
    "name": "gateway",
    "wire_api": "responses",
    "supports_websockets": False,
    "request_max_retries": 0,
    "stream_max_retries": 0,
    "stream_idle_timeout_ms": 300_000,
    "requires_openai_auth": False,
}


@pytest.mark.parametrize(
    ("upstream", "provider"),
    [
        (OPENAI, {**COMMON, "requires_openai_auth": True}),
        (
            CUSTOM,
            {
                **COMMON,
                "base_url": "https://host/v1",
                "env_key": "GATEWAY_UPSTREAM_KEY",
            },
        ),
        (KEYLESS, {**COMMON, "base_url": "http://host/v1"}),
        (DEMO, {**COMMON, "base_url": "http://127.0.0.1:8080/v1"}),
    ],
)
def test_every_upstream_has_a_provider_entry_of_our_own(
    upstream: Upstream, provider: dict[str, Any]
) -> None:
    config = config_of(upstream)
    assert config["model_provider"] == "gateway"
    assert config["model_providers"]["gateway"] == provider
    assert config["model_catalog_json"] == str(CATALOG)


@pytest.mark.parametrize(("said", "has_another"), [(None, True), (True, True), (False, False)])
def test_one_that_speaks_websocket_has_another_entry_that_does(
    *, said: bool | None, has_another: bool
) -> None:
    providers = config_of(replace(CUSTOM, websockets=said))["model_providers"]
    assert len(providers) == 1 + has_another
    if has_another:
        more = {"supports_websockets": True, "websocket_connect_timeout_ms": 5_000}
        assert providers["gateway_websocket"] == providers["gateway"] | more


def test_only_a_child_that_needs_a_login_reads_one() -> None:
    stores = [config_of(upstream)["cli_auth_credentials_store"] for upstream in ALL]
    assert stores == ["file", "ephemeral", "ephemeral", "ephemeral"]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("approval_policy", "never"),
        ("sandbox_mode", "read-only"),
        ("web_search", "disabled"),
        ("project_doc_max_bytes", 0),
        ("include_permissions_instructions", False),
        ("include_environment_context", False),
        ("include_apps_instructions", False),
        ("include_collaboration_mode_instructions", False),
        ("check_for_update_on_startup", False),
        ("thread_unload_delay_secs", 0),
        ("skills", {"include_instructions": False}),
        ("agents", {"enabled": False}),
        ("analytics", {"enabled": False}),
    ],
)
@pytest.mark.parametrize("upstream", ALL)
def test_the_child_offers_and_adds_nothing_of_its_own(
    upstream: Upstream, key: str, value: Any
) -> None:
    assert config_of(upstream)[key] == value


def test_every_feature_is_off_but_the_one_that_a_service_tier_needs() -> None:
    features = config_of(OPENAI)["features"]
    assert [name for name, is_on in features.items() if is_on] == ["fast_mode"]
    assert features["shell_tool"] is features["unified_exec"] is features["view_image"] is False


@pytest.mark.parametrize(
    ("upstream", "needs_tls"), [(OPENAI, True), (CUSTOM, True), (KEYLESS, False), (DEMO, False)]
)
def test_only_plain_http_needs_no_certificates(upstream: Upstream, *, needs_tls: bool) -> None:
    assert upstream.needs_tls is needs_tls


# Arguments


def parsed(arguments: list[str]) -> dict[str, Any]:
    assert arguments[::2] == ["-c"] * (len(arguments) // 2)
    return tomllib.loads("\n".join(arguments[1::2]))


@pytest.mark.parametrize("upstream", ALL)
def test_the_arguments_are_the_configuration_as_toml(upstream: Upstream) -> None:
    assert parsed(to_arguments(config_of(upstream))) == config_of(upstream)


@pytest.mark.parametrize(
    ("config", "arguments"),
    [
        ({}, []),
        ({"b": 1, "a": True}, ["-c", "a=true", "-c", "b=1"]),
        ({"t": {"b": "x", "a": {"c": False}}}, ["-c", "t.a.c=false", "-c", 't.b="x"']),
        ({"path": '/a "b"\\c'}, ["-c", 'path="/a \\"b\\"\\\\c"']),
        ({"list": ["a", 1]}, ["-c", 'list=["a",1]']),
    ],
)
def test_each_leaf_is_one_argument_in_a_fixed_order(
    config: dict[str, Any], arguments: list[str]
) -> None:
    assert to_arguments(config) == arguments


def test_the_order_of_the_table_does_not_show() -> None:
    config = config_of(CUSTOM)
    assert to_arguments(dict(reversed(config.items()))) == to_arguments(config)


NAMES = st.text("abcdefgh_", min_size=1, max_size=4)
# Lone surrogates are no text and DEL is refused by TOML; neither is in a path that anybody has.
VALUES = (
    st.booleans()
    | st.integers(-(1 << 63), (1 << 63) - 1)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x7f"), max_size=5)
)
TABLES = st.recursive(
    st.dictionaries(NAMES, VALUES, min_size=1, max_size=3),
    lambda inner: st.dictionaries(NAMES, VALUES | inner, min_size=1, max_size=3),
    max_leaves=6,
)


@given(TABLES)
def test_any_table_survives_the_command_line(config: dict[str, Any]) -> None:
    assert parsed(to_arguments(config)) == config
