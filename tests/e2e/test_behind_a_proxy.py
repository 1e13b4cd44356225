"""A rule for paths in a proxy in front sees what the gateway serves, whatever a client writes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.e2e.harness import Gateway
from tests.e2e.raw_http import exchange, request_bytes

INTERNAL = "/internal/maintenance"


def ask_with(gateway: Gateway, target: str, *lines: str) -> tuple[int, Any]:
    """Send a request with further header lines, exactly as they are; return status and answer."""
    head = request_bytes("GET", target).removesuffix(b"\r\n")
    status, _, body = exchange(
        gateway, head + "".join(f"{line}\r\n" for line in lines).encode() + b"\r\n"
    )
    return status, json.loads(body)


@pytest.mark.parametrize(
    "line",
    [
        "SCRIPT_NAME: /v1",
        "SCRIPT_NAME: /elsewhere",
        f"PATH_INFO: {INTERNAL}",
        "REMOTE_USER: admin",
        "X-Forwarded-Prefix: /v1",
        f"X-Original-URL: {INTERNAL}",
        f"X-Rewrite-URL: {INTERNAL}",
        "X-HTTP-Method-Override: DELETE",
        "X-Forwarded-Proto: https\r\nX-Forwarded-Ssl: off\r\nX-Forwarded-Protocol: http",
        "X-Forwarded-Host: a b\r\nX-Forwarded-Port: x\r\nX-Forwarded-For: ,,",
        'Forwarded: for="[::1";proto=',
        "X_Request_Id: a\r\nContent_Length: 5\r\nTransfer_Encoding: chunked",
    ],
)
def test_a_header_changes_nothing_about_a_request(gateway: Gateway, line: str) -> None:
    status, answer = ask_with(gateway, "/v1/models", line)
    assert (status, answer["object"]) == (200, "list")


@pytest.mark.parametrize("prefix", ["/v1", "/public"])
def test_a_prefix_in_a_header_opens_no_other_path(gateway: Gateway, prefix: str) -> None:
    status, answer = ask_with(gateway, prefix + INTERNAL, f"SCRIPT_NAME: {prefix}")
    assert (status, answer["error"]["code"]) == (404, "unknown_url")


@pytest.mark.parametrize(
    "target",
    [
        f"/{INTERNAL}",
        f"http://x/{INTERNAL}",
        "/%69nternal/maintenance",
        "/internal%2Fmaintenance",
        f"{INTERNAL}#x",
        "//metrics",
        "/%6detrics",
        "/v1/%6dodels",
    ],
)
def test_another_spelling_of_a_path_is_not_served(gateway: Gateway, target: str) -> None:
    status, answer = ask_with(gateway, target)
    assert (status, answer["error"]["code"]) == (404, "unknown_url")
    assert "percent-encoding" in answer["error"]["message"]


@pytest.mark.parametrize("target", [f"{INTERNAL}/", "//v1/models", "/v1/models/", "//livez"])
def test_slashes_that_matter_to_no_rule_are_forgiven(gateway: Gateway, target: str) -> None:
    assert ask_with(gateway, target)[0] == 200


def test_what_is_taken_out_is_said_once(make_gateway: Any) -> None:
    gateway: Gateway = make_gateway(ready=False, SCRIPT_NAME="/from-the-environment")
    for _ in range(2):
        ask_with(gateway, "/livez", "X-Original-URL: /a", "script_name: /livez", "a_b: c")
    said = [entry["headers"] for entry in gateway.events("headers_ignored")]
    assert said == [["SCRIPT_NAME"], ["X-ORIGINAL-URL"]]
