"""Threads that were started ahead of requests: who gets one, that nothing is different, and how they end."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.e2e.harness import Gateway, Upstream, ask, wait_until
from tests.e2e.scrape import scrape, total
from tests.e2e.talk import TOOL

OTHER = "another-key-of-thirty-characters"
SCHEMA = {
    "type": "json_schema",
    "json_schema": {
        "name": "form",
        "strict": True,
        "schema": {
            "type": "object",
            "properties": {"a": {"type": "string"}},
            "required": ["a"],
            "additionalProperties": False,
        },
    },
}
OPTIONS: list[dict[str, Any]] = [
    {},
    {"reasoning_effort": "high"},
    {"reasoning_effort": "low", "service_tier": "priority"},
    {"response_format": SCHEMA},
]
MODELS = ["gpt-5.5", "gpt-5.6-sol", "gpt-6-astra"]
OF_A_THREAD = {"prompt_cache_key", "client_metadata", "id"}
OF_A_REQUEST = {"content-length", "session-id", "thread-id", "x-client-request-id"}


def waiting(gateway: Gateway) -> float:
    return total(scrape(gateway), "codex_warm_threads")


def lookups(gateway: Gateway, result: str) -> float:
    return total(scrape(gateway), "codex_warm_thread_lookups_total", result=result)


def await_warm(gateway: Gateway, count: int = 1) -> None:
    wait_until(lambda: waiting(gateway) >= count, f"{count} warm threads")


def masked(value: Any) -> Any:
    """What goes upstream, without what is every thread's own."""
    if isinstance(value, dict):
        return {name: masked(each) for name, each in value.items() if name not in OF_A_THREAD}
    return [masked(each) for each in value] if isinstance(value, list) else value


def seen(upstream: Upstream, marker: str) -> tuple[Any, Any]:
    """The request with this marker: its body, and which members codex tells of itself."""
    (record,) = upstream.control.requests(marker)
    metadata = record["body"]["client_metadata"]
    headers = {
        name: value
        for name, value in record["headers"].items()
        if name not in OF_A_REQUEST and not name.startswith("x-codex-")
    }
    body = masked(record["body"])
    text = str(body).replace(marker, "MARKER")
    return text, (headers, sorted(record["headers"]), sorted(metadata))


def test_the_first_request_after_a_start_finds_one(
    make_gateway: Callable[..., Gateway], upstream: Upstream
) -> None:
    gateway = make_gateway()
    await_warm(gateway)
    answer = gateway.post(ask(upstream.say("a", "b"))).json()
    assert answer["choices"][0]["message"]["content"] == "ab"
    assert (lookups(gateway, "warm"), lookups(gateway, "cold")) == (1, 0)
    await_warm(gateway)  # another one takes its place


@pytest.mark.parametrize("tools", [False, True], ids=["no tools", "tools"])
def test_what_goes_upstream_is_the_same(
    make_gateway: Callable[..., Gateway], upstream: Upstream, *, tools: bool
) -> None:
    warm, cold = make_gateway(), make_gateway(WORKER_WARM_THREADS="0")
    offered = {"tools": [TOOL]} if tools else {}
    for model in MODELS if tools else []:  # a list of tools has to come again
        for _ in range(2):
            warm.post(ask(upstream.say("x"), model=model, **offered))
    for model in MODELS:
        for options in OPTIONS:
            await_warm(warm, 2 if tools else 1)
            found = []
            for gateway in (warm, cold):
                marker = upstream.say('{"a": "b"}')
                body = ask(marker, model=model, **offered, **options)
                body["messages"].insert(0, {"role": "system", "content": "Be brief."})
                before = lookups(warm, "warm")
                assert gateway.post(body).status_code == 200
                assert lookups(warm, "warm") == before + (gateway is warm)
                found.append(seen(upstream, marker))
            assert found[0] == found[1]
    assert waiting(cold) == lookups(cold, "warm") == 0


def test_a_second_round_on_a_warm_thread_is_the_same_too(
    make_gateway: Callable[..., Gateway], upstream: Upstream
) -> None:
    bodies = []
    for settings in ({}, {"WORKER_WARM_THREADS": "0"}):
        gateway = make_gateway(**settings)
        if not settings:
            await_warm(gateway)
        marker = upstream.play([{"items": [{"type": "message", "deltas": ["a"]}]}] * 2)
        body = ask(marker, model="gpt-5.6-sol", reasoning_effort="low")
        said = gateway.post(body).json()["choices"][0]["message"]
        body["messages"] += [said, {"role": "user", "content": "more"}]
        assert gateway.post(body).json()["codex_metadata"]["continued"] is True
        records = upstream.control.requests(marker)
        bodies.append([str(masked(it["body"])).replace(marker, "MARKER") for it in records])
        assert len({it["body"]["prompt_cache_key"] for it in records}) == 1
    assert bodies[0] == bodies[1]


def test_a_list_of_tools_has_its_own_and_each_key_too(
    make_gateway: Callable[..., Gateway], upstream: Upstream
) -> None:
    gateway = make_gateway(PROXY_API_KEYS=f"other={OTHER}")
    await_warm(gateway)
    for result in ("tools", "cold"):
        assert gateway.post(ask(upstream.say("x"), tools=[TOOL])).status_code == 200
        assert lookups(gateway, result) == 1
    await_warm(gateway, 2)
    client = gateway.sdk(api_key=OTHER)
    client.chat.completions.create(**ask(upstream.say("x"), tools=[TOOL]))
    assert lookups(gateway, "tools") == 2
    gateway.post(ask(upstream.say("x"), tools=[TOOL]))
    assert lookups(gateway, "warm") == 1
    gateway.post(ask(upstream.say("x"), verbosity="low"))
    assert lookups(gateway, "verbosity") == 1


def test_there_are_never_more_than_may_be(
    make_gateway: Callable[..., Gateway], upstream: Upstream
) -> None:
    gateway = make_gateway(WORKER_WARM_THREADS="2")
    await_warm(gateway)
    markers = [upstream.say("x") for _ in range(12)]
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda marker: gateway.post(ask(marker)).status_code, markers))
    assert answers == [200] * 12
    await_warm(gateway, 2)
    for _ in range(2):
        gateway.post(ask(upstream.say("x"), tools=[TOOL]))
    assert waiting(gateway) <= 2


def test_with_a_child_they_go_and_with_the_next_they_come(
    make_gateway: Callable[..., Gateway], upstream: Upstream
) -> None:
    gateway = make_gateway()
    await_warm(gateway)
    first = gateway.child().pid
    os.kill(first, signal.SIGKILL)
    answer = gateway.post(ask(upstream.say("a")))
    assert answer.json()["choices"][0]["message"]["content"] == "a"
    wait_until(lambda: gateway.health()["pid"] not in {None, first}, "another child")
    await_warm(gateway)
    warm = lookups(gateway, "warm")
    assert gateway.post(ask(upstream.say("a"))).status_code == 200
    assert lookups(gateway, "warm") == warm + 1


def test_after_a_reload_the_first_request_finds_one(
    make_gateway: Callable[..., Gateway], upstream: Upstream
) -> None:
    gateway = make_gateway()
    await_warm(gateway)
    (old,) = gateway.workers()
    gateway.process.send_signal(signal.SIGHUP)
    wait_until(lambda: old not in gateway.workers(), "the old worker has gone")
    await_warm(gateway)
    warm = lookups(gateway, "warm")
    assert gateway.post(ask(upstream.say("a"))).status_code == 200
    assert lookups(gateway, "warm") == warm + 1
