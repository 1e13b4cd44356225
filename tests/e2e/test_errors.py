"""Whatever is wrong with a request: one envelope, in JSON, with a sentence that names the field."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from typing import Any

import openai
import pytest
import requests

from tests.e2e.harness import KEY, MODEL, Gateway, Upstream, ask, end, start_gateway, wait_until
from tests.e2e.raw_http import exchange, request_bytes

GOOD = json.dumps({"model": MODEL, "messages": [{"role": "user", "content": "x"}]}).encode()
CHAT = "/v1/chat/completions"


def check(
    answer: tuple[int, dict[str, str], bytes], status: int, code: str | None, param: str | None
) -> dict[str, Any]:
    got, headers, body = answer
    error = json.loads(body)["error"]
    assert (got, error["code"], error["param"]) == (status, code, param)
    assert set(error) == {"message", "type", "param", "code", "retryable"}
    assert headers["content-type"] == "application/json"
    assert headers["x-request-id"]
    assert headers["x-should-retry"] == str(error["retryable"]).lower()
    assert error["message"].endswith((".", "..."))
    return dict(error)


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        (b"{", "INVALID_JSON", None),
        (b"\xff\xfe", "INVALID_JSON", None),
        (b'{"model": "\\ud800"}', "INVALID_JSON", None),
        (b"[" * 2000, "INVALID_JSON", None),
        (b"NaN", "INVALID_JSON", None),
        (b"[]", "invalid_type", "body"),
        (b'[{"model": "x"}]', "invalid_type", "body"),
        (b'"text"', "invalid_type", "body"),
        (b"null", "invalid_type", "body"),
        (b"{}", "missing_required_parameter", "model"),
        (b'{"model": "gpt-5.5"}', "missing_required_parameter", "messages"),
        (b'{"model": 5, "messages": []}', "invalid_type", "model"),
        (b'{"model": "gpt-5.5", "messages": "hi"}', "invalid_type", "messages"),
        (b'{"model": "gpt-5.5", "messages": []}', "empty_array", "messages"),
    ],
)
def test_a_bad_body_is_named(gateway: Gateway, body: bytes, code: str, param: str | None) -> None:
    check(exchange(gateway, request_bytes("POST", CHAT, body)), 400, code, param)


def test_an_empty_body_is_no_json(gateway: Gateway) -> None:
    sent = request_bytes("POST", CHAT, Content_Type="application/json", Content_Length="0")
    check(exchange(gateway, sent), 400, "INVALID_JSON", None)


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_another_content_type_is_refused(gateway: Gateway, kind: str) -> None:
    sent = request_bytes("POST", CHAT, GOOD, Content_Type=kind)
    check(exchange(gateway, sent), 415, "unsupported_content_type", None)


@pytest.mark.parametrize("encoding", [" ", "identity", "IDENTITY"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_a_body_may_begin_with_a_mark_and_name_no_encoding(
    gateway: Gateway, upstream: Upstream, encoding: str, mark: bytes
) -> None:
    body = mark + json.dumps(ask(upstream.say("x"))).encode()
    sent = request_bytes("POST", CHAT, body, Content_Encoding=encoding)
    assert exchange(gateway, sent)[0] == 200


@pytest.mark.parametrize(
    "body", [b"\xef\xbb\xbf", b"\xef\xbb\xbf" * 2 + GOOD, b" \xef\xbb\xbf" + GOOD]
)
def test_a_mark_stands_once_and_first(gateway: Gateway, body: bytes) -> None:
    check(exchange(gateway, request_bytes("POST", CHAT, body)), 400, "INVALID_JSON", None)


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/", 404, "unknown_url"),
        ("GET", "/v1/nothing", 404, "unknown_url"),
        ("POST", "/v1/embeddings", 404, "unknown_url"),
        ("POST", "/v1//chat/completions", 404, "unknown_url"),
        ("GET", "/static/x", 404, "unknown_url"),
        ("POST", "/chat/completions", 404, "unknown_url"),
        ("POST", "/v1/v1/chat/completions", 404, "unknown_url"),
        ("DELETE", "/v1/responses/resp_1/items", 404, "unknown_url"),
        ("GET", CHAT, 405, "method_not_supported"),
        ("DELETE", CHAT, 405, "method_not_supported"),
        ("PATCH", "/readyz", 405, "method_not_supported"),
        ("BREW", "/livez", 405, "method_not_supported"),
    ],
)
@pytest.mark.parametrize("authorization", [f"Bearer {KEY}", ""])
def test_another_path_or_method_is_answered_in_json(
    gateway: Gateway, method: str, path: str, status: int, code: str, authorization: str
) -> None:
    answer = exchange(gateway, request_bytes(method, path, Authorization=authorization))
    check(answer, status, code, None)
    assert status != 405 or answer[1]["allow"]


@pytest.mark.parametrize(
    "path",
    ["embeddings", "audio/speech", "audio/transcriptions", "images/generations", "moderations"],
)
def test_what_only_openai_serves_is_told_so(gateway: Gateway, path: str) -> None:
    with gateway.sdk() as sdk, pytest.raises(openai.NotFoundError) as raised:
        sdk.post(f"/{path}", cast_to=object, body={"input": "x"})
    assert raised.value.code == "unknown_url"
    assert f"does not serve /v1/{path.partition('/')[0]}" in raised.value.message


def test_what_responses_lack_is_told_so(gateway: Gateway) -> None:
    with gateway.sdk() as sdk, pytest.raises(openai.APIStatusError) as raised:
        sdk.responses.input_tokens.count(model=MODEL, input="x")
    assert (raised.value.status_code, raised.value.code) == (405, "method_not_supported")
    assert "no such endpoint" in raised.value.message


@pytest.mark.parametrize(
    ("method", "path", "words"),
    [
        ("POST", "/chat/completions", "Did you mean /v1/chat/completions?"),
        ("POST", "/v1/v1/chat/completions", "Did you mean /v1/chat/completions?"),
        ("POST", "/v1/chat/completions/chat/completions", "Did you mean /v1/chat/completions?"),
        ("POST", "/v1//chat/completions", "Did you mean /v1/chat/completions?"),
        ("POST", "/completions", "Did you mean /v1/completions?"),
        ("GET", "/models", "Did you mean /v1/models?"),
        ("GET", "/models/gpt-5.5", "Did you mean /v1/models/gpt-5.5?"),
        ("GET", "/", "ends in /v1"),
        ("GET", "/v1", "/v1/chat/completions"),
        ("POST", "/v1/", "/v1/chat/completions"),
        ("POST", "/responses", "Did you mean /v1/responses?"),
        ("GET", "/responses/resp_1", "Did you mean /v1/responses/resp_1?"),
        ("POST", "/v1/messages", "not Anthropic's"),
        ("POST", "/api/chat", "not Ollama's"),
        ("GET", "/v1/healthz", "Did you mean /healthz?"),
    ],
)
@pytest.mark.parametrize("authorization", [f"Bearer {KEY}", ""])
def test_a_wrong_url_is_told_the_right_one_or_what_is_missing(
    gateway: Gateway, method: str, path: str, words: str, authorization: str
) -> None:
    sent = request_bytes(method, path, GOOD, Authorization=authorization)
    error = check(exchange(gateway, sent), 404, "unknown_url", None)
    assert error["message"].startswith(f"Unknown request URL: {method} {path}. ")
    assert words in error["message"]


@pytest.mark.parametrize("path", ["/v1", "/chat/completions", "/v1/responses/a/b"])
def test_head_and_options_of_a_wrong_url_are_404_too(gateway: Gateway, path: str) -> None:
    status, headers, body = exchange(gateway, request_bytes("HEAD", path))
    assert (status, headers["content-type"], body) == (404, "application/json", b"")
    check(exchange(gateway, request_bytes("OPTIONS", path)), 404, "unknown_url", None)


def test_nobody_learns_of_internal_routes_from_a_wrong_url(gateway: Gateway) -> None:
    for path in ("/v1/internal/maintenance", "/x/internal/traces", "/internals"):
        error = check(exchange(gateway, request_bytes("GET", path)), 404, "unknown_url", None)
        assert "Did you mean" not in error["message"]


@pytest.mark.parametrize(
    "authorization",
    ["", "Bearer", "Bearer ", "Bearer wrong", f"Basic {KEY}", KEY, f"Bearer {KEY}x", "Bearer \xe9"],
)
@pytest.mark.parametrize(("method", "path"), [("POST", CHAT), ("GET", "/v1/models")])
def test_without_the_key_nothing_opens(
    gateway: Gateway, authorization: str, method: str, path: str
) -> None:
    body = GOOD if method == "POST" else b""
    answer = exchange(gateway, request_bytes(method, path, body, Authorization=authorization))
    error = check(answer, 401, "invalid_api_key", None)
    assert answer[1]["www-authenticate"].startswith("Bearer")
    assert error["type"] == "invalid_request_error"


@pytest.mark.parametrize("path", ["/v1/models/", "/v1/chat/completions/", "/readyz/", "/livez/"])
def test_a_trailing_slash_is_served_without_a_redirect(gateway: Gateway, path: str) -> None:
    method, body = ("POST", GOOD) if "chat" in path else ("GET", b"")
    status, _, _ = exchange(gateway, request_bytes(method, path, body))
    assert status == 200


def test_a_trailing_slash_is_no_way_past_the_key(gateway: Gateway) -> None:
    check(
        exchange(gateway, request_bytes("GET", "/v1/models/", Authorization="")),
        401,
        "invalid_api_key",
        None,
    )


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"NONSENSE\r\n\r\n", 400),
        (b"GET /" + b"a" * 8000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 20000 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: x\r\nbad header\r\n\r\n", 400),
    ],
)
def test_what_is_no_http_is_answered_in_json_too(
    gateway: Gateway, head: bytes, status: int
) -> None:
    check(exchange(gateway, head), status, "INVALID_HTTP", None)


def test_a_key_in_a_broken_header_stays_out_of_the_log(gateway: Gateway) -> None:
    head = b"GET / HTTP/1.1\r\nHost: x\r\nAuthorization Bearer sk-leaked\r\n\r\n"
    check(exchange(gateway, head), 400, "INVALID_HTTP", None)
    wait_until(lambda: gateway.events("invalid_http_request"), "it is logged")
    assert "sk-leaked" not in gateway.log_path.read_text()


def test_a_key_in_a_head_that_is_cut_off_stays_out_of_the_log(make_gateway: Any) -> None:
    gateway: Gateway = make_gateway(LOG_LEVEL="debug")
    with socket.create_connection(("127.0.0.1", gateway.port)) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nAuthorization: Bearer sk-leaked")
    gateway.get("/sk-leaked")
    wait_until(lambda: gateway.events("head_cut_off"), "it is logged")
    assert "sk-leaked" not in gateway.log_path.read_text()


LIMIT = 4096


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream) -> Iterator[Gateway]:
    """A gateway that takes only small bodies, and waits only shortly for them."""
    settings = {"PROXY_MAX_BODY_BYTES": str(LIMIT), "PROXY_BODY_TIMEOUT_MS": "300"}
    running = start_gateway(tmp_path_factory.mktemp("small"), upstream, **settings)
    running.wait_ready()
    yield running
    end(running)


def body_of(size: int) -> bytes:
    empty = json.dumps({"model": MODEL, "messages": [{"role": "user", "content": ""}]})
    return empty.replace('""', '"' + "x" * (size - len(empty)) + '"').encode()


def chunked(body: bytes) -> bytes:
    parts = [body[i : i + 1000] for i in range(0, len(body), 1000)]
    framed = b"".join(f"{len(part):x}\r\n".encode() + part + b"\r\n" for part in parts)
    head = request_bytes("POST", CHAT, Content_Type="application/json", Transfer_Encoding="chunked")
    return head + framed + b"0\r\n\r\n"


def declared(body: bytes) -> bytes:
    return request_bytes("POST", CHAT, body)


@pytest.mark.parametrize("send", [declared, chunked])
def test_a_body_at_the_limit_is_served(small: Gateway, send: Callable[[bytes], bytes]) -> None:
    status, _, _ = exchange(small, send(body_of(LIMIT)))
    assert status == 200


@pytest.mark.parametrize("send", [declared, chunked])
def test_a_body_over_the_limit_is_refused(small: Gateway, send: Callable[[bytes], bytes]) -> None:
    check(exchange(small, send(body_of(LIMIT + 1))), 413, "BODY_TOO_LARGE", None)


def test_a_body_far_over_the_limit_is_told_so_and_not_reset(small: Gateway) -> None:
    """The client writes on while the refusal is on its way: closing on it would reset the connection."""
    headers = {**small.headers, "Content-Type": "application/json"}
    for _ in range(3):
        answer = requests.post(
            small.url + CHAT, data=body_of(20 << 20), headers=headers, timeout=30
        )
        assert (answer.status_code, answer.json()["error"]["code"]) == (413, "BODY_TOO_LARGE")


def test_a_body_that_does_not_come_is_not_waited_for(small: Gateway) -> None:
    sent = request_bytes("POST", CHAT, b"{", Content_Length="100")
    check(exchange(small, sent), 408, "BODY_TIMEOUT", None)


@pytest.mark.parametrize(
    ("field", "value", "code"),
    [
        ("tools", "f", "invalid_type"),
        ("n", 9, "integer_above_max_value"),
        ("stop", [*"abcdefghijklmnopq"], "array_above_max_length"),
        ("logprobs", True, "unsupported_parameter"),
        ("response_format", "json", "invalid_type"),
        ("stream", "yes", "invalid_type"),
        ("temperature", "hot", "invalid_type"),
        ("temperature", 3, "invalid_value"),
        ("max_tokens", 0, "invalid_value"),
        ("reasoning_effort", "bogus", "unsupported_value"),
        ("stream_options", {"include_usage": True}, "invalid_value"),
    ],
)
def test_a_field_that_would_change_the_answer_is_never_half_done(
    gateway: Gateway, field: str, value: Any, code: str
) -> None:
    body = json.dumps({**json.loads(GOOD), field: value}).encode()
    check(exchange(gateway, request_bytes("POST", CHAT, body)), 400, code, field)
