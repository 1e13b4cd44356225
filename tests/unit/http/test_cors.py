from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.datastructures import Headers
from werkzeug.test import TestResponse

from app.backend.account import WINDOWS, AccountWindow
from app.errors import InvalidApiKey
from app.http import cors, error_handlers, request_context, request_lifetime, services
from app.http.rate_limit_headers import account_headers

PAGE = "https://page.example"
ALLOW = "Access-Control-Allow-Origin"


def client(*origins: str) -> FlaskClient:
    """The edge as it is wired, with a key check that nobody passes on `/v1/locked`."""
    app = Flask("test", static_folder=None)
    app.url_map.strict_slashes = False
    options = SimpleNamespace(tells_defects=False)
    without_listeners: Any = SimpleNamespace(listeners=(), options=options)
    services.init_app(app, without_listeners)
    request_lifetime.init_app(app, Counter())
    request_context.init_app(app)
    cors.init_app(app, origins)
    error_handlers.init_app(app)

    @app.route("/v1/open", methods=["GET", "POST"])
    @app.get("/healthz")
    @app.get("/metrics")
    @app.get("/internal/traces")
    def view() -> str:
        return "text"

    @app.post("/v1/locked")
    def locked() -> str:
        raise InvalidApiKey("No.")

    @app.get("/v1/broken")
    def broken() -> str:
        raise KeyError

    return app.test_client()


def preflight(
    caller: FlaskClient, path: str = "/v1/open", origin: str = PAGE, **more: str
) -> TestResponse:
    asked = {"Origin": origin, "Access-Control-Request-Method": "POST"}
    asked |= {name.replace("_", "-"): value for name, value in more.items()}
    return caller.options(path, headers=asked)


def shared(headers: Headers) -> list[str]:
    return [name for name, _ in headers if name.lower().startswith("access-control-")]


# Which origins


@pytest.mark.parametrize("origin", [PAGE, "null", "app://obsidian.md", "http://[::1]:3000"])
def test_a_star_shares_with_everyone_and_never_with_credentials(origin: str) -> None:
    caller = client("*")
    for answer in (preflight(caller, origin=origin), caller.get("/v1/open")):
        assert answer.headers.getlist(ALLOW) == ["*"]
        assert "Access-Control-Allow-Credentials" not in answer.headers
    assert "Origin" not in caller.get("/v1/open", headers={"Origin": origin}).vary


@pytest.mark.parametrize(
    ("listed", "origin"),
    [
        (PAGE, PAGE),
        ("http://localhost:3000", "http://localhost:3000"),
        ("app://obsidian.md", "app://obsidian.md"),
        ("capacitor://localhost", "capacitor://localhost"),
        ("http://[::1]:3000", "http://[::1]:3000"),
        # Browsers leave out the port that the scheme implies.
        ("https://page.example:443", PAGE),
        ("http://page.example:80", "http://page.example"),
        ("http://page.example:443", "http://page.example:443"),
    ],
)
def test_a_listed_origin_is_named_in_the_answer(listed: str, origin: str) -> None:
    caller = client("https://other.example", listed)
    for answer in (
        preflight(caller, origin=origin),
        caller.get("/v1/open", headers={"Origin": origin}),
    ):
        assert answer.headers.getlist(ALLOW) == [origin]
        assert "Access-Control-Allow-Credentials" not in answer.headers
        assert "Origin" in answer.vary


@pytest.mark.parametrize(
    ("listed", "origin"),
    [
        (PAGE, "https://evil.example"),
        (PAGE, "http://page.example"),
        (PAGE, "https://page.example:8443"),
        (PAGE, "https://page.example.evil.example"),
        (PAGE, "https://evil-page.example"),
        (PAGE, "https://pageXexample"),
        (PAGE, f"{PAGE}\n"),
        (PAGE, f"{PAGE}, https://evil.example"),
        (PAGE, "null"),
        (PAGE, "*"),
        (PAGE, ""),
        ("http://[::1]:3000", "http://:::3000"),
        ("http://[::1]:3000", "http://1:3000"),
    ],
)
def test_another_origin_gets_nothing(listed: str, origin: str) -> None:
    caller = client(listed)
    environ = {"HTTP_ORIGIN": origin}
    asked = environ | {"HTTP_ACCESS_CONTROL_REQUEST_METHOD": "POST"}
    for answer in (
        caller.options("/v1/open", environ_overrides=asked),
        caller.get("/v1/open", environ_overrides=environ),
    ):
        assert answer.status_code in {200, 204}
        assert shared(answer.headers) == []
        assert "Origin" in answer.vary


def test_an_answer_to_nobody_varies_too() -> None:
    answer = client(PAGE, "https://other.example").get("/v1/open")
    assert shared(answer.headers) == []
    assert "Origin" in answer.vary


def test_without_origins_there_is_no_cors() -> None:
    caller = client()
    assert shared(preflight(caller).headers) == []
    answer = caller.get("/v1/open", headers={"Origin": PAGE})
    assert shared(answer.headers) == []
    assert not answer.vary


# Which paths


@pytest.mark.parametrize("origins", [("*",), (PAGE,)])
@pytest.mark.parametrize(
    "path", ["/v1/open", "/v1/open/", "/v1/locked", "/v1/nothing", "/healthz", "/", "/internals"]
)
def test_a_preflight_is_answered_for_every_path(path: str, origins: tuple[str, ...]) -> None:
    answer = preflight(client(*origins), path)
    assert (answer.status_code, answer.data) == (204, b"")
    assert answer.headers[ALLOW] in {"*", PAGE}
    assert answer.headers["X-Request-Id"]


@pytest.mark.parametrize(
    "path", ["/metrics", "/metrics/", "/internal", "/internal/traces", "/%69nternal/traces"]
)
@pytest.mark.parametrize("origins", [("*",), (PAGE,)])
def test_what_operators_use_is_not_shared(path: str, origins: tuple[str, ...]) -> None:
    caller = client(*origins)
    for answer in (preflight(caller, path), caller.get(path, headers={"Origin": PAGE})):
        assert shared(answer.headers) == []
        assert "Origin" not in answer.vary


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/v1/locked", 401),
        ("GET", "/v1/nothing", 404),
        ("PUT", "/v1/open", 405),
        ("GET", "/v1/broken", 500),
    ],
)
def test_errors_are_shared(method: str, path: str, status: int) -> None:
    answer = client(PAGE).open(path, method=method, headers={"Origin": PAGE})
    assert answer.status_code == status
    assert answer.headers.getlist(ALLOW) == [PAGE]
    assert answer.get_json()["error"]["code"]


@pytest.mark.parametrize(
    "headers", [{}, {"Origin": PAGE}, {"Access-Control-Request-Method": "POST"}]
)
def test_options_that_ask_for_nothing_are_no_preflight(headers: dict[str, str]) -> None:
    caller = client("*")
    assert caller.options("/v1/open", headers=headers).headers["Allow"]
    assert caller.options("/v1/nothing", headers=headers).status_code == 404


# What a preflight grants


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "DELETE"])
def test_the_methods_of_the_api_are_granted(method: str) -> None:
    answer = preflight(client("*"), Access_Control_Request_Method=method)
    granted = answer.headers["Access-Control-Allow-Methods"].split(", ")
    assert granted == list(cors.METHODS)
    assert answer.headers["Access-Control-Max-Age"] == "7200"


@pytest.mark.parametrize("method", ["PUT", "PATCH", "TRACE", "nonsense"])
def test_other_methods_are_not(method: str) -> None:
    answer = preflight(client("*"), Access_Control_Request_Method=method)
    assert "Access-Control-Allow-Methods" not in answer.headers


@pytest.mark.parametrize(
    ("asked", "granted"),
    [
        ("authorization", "authorization"),
        ("content-type, authorization", "authorization, content-type"),
        ("X-Stainless-Lang,x-anything", "X-Stainless-Lang, x-anything"),
        ("x-ok, no spaces, <script>, a:b, , \xe9, x-ok2", "x-ok, x-ok2"),
        ("a\nb", None),
        ("", None),
    ],
)
def test_headers_are_granted_as_they_are_asked_for(asked: str, granted: str | None) -> None:
    environ = {"HTTP_ORIGIN": PAGE, "HTTP_ACCESS_CONTROL_REQUEST_METHOD": "POST"}
    environ["HTTP_ACCESS_CONTROL_REQUEST_HEADERS"] = asked
    answer = client("*").options("/v1/open", environ_overrides=environ)
    assert answer.headers.get("Access-Control-Allow-Headers") == granted
    assert set(answer.vary) == {
        "Access-Control-Request-Headers",
        "Access-Control-Request-Method",
    }


@pytest.mark.parametrize(("origins", "granted"), [(("*",), "false"), ((PAGE,), "true")])
def test_a_private_network_is_open_to_named_origins(origins: tuple[str, ...], granted: str) -> None:
    answer = preflight(client(*origins), Access_Control_Request_Private_Network="true")
    assert answer.headers["Access-Control-Allow-Private-Network"] == granted


def test_scripts_may_read_what_the_sdks_read() -> None:
    answer = client("*").get("/v1/open", headers={"Origin": PAGE})
    exposed = answer.headers["Access-Control-Expose-Headers"].lower().split(", ")
    assert {"x-request-id", "retry-after", "x-should-retry"} <= set(exposed)
    assert {f"x-ratelimit-{what}-requests" for what in ("limit", "remaining", "reset")} <= set(
        exposed
    )
    for window in WINDOWS:
        spent = AccountWindow(used_percent=1, window_minutes=1, resets_at=1)
        assert account_headers({window: spent}).keys() <= set(exposed)
    assert exposed == sorted(set(exposed))
