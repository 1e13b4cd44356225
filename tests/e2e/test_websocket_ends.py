"""Ends of WebSockets, and clients that would harm others: cut off in the words of the protocol, and nothing is left."""

from __future__ import annotations

import json
import signal
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import dropwhile
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.connection import Connection

from tests.e2e.gateway_pool import SECOND_KEY
from tests.e2e.harness import DEADLINE_S, Gateway, Upstream, end, start_gateway, wait_until
from tests.e2e.reloading import Site, hup, wait_reloads
from tests.e2e.responses_api import SAID
from tests.e2e.scrape import scrape, total
from tests.e2e.websockets import (
    CLOSE,
    PING,
    PONG,
    RawSocket,
    await_nothing_left,
    dial,
    events,
    masked,
    message,
    send,
    until,
    whole,
)

HELD = {"items": [SAID], "hold": "deltas"}
LONG = {"items": [{"type": "message", "text": "x" * 60_000, "chunk": 60_000, "repeat": 100}]}
"""An answer of 6 MB: more than all buffers on the way hold."""


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream) -> Iterator[Gateway]:
    """A gateway that waits a second for what it would wait for ten or thirty, and takes little."""
    running = start_gateway(
        tmp_path_factory.mktemp("strict"),
        upstream,
        PROXY_HEAD_TIMEOUT_MS="1000",
        PROXY_BODY_TIMEOUT_MS="1500",
        PROXY_SEND_TIMEOUT_MS="1000",
        PROXY_MAX_BODY_BYTES="1000000",
        PROXY_API_KEYS=f"second={SECOND_KEY}",
    )
    running.wait_ready()
    yield running
    assert running.stop() == 0
    assert [entry for entry in running.log() if entry["level"] in {"error", "critical"}] == []
    end(running)


def code_of(client: Connection) -> tuple[int, str]:
    """Read to the end; return with which code and word the other side has closed."""
    with pytest.raises(ConnectionClosed) as closed:
        read_on(client)
    assert closed.value.rcvd is not None
    return closed.value.rcvd.code, closed.value.rcvd.reason


def read_on(client: Connection) -> None:
    while True:
        client.recv(DEADLINE_S)


# Clients that leave


def drop(client: RawSocket) -> None:
    client.socket.shutdown(socket.SHUT_RDWR)


def reset(client: RawSocket) -> None:
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


def say_goodbye(client: RawSocket) -> None:
    client.send(masked(b"\x03\xe8", CLOSE))
    assert client.closed_with() == 1000


def bring(client: RawSocket, where: str, gateway: Gateway, upstream: Upstream, marker: str) -> None:
    """Go so far with a message whose turn never ends by itself."""
    asked = masked(message(input=marker, store=False))
    client.send({"idle": b"", "frame": asked[:3], "message": asked[:-5]}.get(where, asked))
    if where == "queue":
        wait_until(lambda: gateway.health()["waiting"] == 1, "it waits")
    elif where in IN_A_TURN:
        upstream.control.wait("held", marker)
    if where == "ahead":
        client.send(asked + masked(b"x" * 200_000))
    while where == "stream" and client.event()["type"] != "response.output_text.delta":
        pass


IN_A_TURN = frozenset({"turn", "stream", "ahead"})
BEHIND_SOMETHING = frozenset({"frame", "message", "ahead"})
"""Where a farewell would be taken for more of a message, or is not read."""


@pytest.mark.parametrize("leave", [drop, reset, say_goodbye])
@pytest.mark.parametrize("where", ["idle", "frame", "message", "queue", "turn", "stream", "ahead"])
def test_a_client_that_leaves_leaves_nothing(
    lend_gateway: Callable[..., Gateway],
    upstream: Upstream,
    where: str,
    leave: Callable[[RawSocket], None],
) -> None:
    gateway = lend_gateway(WORKER_MAX_CONCURRENCY="1", WORKER_QUEUE_TIMEOUT_MS="30000")
    marker, other = upstream.play(HELD), upstream.play(HELD)
    with dial(gateway) as busy, RawSocket(gateway) as client:
        if where == "queue":
            send(busy, input=other)
            upstream.control.wait("held", other)
        bring(client, where, gateway, upstream, marker)
        if leave is not say_goodbye or where not in BEHIND_SOMETHING:
            leave(client)
    upstream.control.release(other)
    await_nothing_left(gateway)
    with dial(gateway) as after:
        assert whole(after, input=upstream.say("a"))
    assert bool(upstream.control.requests(marker)) == (where in IN_A_TURN)


# The service ends, or the connection has lived long enough


def test_50_connections_end_when_the_service_stops(make_gateway: Any, upstream: Upstream) -> None:
    gateway: Gateway = make_gateway(WORKER_SHUTDOWN_GRACE_MS="2000")
    marker = upstream.play(HELD)
    opened = [dial(gateway) for _ in range(50)]
    for client in opened[:5]:
        send(client, input=marker)
    for client in opened[:5]:
        until(client, "response.output_text.delta")
    with ThreadPoolExecutor(50) as pool:
        idle = [pool.submit(code_of, client) for client in opened[5:]]
        gateway.process.send_signal(signal.SIGTERM)
        assert {future.result()[0] for future in idle} == {1012}, "before the grace is over"
        for client in opened[:5]:
            last = events(client)[-1]
            assert last["response"]["codex_metadata"]["error"]["code"] == "DRAINING"
        assert {code for code, _ in pool.map(code_of, opened[:5])} == {1012}
    assert gateway.process.wait(DEADLINE_S) == 0
    assert [entry for entry in gateway.log() if entry["level"] in {"error", "critical"}] == []


def test_a_reload_lets_answers_end_and_closes_what_is_idle(
    tmp_path: Path, upstream: Upstream
) -> None:
    gateway = Site(tmp_path / "site", upstream).start()
    try:
        gateway.wait_ready()
        marker = upstream.play(HELD)
        opened = [dial(gateway) for _ in range(50)]
        send(opened[0], input=marker, store=False)
        until(opened[0], "response.output_text.delta")
        hup(gateway)
        wait_reloads(gateway, 1)
        with ThreadPoolExecutor(50) as pool:
            assert {code for code, _ in pool.map(code_of, opened[1:])} == {1012}
        send(opened[0], input=upstream.say("later"))
        upstream.control.release(marker)
        assert events(opened[0])[-1]["type"] == "response.completed"
        with pytest.raises(ConnectionClosed) as closed:
            opened[0].recv(DEADLINE_S)  # what comes later is for the next worker
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1012
        assert "Connect again" in closed.value.rcvd.reason
        with dial(gateway) as client:
            assert whole(client, input=upstream.say("a"))
    finally:
        end(gateway)


def test_a_connection_is_as_old_as_it_may_be(
    lend_gateway: Callable[..., Gateway], upstream: Upstream
) -> None:
    gateway = lend_gateway(PROXY_WEBSOCKET_MAX_AGE_MS="4000")
    marker = upstream.play(HELD)
    with dial(gateway) as client:
        send(client, input=marker)
        upstream.control.wait("held", marker)
        with dial(gateway) as idle:  # the younger of both
            (event,) = events(idle)
            assert (event["status"], event["error"]["code"]) == (
                *(400, "websocket_connection_limit_reached"),
            )
            assert code_of(idle)[0] == 1001
        upstream.control.release(marker)
        assert events(client)[-1]["type"] == "response.completed"
        assert events(client)[-1]["error"]["code"] == "websocket_connection_limit_reached"


def test_an_idle_connection_is_pinged_and_ends(lend_gateway: Callable[..., Gateway]) -> None:
    gateway = lend_gateway(PROXY_WEBSOCKET_IDLE_MS="900", PROXY_SSE_KEEPALIVE_MS="200")
    with RawSocket(gateway) as client:
        assert client.frame()[0] == PING
        assert client.closed_with() == 1001


# What no client library sends


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        (masked(b"{}", 2), 1003),
        (masked(b"{}", mask=False), 1002),
        (masked(b"\xff"), 1007),
        (masked(b"{}", 3), 1002),
        (masked(b"{}", 0), 1002),
        (masked(b"x" * 126, PING), 1002),
        (masked(b"x", PING, final=False), 1002),
        (b"\xc1" + masked(b"{}")[1:], 1002),
        (masked(b"\x03", CLOSE), 1002),
        (masked(b" ", final=False) + masked(b" ", 0, final=False) * 20_000, 1008),
    ],
)
def test_what_breaks_the_protocol_ends_the_connection(
    strict: Gateway, frames: bytes, code: int
) -> None:
    with RawSocket(strict) as client:
        client.send(frames)
        assert client.closed_with() == code
    await_nothing_left(strict)


def test_compression_is_not_agreed_on(gateway: Gateway) -> None:
    with RawSocket(gateway) as client:
        assert b"extensions" not in client.head.lower()


def test_a_message_that_is_too_long_is_refused(strict: Gateway, upstream: Upstream) -> None:
    with RawSocket(strict) as client:
        client.send(masked(b" " * 1_500_000) + masked(message(input=upstream.say("a"))))
        event = client.event()
        assert (event["status"], event["error"]["code"]) == (413, "BODY_TOO_LARGE")
        assert client.event()["type"] == "response.created", "it is read past"
    with RawSocket(strict) as client:
        client.send(masked(b" " * 3_000_000))
        assert client.event()["error"]["code"] == "BODY_TOO_LARGE"
        assert client.closed_with() == 1009
    await_nothing_left(strict)


def test_a_message_that_pauses_or_drips_is_given_up(strict: Gateway) -> None:
    with RawSocket(strict) as client:
        client.send(masked(b'{"type"', final=False))
        assert client.event()["error"]["code"] == "BODY_TIMEOUT"
        assert client.closed_with() == 1009
    await_nothing_left(strict)


def test_a_flood_of_messages_is_answered_one_by_one(strict: Gateway, upstream: Upstream) -> None:
    marker = upstream.play(HELD)
    ahead = masked(b"[" + b" " * 500_000 + b"]")
    with RawSocket(strict) as client, ThreadPoolExecutor(1) as pool:
        client.send(masked(message(input=marker)))
        upstream.control.wait("held", marker)
        (worker,) = strict.workers()
        before = worker.memory_info().rss
        sending = pool.submit(client.send, ahead * 100)
        assert ask_as(strict, SECOND_KEY, upstream)
        assert not sending.done(), "nobody reads so far ahead"
        assert worker.memory_info().rss - before < 25_000_000
        client.socket.shutdown(socket.SHUT_RDWR)
        assert isinstance(sending.exception(), OSError)
    await_nothing_left(strict)


def ask_as(gateway: Gateway, key: str, upstream: Upstream) -> Any:
    with dial(gateway, key) as client:
        return whole(client, input=upstream.say("a"))


def test_a_flood_of_pings_stops_nobody(strict: Gateway, upstream: Upstream) -> None:
    with RawSocket(strict) as client, ThreadPoolExecutor(1) as pool:
        sending = pool.submit(client.send, masked(b"", PING) * 50_000)
        for _ in range(3):
            assert ask_as(strict, SECOND_KEY, upstream)
        assert [client.frame()[0] for _ in range(50_000)] == [PONG] * 50_000
        sending.result()
        client.send(masked(message(input=upstream.say("a"))))
        assert client.event()["type"] == "response.created"


def test_a_client_that_does_not_read_is_cut_off(strict: Gateway, upstream: Upstream) -> None:
    before = total(scrape(strict), "codex_connections_cut_total", reason="slow_reader")
    with RawSocket(strict, room=4096) as client:
        client.send(masked(message(input=upstream.play(LONG))))
        assert ask_as(strict, SECOND_KEY, upstream)
        await_nothing_left(strict)
        after = total(scrape(strict), "codex_connections_cut_total", reason="slow_reader")
        assert after == before + 1
    wait_until(lambda: ("websocket", "slow_reader") in ends(strict), "its line is written")


def ends(gateway: Gateway) -> set[tuple[str | None, str]]:
    """How requests came in, and how they ended."""
    return {(line.get("transport"), line["outcome"]) for line in gateway.events("request")}


def test_connections_that_say_nothing_make_room(make_gateway: Any, upstream: Upstream) -> None:
    gateway: Gateway = make_gateway(starter='ulimit -n 400; exec "$@"')
    opened = [RawSocket(gateway) for _ in range(230)]
    with dial(gateway) as client:
        assert whole(client, input=upstream.say("a"))
    assert gateway.get("/livez").status_code == 200
    assert total(scrape(gateway), "codex_connections_cut_total", reason="made_room") > 0
    for one in opened:
        one.close()
    await_nothing_left(gateway)


def test_handshakes_in_one_packet_with_what_follows(gateway: Gateway) -> None:
    """A request behind the handshake is no request: what follows is frames."""
    hidden = b"GET /internal/maintenance HTTP/1.1\r\nHost: a\r\n\r\n"
    request_id = uuid4().hex
    with RawSocket(gateway, ahead=hidden, headers={"X-Request-Id": request_id}) as client:
        assert client.status == 101
        assert client.closed_with() == 1002
    is_before = lambda line: line["request_id"] != request_id  # noqa: E731
    lines = wait_until(lambda: [*dropwhile(is_before, gateway.events("request"))], "its line")
    assert json.dumps(lines).count("maintenance") == 0


def test_strangers_do_not_displace_one_that_is_idle(make_gateway: Any, upstream: Upstream) -> None:
    gateway: Gateway = make_gateway(starter='ulimit -n 400; exec "$@"')
    with dial(gateway) as client:
        before = whole(client, input=upstream.say("a"), store=False)["id"]
        opened = [ask_as_stranger(gateway) for _ in range(500)]
        assert total(scrape(gateway), "codex_connections_cut_total", reason="made_room") > 0
        assert whole(client, input=upstream.say("b"), store=False, previous_response_id=before)
        for one in opened:
            one.close()
    await_nothing_left(gateway)


def ask_as_stranger(gateway: Gateway) -> socket.socket:
    """A connection that is kept open once it was refused, or was closed."""
    client = socket.create_connection(("127.0.0.1", gateway.port), DEADLINE_S)
    with suppress(OSError):
        client.sendall(b"GET /v1/models HTTP/1.1\r\nHost: a\r\n\r\n")
        client.recv(65536)
    return client
