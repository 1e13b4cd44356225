"""Browsers, Electron and mobile web views: what a page's script may send, and what it may read.

`Page` does what a browser does (Fetch standard, "CORS protocol"): it asks first, holds the answer against the rules,
and shows the script only what the gateway allows.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
import requests

from tests.e2e.harness import DEADLINE_S, KEY, MODEL, Gateway, Upstream, ask, end, start_gateway
from tests.e2e.raw_http import parse_frames

CHAT = "/v1/chat/completions"
LISTED = "https://chat.example"

OPENAI_SDK = {
    "accept": "application/json",
    "content-type": "application/json",
    "authorization": f"Bearer {KEY}",
    "x-stainless-arch": "unknown",
    "x-stainless-helper-method": "stream",
    "x-stainless-lang": "js",
    "x-stainless-os": "Unknown",
    "x-stainless-package-version": "6.9.0",
    "x-stainless-poll-helper": "true",
    "x-stainless-retry-count": "0",
    "x-stainless-runtime": "browser:chrome",
    "x-stainless-runtime-version": "142.0.0",
    "x-stainless-timeout": "600",
    "openai-beta": "assistants=v2",
    "openai-organization": "org",
    "openai-project": "proj",
    "idempotency-key": "stainless-node-retry-1",
}
ELECTRON = {
    "authorization": f"Bearer {KEY}",
    "content-type": "application/json",
    "anthropic-dangerous-direct-browser-access": "true",
    "dangerously-allow-browser": "true",
    "http-referer": "https://obsidian.md",
    "x-title": "Obsidian",
    "x-no-keepalive": "1",
    "x-request-id": "from-the-page",
    "x-requested-with": "XMLHttpRequest",
    "user-agent": "Obsidian",
    "cache-control": "no-cache",
}
ALWAYS_READABLE = {"cache-control", "content-language", "content-length", "content-type"}


class Blocked(Exception):
    """What a script sees as `TypeError: Failed to fetch`."""


@dataclass
class Page:
    """A page of some origin, in a browser."""

    gateway: Gateway
    origin: str

    def fetch(
        self, method: str, path: str, headers: Mapping[str, str], **options: Any
    ) -> requests.Response:
        """Send a request as a browser would; the answer has only what the script may see."""
        self._ask(method, path, headers)
        answer = requests.request(
            method,
            self.gateway.url + path,
            headers={**headers, "Origin": self.origin},
            timeout=DEADLINE_S,
            **options,
        )
        self._check(answer)
        exposed = answer.headers["Access-Control-Expose-Headers"].lower().split(", ")
        for name in {name.lower() for name in answer.headers} - {*exposed, *ALWAYS_READABLE}:
            del answer.headers[name]
        return answer

    def post(self, body: Any, headers: Mapping[str, str] = OPENAI_SDK) -> requests.Response:
        return self.fetch("POST", CHAT, headers, data=json.dumps(body))

    def _ask(self, method: str, path: str, headers: Mapping[str, str]) -> None:
        answer = preflight(self.gateway, path, self.origin, method, ",".join(sorted(headers)))
        if not 200 <= answer.status_code < 300:
            raise Blocked(f"preflight answered {answer.status_code}")
        self._check(answer)
        methods = answer.headers.get("Access-Control-Allow-Methods", "").split(", ")
        if method not in {*methods, "GET", "HEAD", "POST"}:
            raise Blocked(f"{method} is not allowed")
        allowed = answer.headers.get("Access-Control-Allow-Headers", "").lower().split(", ")
        if missing := {name.lower() for name in headers} - set(allowed):
            raise Blocked(f"{missing} are not allowed")

    def _check(self, answer: requests.Response) -> None:
        allowed = answer.raw.headers.getlist("Access-Control-Allow-Origin")
        if allowed not in (["*"], [self.origin]):
            raise Blocked(f"{self.origin} is not allowed, but {allowed}")
        assert "Access-Control-Allow-Credentials" not in answer.headers


def preflight(
    gateway: Gateway, path: str, origin: str, method: str, headers: str = ""
) -> requests.Response:
    asked = {"Origin": origin, "Access-Control-Request-Method": method}
    if headers:
        asked["Access-Control-Request-Headers"] = headers
    return requests.options(gateway.url + path, headers=asked, timeout=DEADLINE_S)


@pytest.fixture(scope="module")
def picky(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream) -> Iterator[Gateway]:
    """A production gateway that names the pages it knows, and takes only small bodies."""
    origins = f"{LISTED}, app://obsidian.md, capacitor://localhost, http://localhost:3000"
    settings = {"PROXY_CORS_ALLOWED_ORIGINS": origins, "PROXY_MAX_BODY_BYTES": "4096"}
    settings["PROXY_ENV"] = "prod"
    running = start_gateway(tmp_path_factory.mktemp("picky"), upstream, **settings)
    running.wait_ready()
    yield running
    end(running)


# Any page (the default)


@pytest.mark.parametrize("headers", [OPENAI_SDK, ELECTRON], ids=["openai-sdk", "electron"])
@pytest.mark.parametrize(
    "origin", ["https://any.example", "app://obsidian.md", "capacitor://localhost", "null"]
)
def test_any_page_may_chat(
    gateway: Gateway, upstream: Upstream, origin: str, headers: dict[str, str]
) -> None:
    answer = Page(gateway, origin).post(ask(upstream.say("Hello")), headers)
    assert answer.json()["choices"][0]["message"]["content"] == "Hello"
    assert answer.headers["X-Request-Id"]


def test_any_page_may_read_a_stream(gateway: Gateway, upstream: Upstream) -> None:
    answer = Page(gateway, "app://obsidian.md").post(ask(upstream.say("Hel", "lo"), stream=True))
    assert answer.headers["Content-Type"] == "text/event-stream; charset=utf-8"
    frames = parse_frames(answer.content)
    assert frames[-1] == "[DONE]"
    text = [frame["choices"][0]["delta"].get("content", "") for frame in frames[:-1]]
    assert "".join(text) == "Hello"


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/", f"/v1/models/{MODEL}", "/readyz"])
def test_any_page_may_look_around(gateway: Gateway, path: str) -> None:
    page = Page(gateway, "https://any.example")
    assert page.fetch("GET", path, OPENAI_SDK).status_code == 200


# Preflights


@pytest.mark.parametrize("path", [CHAT, f"{CHAT}/", "/v1/models/x", "/v1/nothing", "/", "/healthz"])
@pytest.mark.parametrize("key", [f"Bearer {KEY}", "Bearer wrong", None])
def test_a_preflight_needs_no_key(gateway: Gateway, path: str, key: str | None) -> None:
    asked = {
        "Origin": "https://any.example",
        "Access-Control-Request-Method": "POST",
        "X-Request-Id": "of-the-caller",
    }
    answer = requests.options(
        gateway.url + path,
        headers=asked | ({"Authorization": key} if key else {}),
        timeout=DEADLINE_S,
    )
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert answer.headers["Access-Control-Max-Age"] == "7200"
    assert answer.headers["X-Request-Id"] == "of-the-caller"


def test_a_connection_goes_on_after_a_preflight(gateway: Gateway) -> None:
    asked = {"Origin": "https://any.example", "Access-Control-Request-Method": "GET"}
    with requests.Session() as session:
        for _ in range(3):
            session.options(gateway.url + CHAT, headers=asked, timeout=DEADLINE_S)
            url = f"{gateway.url}/v1/models"
            assert session.get(url, headers=gateway.headers, timeout=DEADLINE_S).ok


# Named pages only


@pytest.mark.parametrize("origin", [LISTED, "app://obsidian.md", "capacitor://localhost"])
def test_a_named_page_may_chat(picky: Gateway, upstream: Upstream, origin: str) -> None:
    answer = Page(picky, origin).post(ask(upstream.say("Hello")))
    assert answer.json()["choices"][0]["message"]["content"] == "Hello"


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "http://chat.example", f"{LISTED}.evil.example", "null"]
)
def test_another_page_is_blocked(picky: Gateway, origin: str) -> None:
    page = Page(picky, origin)
    with pytest.raises(Blocked):
        page.fetch("GET", "/v1/models", OPENAI_SDK)
    # A request that needs no preflight is served, but no script may read the answer.
    answer = requests.get(f"{picky.url}/readyz", headers={"Origin": origin}, timeout=DEADLINE_S)
    assert answer.status_code == 200
    assert answer.headers["Vary"] == "Origin"
    assert not [name for name in answer.headers if name.lower().startswith("access-control-")]


def test_a_program_that_is_no_browser_notices_nothing(picky: Gateway) -> None:
    answer = picky.get("/v1/models")
    assert answer.status_code == 200
    assert not [name for name in answer.headers if name.lower().startswith("access-control-")]


def test_answers_differ_by_origin_and_caches_are_told(picky: Gateway, upstream: Upstream) -> None:
    body = ask(upstream.say("x"), stream=True)
    answer = requests.post(
        picky.url + CHAT,
        json=body,
        headers={**picky.headers, "Origin": LISTED},
        timeout=DEADLINE_S,
    )
    assert answer.raw.headers.getlist("Access-Control-Allow-Origin") == [LISTED]
    assert answer.headers["Vary"] == "Origin"


# Errors


@pytest.mark.parametrize("at", ["gateway", "picky"])
@pytest.mark.parametrize(
    ("method", "path", "headers", "body", "status"),
    [
        ("GET", "/v1/models", {"accept": "*/*"}, None, 401),
        ("POST", CHAT, {"authorization": "Bearer wrong"}, "{}", 401),
        ("POST", CHAT, OPENAI_SDK, "{", 400),
        ("GET", "/v1/models/gpt-4", OPENAI_SDK, None, 404),
        ("POST", "/chat/completions", OPENAI_SDK, "{}", 404),
        ("DELETE", CHAT, OPENAI_SDK, None, 405),
        ("POST", CHAT, {**OPENAI_SDK, "content-type": "text/plain"}, "{}", 415),
    ],
)
def test_a_script_can_read_why_it_was_refused(
    request: pytest.FixtureRequest,
    at: str,
    method: str,
    path: str,
    headers: dict[str, str],
    body: str | None,
    status: int,
) -> None:
    answer = Page(request.getfixturevalue(at), LISTED).fetch(method, path, headers, data=body)
    assert answer.status_code == status
    assert answer.json()["error"]["message"]
    assert answer.headers["X-Request-Id"]
    assert answer.headers["x-should-retry"] == "false"


def test_a_script_can_read_that_it_sent_too_much(picky: Gateway) -> None:
    answer = Page(picky, LISTED).post(ask("x" * 5000))
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "BODY_TOO_LARGE")


def test_a_script_can_read_when_to_try_again(gateway: Gateway, upstream: Upstream) -> None:
    marker = upstream.play({"failure": "rate_limited"})
    answer = Page(gateway, LISTED).post(ask(marker))
    assert answer.status_code == 429
    assert int(answer.headers["Retry-After"]) > 0
    assert answer.headers["x-should-retry"] == "true"


# Not for pages


@pytest.mark.parametrize("path", ["/internal", "/internal/maintenance", "/metrics"])
@pytest.mark.parametrize("at", ["gateway", "picky"])
def test_what_operators_use_is_for_no_page(
    request: pytest.FixtureRequest, at: str, path: str
) -> None:
    running = request.getfixturevalue(at)
    with pytest.raises(Blocked):
        Page(running, LISTED).fetch("GET", path, OPENAI_SDK)
    for answer in (
        preflight(running, path, LISTED, "POST"),
        requests.get(running.url + path, headers={"Origin": LISTED}, timeout=DEADLINE_S),
    ):
        assert not [name for name in answer.headers if name.lower().startswith("access-control-")]


def test_cors_can_be_switched_off(make_gateway: Any) -> None:
    gateway: Gateway = make_gateway(PROXY_CORS_ALLOWED_ORIGINS="off")
    with pytest.raises(Blocked):
        Page(gateway, LISTED).fetch("GET", "/v1/models", OPENAI_SDK)
    assert gateway.get("/v1/models").status_code == 200
