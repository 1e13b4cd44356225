"""Attacks by one key or by strangers, each bounded in count and time, and what each of them sends."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

from tests.chaos.floods import FLOODS
from tests.chaos.target import FLOOD_S, Target, chat


def _tool(name: str, schema: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "parameters": schema}}


def _format(schema: Any) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "s", "schema": schema}}


def tools_for_codex(target: Target) -> None:
    schema = {"type": "object", "properties": {"a": {"enum": [f"{n}" for n in range(1_200_000)]}}}
    target.send_all([chat(tools=[_tool("t", schema)])] * 4)


def many_tools(target: Target) -> None:
    schema = {"type": "object", "properties": {f"p{n}": {"type": "string"} for n in range(900)}}
    target.send_all([chat(tools=[_tool(f"t{n}", schema) for n in range(128)])] * 4)


def long_texts(target: Target) -> None:
    """The longest ones, and one that is too long."""
    message = {"role": "user", "content": "words " * 1_747_000}
    target.send_all([chat(messages=[message] * 3)] * 3)
    target.send_all([chat(messages=[{"role": "user", "content": "word " * 5_800_000}])] * 3)


def long_escapes(target: Target) -> None:
    content = '"' + "\\u0041\\n" * 3_400_000 + '"'
    body = chat(messages=[{"role": "user", "content": "@"}]).replace(b'"@"', content.encode())
    target.send_all([body] * 2)


def large_schemas(target: Target) -> None:
    marker = target.upstream.say("{}")
    properties = {f"p{n}": {"anyOf": [{"type": "string"}] * 30} for n in range(400)}
    schema = {"allOf": [{"$ref": "#/$defs/a"}] * 200, "$defs": {"a": {"properties": properties}}}
    target.send_all([chat(marker, response_format=_format(schema))] * 4)


def long_answers_to_check(target: Target) -> None:
    marker = target.upstream.say("[", *["[[],{},1,null]," * 200] * 1000, "0]")
    schema = {"type": "array", "items": {"anyOf": [{"type": "string"}, {"not": {}}, {}]}}
    target.send_all([chat(marker, response_format=_format(schema))] * 4)


def many_values(target: Target) -> None:
    target.send_all([chat(metadata="@").replace(b'"@"', b"[" + b"{}," * 10_000_000 + b"{}]")] * 3)


def many_keys(target: Target) -> None:
    members = ",".join(f'"{n}":1' for n in range(1_500_000)).encode()
    target.send_all([chat(logit_bias="@").replace(b'"@"', b"{" + members + b"}")] * 3)


def many_unknown_members(target: Target) -> None:
    members = ",".join(f'"{n}":1' for n in range(1_500_000)).encode()
    target.send_all([chat()[:-1] + b"," + members + b"}"] * 3)


def many_messages(target: Target) -> None:
    message = {"role": "user", "content": [{"type": "text", "text": "hi"}]}
    target.send_all([chat(messages=[message] * 50_000)] * 3)


def deep_bodies(target: Target) -> None:
    deep = b"[" * 15_000_000 + b"]" * 15_000_000
    target.send_all([chat(metadata="@").replace(b'"@"', deep)] * 3)


def pipelined_by_strangers(target: Target) -> None:
    one = b"GET /v1/models HTTP/1.1\r\nHost: a\r\n\r\n"
    _pipelined(target, one * (875_000 // len(one)))


def pipelined_wrong_urls(target: Target) -> None:
    one = b"POST /v1/chat/completion HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"
    _pipelined(target, one * (875_000 // len(one)))


def pipelined_preflights(target: Target) -> None:
    one = (
        b"OPTIONS /v1/chat/completions HTTP/1.1\r\nHost: a\r\nOrigin: https://a.example\r\n"
        b"Access-Control-Request-Method: POST\r\n\r\n"
    )
    _pipelined(target, one * (875_000 // len(one)))


def _pipelined(target: Target, data: bytes) -> None:
    def one(_: int) -> None:
        with target.connect() as connection, contextlib.suppress(OSError):
            connection.setblocking(False)
            left, ends_at = memoryview(data), time.monotonic() + FLOOD_S
            while time.monotonic() < ends_at:
                with contextlib.suppress(BlockingIOError):
                    left = left[connection.send(left) :] if left else left
                with contextlib.suppress(BlockingIOError):
                    if not connection.recv(1 << 20):
                        return
                time.sleep(0.001)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(one, range(8)))


def connections_by_strangers(target: Target) -> None:
    ends_at = time.monotonic() + FLOOD_S

    def one(_: int) -> None:
        while time.monotonic() < ends_at:
            target.send(target.request(b"{}", key="wrong"))

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(one, range(16)))


def large_bodies_held(target: Target) -> None:
    with held(target, [target.request(b" " * 30_000_000, declared=30_000_001)] * 10):
        time.sleep(FLOOD_S)


def bodies_dripped(target: Target) -> None:
    with held(target, [target.request(b" ", declared=1000)] * 600):
        time.sleep(FLOOD_S)


@contextlib.contextmanager
def held(target: Target, beginnings: list[bytes]) -> Iterator[list[socket.socket]]:
    """Hold a connection open for each beginning of a request, which is sent there."""
    with ExitStack() as opened, ThreadPoolExecutor(8) as pool:
        connections = [opened.enter_context(target.connect()) for _ in beginnings]

        def begin(connection: socket.socket, beginning: bytes) -> None:
            with contextlib.suppress(OSError):
                connection.sendall(beginning)

        list(pool.map(begin, connections, beginnings))
        yield connections


def streams_that_hold_every_turn(target: Target) -> None:
    marker = target.upstream.say("a", "b", hold=True)
    with ExitStack() as held:
        for _ in range(100):
            connection = held.enter_context(target.connect())
            connection.sendall(target.request(chat(marker, stream=True)))
        time.sleep(FLOOD_S)
    target.upstream.control.release(marker)


def huge_answers(target: Target) -> None:
    marker = target.upstream.say(*["x" * 65_536] * 400)
    target.send_all([chat(marker)] * 4)


def huge_answers_unread(target: Target) -> None:
    marker = target.upstream.say(*["x" * 65_536] * 400)
    with ExitStack() as held:
        for _ in range(4):
            connection = held.enter_context(target.connect())
            connection.sendall(target.request(chat(marker, stream=True)))
        time.sleep(FLOOD_S)


def huge_errors(target: Target) -> None:
    body = {"error": {"message": "x" * 50_000_000, "code": "c", "type": "t", "param": None}}
    failure = {"name": "bad_request", "body": body}
    marker = target.upstream.play({"items": [], "failure": failure})
    target.send_all([chat(marker)] * 2)


def small_deltas_without_end(target: Target) -> None:
    marker = target.upstream.say(*["a"] * 60_000)
    target.send_all([chat(marker)] * 4)


BY_ONE_KEY: tuple[Callable[[Target], None], ...] = (
    *(tools_for_codex, many_tools, long_texts, long_escapes),
    *(large_schemas, long_answers_to_check),
    *(many_values, many_keys, many_unknown_members, many_messages, deep_bodies),
    *(large_bodies_held, bodies_dripped, streams_that_hold_every_turn),
    *(huge_answers, huge_answers_unread, huge_errors, small_deltas_without_end),
)
BY_STRANGERS: tuple[Callable[[Target], None], ...] = (
    *(pipelined_by_strangers, pipelined_wrong_urls, pipelined_preflights, connections_by_strangers),
)


def nothing(_: Target) -> None:
    """The control run: what the machine itself makes of it."""
    time.sleep(FLOOD_S)


ATTACKS = {attack.__name__: attack for attack in (nothing, *BY_ONE_KEY, *BY_STRANGERS)} | FLOODS
