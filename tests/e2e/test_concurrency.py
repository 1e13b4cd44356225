"""Many at once, on one child or with a process each: nothing mixed up, nothing left behind."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tests.e2e.harness import IS_SHARED, Gateway, Upstream, ask, wait_until
from tests.e2e.raw_http import stream_frames

STREAMS = 32 if IS_SHARED else 8  # as many processes start for them, in ten seconds


def test_streams_are_never_mixed_up(gateway: Gateway, upstream: Upstream) -> None:
    texts = [[f"<{index}:{part}>" for part in range(40)] for index in range(STREAMS)]
    markers = [upstream.say(*text, interval_ms=5) for text in texts]
    with ThreadPoolExecutor(STREAMS) as pool:
        answers = list(pool.map(lambda marker: stream_frames(gateway, ask(marker)), markers))
    for text, (_, frames) in zip(texts, answers, strict=True):
        assert [frame["choices"][0]["delta"].get("content") for frame in frames[1:-2]] == text
    assert len({frames[0]["id"] for _, frames in answers}) == STREAMS


def test_every_turn_is_given_back(gateway: Gateway, upstream: Upstream) -> None:
    bodies: list[Any] = [ask(upstream.say("x")) for _ in range(20)]
    bodies += [ask(upstream.play({"failure": "server_error"})) for _ in range(5)]
    with ThreadPoolExecutor(8) as pool:
        statuses = [answer.status_code for answer in pool.map(gateway.post, bodies)]
    assert statuses == [200] * 20 + [502] * 5
    wait_until(lambda: gateway.get("/healthz").json()["child"]["running"] == 0, "no turn runs")
    wait_until(lambda: not upstream.control.state()["in_flight"], "the upstream is at rest")


def test_a_client_that_leaves_ends_its_turn(gateway: Gateway, upstream: Upstream) -> None:
    items = [{"type": "message", "text": "tick ", "repeat": 3000}]
    marker = upstream.play({"items": items, "interval_ms": 10})
    response = gateway.post(ask(marker, stream=True), stream=True)
    assert next(response.iter_lines()).startswith(b"data: ")
    response.close()
    upstream.control.wait("peer_closed", marker)
    wait_until(lambda: gateway.get("/healthz").json()["child"]["running"] == 0, "no turn runs")


def test_one_more_than_there_is_room_for_is_told_so(make_gateway: Any, upstream: Upstream) -> None:
    gateway = make_gateway(
        WORKER_MAX_CONCURRENCY="1", WORKER_QUEUE_MAX="1", WORKER_QUEUE_TIMEOUT_MS="20000"
    )
    first = upstream.play({"hold": True, "items": [{"type": "message", "text": "first"}]})
    second = upstream.say("second")
    with ThreadPoolExecutor(2) as pool:
        one = pool.submit(gateway.post, ask(first))
        upstream.control.wait("held", first)
        two = pool.submit(gateway.post, ask(second))
        wait_until(lambda: gateway.get("/healthz").json()["child"]["waiting"] == 1, "one waits")
        refused = gateway.post(ask(second))
        upstream.control.release(first)
        assert one.result().status_code == two.result().status_code == 200
    assert refused.status_code == 429
    assert refused.json()["error"]["code"] == "WORKER_BUSY"
    assert refused.headers["Retry-After"] == "1"
