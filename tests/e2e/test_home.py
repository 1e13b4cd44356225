"""The page at `/` and its files, as a browser gets them."""

from __future__ import annotations

import re
from typing import Any

import pytest
import requests

from app.settings import ROOT
from tests.e2e.harness import DEADLINE_S, KEY, Gateway

PROD = {
    "PROXY_ENV": "prod",
    "PROXY_API_KEY": "q7Vd0m2XvK9sLw4Tz1Bn8RcJ",
    "PROXY_CORS_ALLOWED_ORIGINS": "off",
}
FILES = {"/home.css": "text/css; charset=utf-8", "/home.js": "text/javascript; charset=utf-8"}


ACCEPT = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}


def get(gateway: Gateway, path: str, **headers: str) -> requests.Response:
    return requests.get(gateway.url + path, headers=ACCEPT | headers, timeout=DEADLINE_S)


def test_a_browser_gets_a_page_that_nothing_can_be_added_to(gateway: Gateway) -> None:
    page = get(gateway, "/")
    assert (page.status_code, page.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    policy = dict(
        rule.strip().split(" ", 1) for rule in page.headers["Content-Security-Policy"].split(";")
    )
    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert policy["script-src"] == policy["connect-src"] == "'self'"
    assert page.headers["X-Frame-Options"] == "DENY"
    assert page.headers["Cross-Origin-Opener-Policy"] == "same-origin"
    # The policy would block these, and the page would be broken.
    assert not re.search(r"<script(?! src=)|<style| style=| on[a-z]+=|javascript:", page.text)
    assert not re.search(r"""(?:src|href)=["'](?!home\.|data:)""", page.text)
    assert KEY not in page.text
    for path, content_type in FILES.items():
        file = get(gateway, path)
        assert (file.status_code, file.headers["Content-Type"]) == (200, content_type)
        assert path.removeprefix("/") in page.text
        assert file.headers["X-Content-Type-Options"] == "nosniff"
        assert KEY not in file.text


def test_the_page_says_which_kind_of_upstream_answers(gateway: Gateway, make_gateway: Any) -> None:
    assert "The models of a configured upstream answer." in get(gateway, "/").text
    demo = make_gateway(with_upstream=False)
    assert "The built-in demo answers here" in get(demo, "/").text


def test_what_a_caller_says_is_not_in_the_page(gateway: Gateway) -> None:
    said = '"><script>canary()</script>'
    headers = {"Host": "canary.example", "X-Forwarded-Host": "canary", "Referer": said}
    page = get(gateway, f"/?key={said}", **headers, **{"User-Agent": said})
    assert page.status_code == 200
    assert "canary" not in page.text


@pytest.mark.parametrize("settings", [PROD, {"PROXY_HOME_PAGE": "false"}])
def test_where_it_is_off_the_paths_do_not_exist(
    make_gateway: Any, settings: dict[str, str]
) -> None:
    gateway = make_gateway(**settings)
    for path in ("/", *FILES):
        answer = get(gateway, path)
        assert answer.status_code == 404
        assert answer.json()["error"]["code"] == "unknown_url"


@pytest.mark.parametrize("accept", ["", "*/*", "application/json", "text/event-stream"])
def test_a_client_that_has_lost_its_way_is_told_so(gateway: Gateway, accept: str) -> None:
    answer = get(gateway, "/", Accept=accept)
    assert answer.status_code == 404
    assert "ends in /v1" in answer.json()["error"]["message"]


def test_prod_can_have_it(make_gateway: Any) -> None:
    gateway = make_gateway(**PROD, PROXY_HOME_PAGE="true")
    assert get(gateway, "/").status_code == 200


def test_the_script_makes_text_of_whatever_it_gets() -> None:
    script = (ROOT / "app/api/home/home.js").read_text()
    assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(", script)
    assert not re.search(r"localStorage|sessionStorage|cookie|indexedDB", script)
