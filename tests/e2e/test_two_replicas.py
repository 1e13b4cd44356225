"""Two gateways behind nginx, with the files of deploy/nginx: what a client sees of each, and of their ends."""

from __future__ import annotations

import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.e2e.harness import DEADLINE_S, KEY, MODEL, Gateway, Upstream, ask, wait_until
from tests.e2e.in_flight import HELD, lines, read_frame_by_frame, send
from tests.e2e.raw_http import OF_OPERATORS, exchange, request_bytes
from tests.e2e.replicas import Replicas
from tests.e2e.responses_api import answer
from tests.e2e.routes import Route, on_each_route

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

LIMITED = "sk-limited-7yQ2mV7xK4tB1wZ8cR5y"
NAMES = 16
"""Conversations, so many that both replicas have some: where each goes depends on the ports."""
CLIENTS = 8
SETTINGS = {
    "PROXY_API_KEYS": f"limited={LIMITED}",
    "PROXY_RATE_LIMITS": "limited=1/day",
    "PROXY_MAX_BODY_BYTES": "1048576",
    "PROXY_METRICS_TOKEN": "token-of-the-scraper-0123456789",
}


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream) -> Iterator[Replicas]:
    """Two replicas for every test that does no harm to them."""
    replicas = Replicas(tmp_path_factory.mktemp("pair"), upstream, **SETTINGS)
    yield replicas
    replicas.close()


@pytest.fixture
def own_pair(tmp_path: Path, upstream: Upstream) -> Iterator[Callable[..., Replicas]]:
    """Two replicas that a test may end."""
    made: list[Replicas] = []

    def make(**settings: str) -> Replicas:
        made.append(Replicas(tmp_path, upstream, **settings))
        return made[-1]

    yield make
    for replicas in made:
        replicas.close()


def named(conversation: str, key: str = KEY) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}", "X-Conversation-Id": conversation}


def post(gateway: Gateway, body: Any, conversation: str, **options: Any) -> requests.Response:
    return requests.post(
        f"{gateway.url}/v1/chat/completions",
        json=body,
        headers=named(conversation),
        timeout=DEADLINE_S,
        **options,
    )


# What passes


def test_each_frame_arrives_before_the_next_is_written(pair: Replicas, upstream: Upstream) -> None:
    streamed = read_frame_by_frame(pair.front, upstream)
    assert streamed.headers["Content-Type"].startswith("text/event-stream")


@on_each_route
@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_leaves_ends_its_turn(
    pair: Replicas, upstream: Upstream, stream: bool, route: Route
) -> None:
    marker = upstream.play(HELD)
    connection = send(pair.nginx.port, marker, route, stream=stream)
    upstream.control.wait("held", marker)
    connection.close()
    upstream.control.wait("peer_closed", marker)


def test_a_body_that_is_too_long_is_refused_by_the_gateway(pair: Replicas) -> None:
    refused = pair.front.post(ask("x" * 2_000_000))
    assert (refused.status_code, refused.json()["error"]["retryable"]) == (413, False)


def test_the_limit_of_a_key_counts_at_both_and_is_told(pair: Replicas, upstream: Upstream) -> None:
    marker = upstream.say("ok")
    url = f"{pair.front.url}/v1/chat/completions"
    answers = [
        requests.post(url, json=ask(marker), headers=named(f"c{n}", LIMITED), timeout=DEADLINE_S)
        for n in range(NAMES)
    ]
    assert Counter(found.status_code for found in answers) == {200: 1, 429: NAMES - 1}
    assert set(pair.answerers(answers)) == {0, 1}
    (refused, *_) = [found for found in answers if found.status_code == 429]
    assert refused.json()["error"]["code"] == "rate_limit_exceeded"
    assert int(refused.headers["Retry-After"]) > 0


def test_maintenance_is_told_in_our_words(pair: Replicas) -> None:
    def set_to(*, enabled: bool) -> None:
        for gateway in pair.gateways:
            requests.post(
                f"{gateway.url}/internal/maintenance",
                json={"enabled": enabled, "reason": "We are moving."},
                headers=gateway.headers,
                timeout=DEADLINE_S,
            ).raise_for_status()

    set_to(enabled=True)
    refused = pair.front.post(ask("nobody sees this"))
    set_to(enabled=False)
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "MAINTENANCE")
    assert "Retry-After" in refused.headers


@pytest.mark.parametrize("target", OF_OPERATORS)
def test_what_is_for_operators_cannot_be_reached(pair: Replicas, target: str) -> None:
    for key in (KEY, SETTINGS["PROXY_METRICS_TOKEN"]):
        asked = request_bytes("GET", target, Authorization=f"Bearer {key}")
        status, _, body = exchange(pair.front, asked)
        assert status == 404
        assert b"enabled" not in body
        assert b"codex_" not in body


def test_operators_reach_it_at_the_replica(pair: Replicas) -> None:
    assert pair.gateways[0].get("/internal/maintenance").status_code == 200


# Who answers


def talk(doors: list[Gateway], upstream: Upstream, name: str, rounds: int) -> list[bool]:
    """Have a conversation at one door after the other; return for each round but the first whether it went on."""
    marker = upstream.play(
        [{"items": [{"type": "message", "deltas": [f"{name} {n}"]}]} for n in range(rounds)]
    )
    messages: list[dict[str, str]] = [{"role": "user", "content": f"[{marker}] {name}"}]
    went_on = []
    for number in range(rounds):
        door = doors[number % len(doors)]
        told = post(door, {"model": MODEL, "messages": messages}, name).json()
        went_on.append(told["codex_metadata"]["continued"])
        messages += [told["choices"][0]["message"], {"role": "user", "content": "And?"}]
        messages[-2] = {key: messages[-2][key] for key in ("role", "content")}
    return went_on[1:]


def test_a_conversation_goes_on_at_the_replica_that_has_it(
    pair: Replicas, upstream: Upstream
) -> None:
    rounds = [talk([pair.front], upstream, f"sticky-{n}", 3) for n in range(4)]
    assert all(all(round_) for round_ in rounds)
    assert talk(pair.gateways, upstream, "taking turns", 2) == [False]


def test_names_are_spread_and_each_stays(pair: Replicas, upstream: Upstream) -> None:
    marker = upstream.say("ok")
    names = [f"name-{n}" for n in range(NAMES)]
    rounds = [[post(pair.front, ask(marker), name) for name in names] for _ in range(2)]
    once, again = (pair.answerers(found) for found in rounds)
    assert once == again
    assert set(once) == {0, 1}


# Their ends


class Crowd:
    """Clients that ask again and again, whole and streamed, each over a connection of its own."""

    def __init__(self, front: Gateway, upstream: Upstream, clients: int) -> None:
        self._front = front
        self._marker = upstream.say(*["word "] * 10, interval_ms=20)
        self._is_over = threading.Event()
        self._pool = ThreadPoolExecutor(clients)
        self.served = 0
        self._clients = [self._pool.submit(self._go_on, n) for n in range(clients)]

    def _go_on(self, number: int) -> list[str]:
        problems = []
        turn = 0
        while not self._is_over.is_set():
            turn += 1
            name = f"{number}-{turn}"
            try:
                told = post(self._front, ask(self._marker, stream=turn % 2 == 0), name)
                is_whole = told.status_code == 200 and told.text.count("word ") == 10
                is_whole = is_whole and '"finish_reason":"stop"' in told.text.replace(" ", "")
            except requests.RequestException as error:
                is_whole = False
                problems.append(repr(error))
            else:
                if not is_whole:
                    problems.append(f"{told.status_code} {told.text[-300:]}")
            self.served += is_whole
        return problems

    def wait_for(self, more: int) -> None:
        wanted = self.served + more
        wait_until(lambda: self.served >= wanted, f"{more} more are served")

    def end(self) -> list[str]:
        """Let everybody finish; return what went wrong."""
        self._is_over.set()
        return [problem for client in self._clients for problem in client.result(DEADLINE_S)]


def names_of_each(pair: Replicas, upstream: Upstream) -> list[list[str]]:
    """Return conversations, and that not few, by the replica that each of them goes to."""
    names = [f"held-{n}" for n in range(NAMES)]
    marker = upstream.say("ok")
    gave = pair.answerers([post(pair.front, ask(marker), name) for name in names])
    found = [[name for name, by in zip(names, gave, strict=True) if by == n] for n in (0, 1)]
    assert all(found)
    return found


class Held:
    """Requests of these conversations in progress, every other one a stream that has said something."""

    def __init__(self, front: Gateway, upstream: Upstream, names: list[str]) -> None:
        script = {"hold": True, "items": [{"type": "message", "deltas": ["a", "b"]}]}
        self._upstream = upstream
        self._pool = ThreadPoolExecutor(len(names))
        self._count = len(names)
        self.marker = upstream.play(script)
        self._ends = [self._pool.submit(self._ask, front, *each) for each in enumerate(names)]
        assert self.are_in_progress()

    def _ask(self, front: Gateway, number: int, name: str) -> str:
        try:
            told = post(front, ask(self.marker, stream=number % 2 == 0), name)
        except requests.exceptions.ChunkedEncodingError:
            return "broken off"
        return f"{told.status_code} {told.text}"

    def are_in_progress(self) -> bool:
        """Whether the upstream is at work on every one, and none has ended."""
        self._upstream.control.wait("held", self.marker, count=self._count, timeout_ms=30_000)
        return not any(end.done() for end in self._ends)

    def wait_for(self, count: int) -> None:
        wait_until(lambda: sum(end.done() for end in self._ends) == count, f"{count} have ended")

    def release(self) -> list[str]:
        """Let the upstream go on; return what each client got."""
        self._upstream.control.release(self.marker)
        return [end.result(DEADLINE_S) for end in self._ends]


def is_whole(told: str) -> bool:
    """Whether a client got an answer to its end, in one piece or in frames."""
    texts = re.findall(r'"content":\s*"([^"]+)"', told)
    return told.startswith("200") and "".join(texts) == "ab" and '"error"' not in told


def test_a_rolling_restart_loses_no_request(
    own_pair: Callable[..., Replicas], upstream: Upstream
) -> None:
    pair = own_pair(WORKER_SHUTDOWN_GRACE_MS="60000")
    names = names_of_each(pair, upstream)
    crowd = Crowd(pair.front, upstream, CLIENTS)
    for number in (0, 1):
        both = [Held(pair.front, upstream, each) for each in names]
        pair.nginx.take_out(number)
        gateway, its = pair.gateways[number], len(names[number])
        wait_until(lambda: gateway.health()["running"] == its, "it has what is held, and no more")  # noqa: B023
        served = len(lines(gateway))
        crowd.wait_for(2 * CLIENTS)
        assert len(lines(gateway)) == served, "the other one served them"
        pair.begin_to_stop(number)
        crowd.wait_for(2 * CLIENTS)
        assert all(held.are_in_progress() for held in both)
        ends = [end for held in both for end in held.release()]
        assert pair.replace(number) == 0
        assert [end for end in ends if not is_whole(end)] == []
        pair.nginx.take_out()
        crowd.wait_for(2 * CLIENTS)
    assert crowd.end() == []
    for gateway in pair.gateways:
        assert len(gateway.events("request")) > 0


def all_are_served(pair: Replicas, upstream: Upstream) -> None:
    """Ask once for each of the conversations that were in progress, of which some have lost their replica."""
    say = upstream.say("ok")
    later = [post(pair.front, ask(say), f"held-{n}") for n in range(NAMES)]
    assert [found.status_code for found in later] == [200] * NAMES


def test_where_a_replica_dies_only_its_requests_break_off_and_chains_go_on(
    own_pair: Callable[..., Replicas], upstream: Upstream
) -> None:
    pair = own_pair()
    chain = upstream.play([{"items": [{"type": "message", "deltas": [f"a{n}"]}]} for n in range(3)])
    first = answer(pair.gateways[0], input=f"hi {chain}")
    at = names_of_each(pair, upstream)
    held = Held(pair.front, upstream, [*at[0], *at[1]])
    pair.kill(0)
    held.wait_for(len(at[0]))
    all_are_served(pair, upstream)
    ends = Counter(end[:3] for end in held.release())
    assert ends["200"] == len(at[1])
    assert ends["bro"] + ends["502"] == len(at[0])
    # Nobody's turn was begun a second time, also of those who had not got a byte.
    assert len(upstream.control.requests(held.marker)) == NAMES

    second = answer(pair.front, input="and?", previous_response_id=first["id"])
    third = answer(pair.front, input="and?", previous_response_id=second["id"])
    assert [part["text"] for item in third["output"] for part in item["content"]] == ["a2"]


def test_where_a_replica_is_stopped_what_takes_longer_ends_in_our_words(
    own_pair: Callable[..., Replicas], upstream: Upstream
) -> None:
    pair = own_pair(WORKER_SHUTDOWN_GRACE_MS="300")
    at = names_of_each(pair, upstream)
    held = Held(pair.front, upstream, [*at[0], *at[1]])
    assert pair.gateways[0].stop() == 0
    held.wait_for(len(at[0]))
    all_are_served(pair, upstream)
    ends = held.release()
    assert sum('"code":"DRAINING"' in end for end in ends) == len(at[0])
    assert {end[:3] for end in ends} <= {"200", "503"}
