"""Bodies that clients compress: read on every endpoint, within the limits of a plain one."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.e2e.gateway_pool import EVERY_KEY
from tests.e2e.harness import KEY, MODEL, Gateway, Upstream, ask
from tests.e2e.in_flight import line_of
from tests.e2e.raw_http import exchange, request_bytes
from tests.e2e.routes import Route, on_each_route
from tests.fakes.compressed import (
    MIB,
    PACKERS,
    brotli_bomb,
    deflate_bomb,
    gzip_bomb,
    raw_deflate,
    streamed_zstd,
    zstd_bomb,
)

CHAT = "/v1/chat/completions"
WAYS = [*PACKERS.items(), ("deflate", raw_deflate), ("zstd", streamed_zstd)]
LIMIT = 2 * MIB
BOMBS = [
    ("gzip", gzip_bomb),
    ("deflate", deflate_bomb),
    ("br", brotli_bomb),
    ("zstd", zstd_bomb),
]


def send(
    gateway: Gateway, path: str, body: bytes, coding: str, **headers: str
) -> tuple[int, dict[str, str], Any]:
    sent = request_bytes("POST", path, body, Content_Encoding=coding, **headers)
    status, answered, raw = exchange(gateway, sent)
    return status, answered, json.loads(raw)


@on_each_route
@pytest.mark.parametrize(("coding", "pack"), WAYS)
def test_a_compressed_request_is_answered_like_a_plain_one(
    gateway: Gateway,
    upstream: Upstream,
    route: Route,
    coding: str,
    pack: Callable[[bytes], bytes],
) -> None:
    marker = upstream.say("packed")
    body = json.dumps(route.ask(marker)).encode()
    status, headers, answer = send(gateway, route.path, pack(body), coding)
    assert (status, route.said(answer)) == (200, "packed")
    assert "accept-encoding" not in headers
    line = line_of(gateway, headers["x-request-id"])
    assert line["request_bytes"] == len(body)
    assert line["compressed_bytes"] == len(pack(body))


def test_every_endpoint_with_a_body_reads_it(lend_gateway: Any, upstream: Upstream) -> None:
    gateway: Gateway = lend_gateway(**EVERY_KEY)
    prompt = json.dumps({"model": MODEL, "prompt": upstream.say("packed")}).encode()
    status, _, answer = send(gateway, "/v1/completions", PACKERS["zstd"](prompt), "zstd")
    assert (status, answer["choices"][0]["text"]) == (200, "packed")
    admin = f"Bearer {EVERY_KEY['PROXY_ADMIN_KEY']}"
    for path, body in (
        ("/internal/maintenance", b'{"enabled": false}'),
        ("/internal/log-level", b'{"level": "info"}'),
    ):
        packed = PACKERS["br"](body)
        status, _, _ = send(gateway, path, packed, "br", Authorization=admin)
        assert status == 200, path


def test_a_long_conversation_in_several_codings_arrives_whole(
    gateway: Gateway, upstream: Upstream
) -> None:
    marker = upstream.say("fine")
    body = ask(marker)
    texts = [f"{n} " + "words " * 100 for n in range(2_000)]
    body["messages"] = [{"role": "user", "content": text} for text in texts] + body["messages"]
    packed = PACKERS["zstd"](PACKERS["gzip"](json.dumps(body).encode()))
    status, _, answer = send(gateway, CHAT, packed, "gzip, zstd")
    assert (status, answer["choices"][0]["message"]["content"]) == (200, "fine")
    (request,) = upstream.control.requests(marker)
    sent = [item["content"][0]["text"] for item in request["body"]["input"]]
    assert sent[:-1] == texts


def test_it_may_come_in_chunks_of_any_size(gateway: Gateway, upstream: Upstream) -> None:
    packed = PACKERS["br"](json.dumps(ask(upstream.say("fine"))).encode())
    head = request_bytes(
        "POST",
        CHAT,
        Content_Type="application/json",
        Content_Encoding="br",
        Transfer_Encoding="chunked",
    )
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in packed)
    status, _, raw = exchange(gateway, head + chunks + b"0\r\n\r\n")
    assert status == 200, raw


@pytest.fixture
def small(lend_gateway: Any) -> Gateway:
    """A gateway that takes bodies of 2 MiB."""
    lent: Gateway = lend_gateway(PROXY_MAX_BODY_BYTES=str(LIMIT))
    return lent


@pytest.mark.parametrize(("coding", "bomb"), BOMBS)
@pytest.mark.parametrize("over", ["", "gzip", "zstd"])
def test_a_bomb_is_too_large(
    small: Gateway, coding: str, bomb: Callable[[int], bytes], over: str
) -> None:
    packed = bomb(LIMIT // 2)
    if over:
        packed, coding = PACKERS[over](packed), f"{coding}, {over}"
    status, _, answer = send(small, CHAT, packed, coding)
    assert (status, answer["error"]["code"]) == (413, "BODY_TOO_LARGE")
    assert str(LIMIT) in answer["error"]["message"]
    assert small.get("/livez").status_code == 200


def test_many_values_are_found_while_they_are_made(small: Gateway) -> None:
    body = b'{"metadata": [' + b"{}," * 400_000 + b"{}]}"
    status, _, answer = send(small, CHAT, PACKERS["zstd"](body), "zstd")
    assert (status, answer["error"]["code"]) == (413, "TOO_MANY_VALUES")


@pytest.mark.parametrize("coding", ["compress", "gzip, lzma", "aws-chunked", "gzip," * 4])
def test_what_is_not_read_is_refused_with_what_is(gateway: Gateway, coding: str) -> None:
    status, headers, answer = send(gateway, CHAT, b"x", coding)
    assert (status, answer["error"]["code"]) == (415, "UNSUPPORTED_CONTENT_ENCODING")
    assert headers["accept-encoding"] == "gzip, deflate, br, zstd"
    assert headers["x-should-retry"] == "false"
    assert "gzip, deflate, br, zstd" in answer["error"]["message"]


@pytest.mark.parametrize(("coding", "pack"), WAYS)
def test_what_is_cut_off_damaged_or_plain_is_called_so(
    gateway: Gateway, coding: str, pack: Callable[[bytes], bytes]
) -> None:
    packed = pack(json.dumps(ask("none")).encode() * 3)
    for body, word in (
        (packed[:-1], "ends before"),
        (json.dumps(ask("none")).encode(), "damaged"),
        (packed + b"more of it", ""),
    ):
        status, _, answer = send(gateway, CHAT, body, coding)
        assert (status, answer["error"]["code"]) == (400, "INVALID_ENCODING")
        assert word in answer["error"]["message"]


def test_what_comes_out_must_be_json(gateway: Gateway) -> None:
    status, _, answer = send(gateway, CHAT, PACKERS["gzip"](b"{"), "gzip")
    assert (status, answer["error"]["code"]) == (400, "INVALID_JSON")


def test_the_key_comes_first(gateway: Gateway) -> None:
    for key in ("", f"Bearer {KEY}x"):
        status, _, _ = send(gateway, CHAT, gzip_bomb(1000), "gzip", Authorization=key)
        assert status == 401
