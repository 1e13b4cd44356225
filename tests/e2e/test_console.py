"""`/internal/console`: the operator's page and its files, as a browser gets them."""

from __future__ import annotations

import re
from typing import Any

import pytest
import requests

from app.settings import ROOT
from tests.e2e.gateway_pool import ADMIN_KEY, EVERY_KEY
from tests.e2e.harness import DEADLINE_S, Gateway

FOLDER = ROOT / "app/api/internal/console"
FILES = sorted(path.name for path in FOLDER.iterdir() if path.suffix in {".js", ".css"})
PROD_KEY = "q7Vd0m2XvK9sLw4Tz1Bn8RcJ"
DATA = ("/internal/status", "/internal/recent")


def get(gateway: Gateway, path: str, key: str = ADMIN_KEY) -> requests.Response:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    return requests.get(gateway.url + path, headers=headers, timeout=DEADLINE_S)


@pytest.fixture
def gateway(lend_gateway: Any) -> Gateway:
    lent: Gateway = lend_gateway(**EVERY_KEY)
    return lent


def test_the_page_needs_no_key_and_nothing_can_be_added_to_it(gateway: Gateway) -> None:
    page = get(gateway, "/internal/console", key="")
    assert (page.status_code, page.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    policy = dict(
        rule.strip().split(" ", 1) for rule in page.headers["Content-Security-Policy"].split(";")
    )
    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["require-trusted-types-for"] == "'script'"
    assert policy["trusted-types"] == "'none'"
    assert page.headers["X-Frame-Options"] == "DENY"
    assert page.headers["Referrer-Policy"] == "no-referrer"
    assert page.headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert page.headers["Cross-Origin-Resource-Policy"] == "same-origin"
    # The policy would block these, and the page would be broken.
    assert not re.search(r"<script(?! type=\"module\" src=)|<style| style=| on[a-z]+=", page.text)
    assert not re.search(r"""(?:src|href)=["'](?!console/|data:|#)""", page.text)


def test_its_files_are_served_and_nothing_else(gateway: Gateway) -> None:
    assert len(FILES) > 2
    for name in FILES:
        file = get(gateway, f"/internal/console/{name}", key="")
        kind = "css" if name.endswith(".css") else "javascript"
        assert (file.status_code, file.headers["Content-Type"]) == (
            200,
            f"text/{kind}; charset=utf-8",
        )
        assert file.headers["X-Content-Type-Options"] == "nosniff"
    for name in ("routes.py", "console.html", "nothing.js"):
        assert get(gateway, f"/internal/console/{name}").status_code == 404


def test_an_address_that_ends_in_a_slash_finds_its_files(gateway: Gateway) -> None:
    page = get(gateway, "/internal/console/", key="")
    assert 'href="console.css"' in page.text
    assert 'href="console/console.css"' in get(gateway, "/internal/console", key="").text


def test_the_page_says_nothing_of_the_gateway_or_of_its_caller(gateway: Gateway) -> None:
    said = '"><script>canary()</script>'
    headers = {"Host": "canary.example", "Referer": said, "User-Agent": said}
    url = f"{gateway.url}/internal/console?key={said}"
    with_headers = requests.get(url, headers=headers, timeout=DEADLINE_S)
    assert with_headers.text == get(gateway, "/internal/console").text
    assert "canary" not in with_headers.text


@pytest.mark.parametrize(
    ("settings", "key", "data"),
    [
        ({**EVERY_KEY, "PROXY_CONSOLE": "false"}, ADMIN_KEY, 200),
        ({"PROXY_ENV": "prod", "PROXY_API_KEY": PROD_KEY}, PROD_KEY, 404),
    ],
)
def test_where_it_is_off_its_paths_do_not_exist(
    make_gateway: Any, settings: dict[str, str], key: str, data: int
) -> None:
    gateway = make_gateway(**settings)
    for path in ("/internal/console", "/internal/console/console.js"):
        answer = get(gateway, path, key)
        assert answer.status_code == 404
        assert answer.json()["error"]["code"] == "unknown_url"
    assert [get(gateway, path, key).status_code for path in DATA] == [data] * len(DATA)


def test_the_scripts_make_text_of_whatever_they_get() -> None:
    for path in FOLDER.glob("*.js"):
        script = path.read_text()
        assert not re.search(
            r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(|DOMParser|srcdoc", script
        ), path.name
        assert not re.search(r"localStorage|sessionStorage|cookie|indexedDB|pushState", script)
