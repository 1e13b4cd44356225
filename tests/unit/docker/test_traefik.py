"""The labels for Traefik: which requests come through, by whom they are judged, and what is not reachable at all."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from app.settings import VARIABLES
from tests.e2e.compose import FOLDER, labels, merged, variables
from tests.e2e.traefik import Configuration, holds

HOST = "api.example.com"
P = "codex-gateway-prod"
BOTH = ["compose.yaml", "compose.traefik.yaml"]
SERVICES: dict[str, Any] = merged(BOTH, variables("prod"))["services"]
EDGE = Configuration.of(labels(SERVICES["gateway"]))
BYPASS = Configuration.of(
    labels(merged([*BOTH, "compose.bypass-auth.yaml"], variables("prod"))["services"]["gateway"])
)
DEFAULTS = {variable.metadata["name"]: variable.metadata["default"] for variable in VARIABLES}


def route(method: str, path: str, host: str = HOST) -> str | None:
    found = EDGE.route(host, method, path)
    return found and found.removeprefix(f"{P}-")


@pytest.mark.parametrize(
    ("rule", "path", "taken"),
    [
        ("Path(`/a`) || PathPrefix(`/a/`)", "/a", True),
        ("Path(`/a`) || PathPrefix(`/a/`)", "/ab", False),
        ("Host(`h`) && (Path(`/a`) || Path(`/b`))", "/b", True),
        ("Host(`x`) && Path(`/a`) || Path(`/b`)", "/b", True),
        ("!Path(`/a`) && (Method(`GET`) || Method(`HEAD`))", "/b", True),
        ("Method(`POST`) && Path(`/b`)", "/b", False),
    ],
)
def test_rules_are_understood(rule: str, path: str, *, taken: bool) -> None:
    assert holds(rule, "h", "GET", path) is taken


def test_a_rule_of_version_2_is_not_understood() -> None:
    with pytest.raises(AssertionError, match="not understood"):
        holds("Method(`GET`, `HEAD`)", "h", "GET", "/")


@pytest.mark.parametrize(
    ("method", "path", "router"),
    [
        ("POST", "/v1/chat/completions", "api"),
        ("POST", "/v1/chat/completions/", "api"),
        ("POST", "/v1/completions", "api"),
        ("POST", "/v1/responses", "api"),
        ("GET", "/v1/responses/resp_1", "api"),
        ("DELETE", "/v1/responses/resp_1", "api"),
        ("POST", "/v1/models", "api"),
        ("GET", "/v1", "api"),
        ("GET", "/v1/models", "models"),
        ("HEAD", "/v1/models/gpt-5.5", "models"),
        ("OPTIONS", "/v1/chat/completions", "preflight"),
        ("OPTIONS", "/v1/models", "preflight"),
        ("GET", "/readyz", "health"),
        ("GET", "/healthz", "health"),
        ("HEAD", "/livez", "health"),
    ],
)
def test_what_clients_call_is_routed(method: str, path: str, router: str) -> None:
    assert route(method, path) == router
    assert route(method, path, "other.example.com") is None


@pytest.mark.parametrize("method", ["GET", "POST", "HEAD", "OPTIONS", "PUT"])
@pytest.mark.parametrize(
    "path",
    [
        "/internal",
        "/internal/",
        "/internal/maintenance",
        "/internal/traces",
        "/internal/log-level",
        "/metrics",
        "/metrics/",
        "//internal/maintenance",
        "/%69nternal/maintenance",
        "/INTERNAL/maintenance",
        "/",
        "/verify",
        "/v1x",
        "/v1internal",
        "/readyz/../metrics",
        "/healthz/metrics",
    ],
)
def test_the_rest_is_traefiks_404(method: str, path: str) -> None:
    assert route(method, path) is None


@pytest.mark.parametrize("path", ["/v1/../internal/maintenance", "/v1/..%2fmetrics"])
def test_a_way_out_of_v1_would_be_the_gateways_404(path: str) -> None:
    """Traefik resolves dots before it looks; if it did not, ForwardAuth and the gateway's one spelling are left."""
    assert route("GET", path) == "api"
    assert f"{P}-auth" in EDGE.middlewares_of(f"{P}-api")


def test_everything_that_costs_a_turn_is_asked_of_forward_auth() -> None:
    asked = {name for name in EDGE.routers if f"{P}-auth" in EDGE.middlewares_of(name)}
    assert asked == {f"{P}-api"}
    for path in ("/v1/chat/completions", "/v1/completions", "/v1/responses"):
        for method in ("POST", "GET", "DELETE", "PUT", "PATCH"):
            assert route(method, path) == "api"


@pytest.mark.parametrize("name", EDGE.routers)
def test_every_router_is_encrypted_limited_and_has_the_headers(name: str) -> None:
    router = EDGE.routers[name]
    assert (router["entrypoints"], router["tls"], router["service"]) == ("websecure", "true", P)
    assert set(EDGE.middlewares_of(name)) >= {f"{P}-headers", f"{P}-rate"}
    assert set(EDGE.middlewares_of(name)) <= set(EDGE.middlewares)
    assert router["rule"].startswith(f"Host(`{HOST}`) && ")


def test_limits_come_before_keys_are_compared() -> None:
    order = EDGE.middlewares_of(f"{P}-api")
    assert order.index(f"{P}-rate") < order.index(f"{P}-auth")


def test_the_sidecar_is_asked_where_it_is() -> None:
    asked = EDGE.middlewares[f"{P}-auth"]
    sidecar = SERVICES["forward-auth"]
    (alias,) = sidecar["networks"]["traefik"]["aliases"]
    bound = sidecar["command"][sidecar["command"].index("-b") + 1]
    port = bound.rpartition(":")[2]
    assert asked["forwardauth.address"] == f"http://{alias}:{port}/verify"
    assert f"'127.0.0.1', {port}" in sidecar["healthcheck"]["test"][-1]
    assert asked["forwardauth.authrequestheaders"] == "Authorization", "it is shown nothing else"
    assert "ports" not in sidecar
    assert not labels(sidecar), "no router leads to it"


def test_replicas_that_are_not_ready_get_nothing() -> None:
    service = EDGE.services[P]
    assert service["loadbalancer.server.port"] == "11435"
    assert service["loadbalancer.healthcheck.path"] == "/readyz"


def test_no_middleware_holds_frames_back() -> None:
    kinds = {option.partition(".")[0] for made in EDGE.middlewares.values() for option in made}
    assert kinds == {"ratelimit", "headers", "forwardauth"}


def test_the_bypass_takes_forward_auth_away_and_changes_nothing_else() -> None:
    api = f"{P}-api"
    assert BYPASS.middlewares_of(api) == [
        name for name in EDGE.middlewares_of(api) if name != f"{P}-auth"
    ]
    assert BYPASS.routers | {api: EDGE.routers[api]} == EDGE.routers
    assert (BYPASS.services, BYPASS.middlewares) == (EDGE.services, EDGE.middlewares)


def test_stages_beside_each_other_share_no_name() -> None:
    other = Configuration.of(labels(merged(BOTH, variables("staging"))["services"]["gateway"]))
    for kind in ("routers", "services", "middlewares"):
        assert not set(getattr(other, kind)) & set(getattr(EDGE, kind))


# Traefik's own configuration


def seconds(text: str) -> int:
    found = re.fullmatch(r"(\d+)s", text)
    assert found, text
    return int(found[1])


def test_traefik_is_patient_with_streams_and_gives_up_connections_before_the_gateway_does() -> None:
    static = yaml.safe_load((FOLDER / "traefik" / "traefik.yml").read_text())
    client = static["entryPoints"]["websecure"]["transport"]["respondingTimeouts"]
    server = static["serversTransport"]["forwardingTimeouts"]
    assert seconds(client["writeTimeout"]) == 0
    assert seconds(server["responseHeaderTimeout"]) == 0
    assert seconds(client["readTimeout"]) * 1000 > int(DEFAULTS["PROXY_BODY_TIMEOUT_MS"])
    assert seconds(server["idleConnTimeout"]) < int(DEFAULTS["PROXY_KEEPALIVE_S"])
    docker = static["providers"]["docker"]
    assert docker["exposedByDefault"] is False
    assert docker["allowEmptyServices"] is True, "a 503 may be tried again, a 404 is final"
    assert {"websecure"} == {router["entrypoints"] for router in EDGE.routers.values()}
