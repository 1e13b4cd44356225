"""ForwardAuth's application alone: which requests are let in, and that a fault lets nobody in."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from forward_auth.verify import Verify

KEYS = {"default": b"sk-one", "ann": b"sk-two"}


def verify(
    method: str = "GET", path: str = "/verify", **more: str
) -> tuple[int, dict[str, str], Any]:
    said: list[Any] = []

    def start_response(status: str, headers: list[tuple[str, str]]) -> None:
        said.extend((int(status[:3]), dict(headers)))

    environ = {"REQUEST_METHOD": method, "PATH_INFO": path, **more}
    body = b"".join(Verify(lambda: KEYS)(environ, start_response))
    status, headers = said
    assert headers["Content-Length"] == str(len(body))
    return status, headers, json.loads(body)


@pytest.mark.parametrize("header", ["Bearer sk-one", "Bearer sk-two", "bearer  sk-one "])
def test_a_key_is_let_in(header: str) -> None:
    status, headers, body = verify(HTTP_AUTHORIZATION=header)
    assert (status, body) == (200, {"ok": True})
    assert headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer",
        "Bearer ",
        "sk-one",
        "Basic sk-one",
        "Bearer sk-on",
        "Bearer sk-one,Bearer sk-two",
        "Bearer \xe9",
    ],
)
def test_everything_else_is_refused_in_the_envelope(header: str) -> None:
    status, headers, body = verify(HTTP_AUTHORIZATION=header)
    assert status == 401
    assert body["error"]["code"] == "invalid_api_key"
    assert set(body["error"]) == {"message", "type", "param", "code", "retryable"}
    assert headers["WWW-Authenticate"] == 'Bearer realm="api"'
    assert headers["x-should-retry"] == "false"


@pytest.mark.parametrize("path", ["", "/", "/verify/", "/Verify", "/verify/x", "/healthz"])
def test_no_other_path_is_served(path: str) -> None:
    assert verify(path=path, HTTP_AUTHORIZATION="Bearer sk-one")[0] == 404


@pytest.mark.parametrize("method", ["POST", "HEAD", "OPTIONS", "DELETE"])
def test_no_other_method_is_served(method: str) -> None:
    assert verify(method, HTTP_AUTHORIZATION="Bearer sk-one")[0] == 405


def test_without_any_key_nobody_has_one() -> None:
    said: list[Any] = []
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/verify", "HTTP_AUTHORIZATION": "Bearer "}
    body = b"".join(Verify(dict)(environ, lambda *answer: said.extend(answer)))
    assert said[0] == "503 Service Unavailable"
    assert dict(said[1])["x-should-retry"] == "true"
    assert json.loads(body)["error"]["retryable"] is True


def test_keys_that_cannot_be_had_are_no_answer() -> None:
    def broken() -> Mapping[str, bytes]:
        raise OSError

    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/verify", "HTTP_AUTHORIZATION": "Bearer x"}
    with pytest.raises(OSError):  # noqa: PT011  (gunicorn makes a 500 of it, and the proxy a refusal)
        Verify(broken)(environ, lambda *_: pytest.fail("it answered"))
