"""What one key may ask: exact at the border, one budget on every path, and nothing for whoever has no key."""

from __future__ import annotations

import re
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import openai
import pytest
import requests

from tests.e2e.harness import (
    DEADLINE_S,
    MODEL,
    Gateway,
    Upstream,
    ask,
    end,
    start_gateway,
    wait_until,
)
from tests.e2e.raw_http import exchange, request_bytes
from tests.e2e.scrape import scrape, total

CHAT = "/v1/chat/completions"
RATE_HEADERS = {f"x-ratelimit-{what}-requests" for what in ("limit", "remaining", "reset")}
LIMITS = {
    "three": "3/hour",
    "crowd": "20/hour",
    "paths": "4/hour",
    "mistakes": "3/hour",
    "both": "2/minute;100/hour",
    "streams": "5/hour",
    "sdk": "1/hour",
    "seen": "1/hour",
    "browser": "5/hour",
    "careful": "5/hour",
    "brief": "1/second",
    "free": "off",
}


def key_of(name: str) -> str:
    return f"sk-key-of-{name}-0123456789"


def settings(names: dict[str, str]) -> dict[str, str]:
    return {
        "PROXY_API_KEYS": ",".join(f"{name}={key_of(name)}" for name in names),
        "PROXY_RATE_LIMITS": ",".join(f"{name}={limit}" for name, limit in names.items()),
    }


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream) -> Iterator[Gateway]:
    """A gateway on which each test has a key of its own."""
    folder = tmp_path_factory.mktemp("limited")
    running = start_gateway(folder, upstream, PROXY_RATE_LIMIT="9/minute", **settings(LIMITS))
    running.wait_ready()
    yield running
    end(running)


QUICK = "a-quick-answer"


@pytest.fixture(scope="module", autouse=True)
def quick(upstream: Upstream) -> None:
    """Spare the tests the greeting of the demo, which takes its time."""
    upstream.control.script(QUICK, {"items": [{"type": "message", "deltas": ["ok"]}]})


def post(gateway: Gateway, name: str, path: str = CHAT, **body: Any) -> requests.Response:
    return requests.post(
        gateway.url + path,
        json=body or ask(QUICK),
        headers={"Authorization": f"Bearer {key_of(name)}"},
        timeout=DEADLINE_S,
    )


def remaining(answer: requests.Response) -> int:
    return int(answer.headers["x-ratelimit-remaining-requests"])


def test_the_request_after_the_last_one_is_refused(limited: Gateway) -> None:
    answers = [post(limited, "three") for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert [remaining(answer) for answer in answers] == [2, 1, 0, 0]
    for answer in answers:
        assert answer.headers["x-ratelimit-limit-requests"] == "3"
        assert re.fullmatch(r"1h0m0s|59m[0-9.]+s", answer.headers["x-ratelimit-reset-requests"])
    refused = answers[3]
    error = refused.json()["error"]
    assert error.pop("message").startswith(
        "Rate limit reached for your key 'three' at this gateway, on requests per hour: "
        "Limit 3, Used 3, Requested 1. Please try again in 59m"
    )
    assert error == {
        "type": "requests",
        "param": None,
        "code": "rate_limit_exceeded",
        "retryable": True,
    }
    assert 3500 < int(refused.headers["Retry-After"]) <= 3600
    assert refused.headers["x-should-retry"] == "true"


def test_of_many_at_once_exactly_the_limit_is_served(limited: Gateway, upstream: Upstream) -> None:
    marker = upstream.say("ok")
    with ThreadPoolExecutor(50) as crowd:
        answers = list(crowd.map(lambda _: post(limited, "crowd", **ask(marker)), range(50)))
    assert Counter(answer.status_code for answer in answers) == {200: 20, 429: 30}
    served = [answer for answer in answers if answer.ok]
    assert sorted(map(remaining, served)) == list(range(20))
    assert (
        len(upstream.control.requests(marker)) == 20
    )  # a refused request costs the upstream nothing


def test_one_budget_on_every_path_and_none_for_what_does_no_work(limited: Gateway) -> None:
    auth = {"Authorization": f"Bearer {key_of('paths')}"}
    spent = [
        post(limited, "paths"),
        post(limited, "paths", CHAT + "/"),
        post(limited, "paths", "/v1/completions", model=MODEL, prompt=QUICK),
        post(limited, "paths", "/v1/%63hat/completions"),
    ]
    assert [(answer.status_code, remaining(answer)) for answer in spent] == [
        (200, 3),
        (200, 2),
        (200, 1),
        (200, 0),
    ]
    for path in (CHAT, CHAT + "/", "/v1/completions", "/v1/completions/", CHAT + "?x=1"):
        assert post(limited, "paths", path).status_code == 429
    for method, path, status in (
        ("POST", "/v1/Chat/completions", 404),
        ("POST", "/v1//chat/completions", 404),
        ("GET", "/v1/models", 200),
        ("HEAD", "/v1/models", 200),
        ("HEAD", CHAT, 405),
        ("OPTIONS", CHAT, 200),
    ):
        answer = requests.request(method, limited.url + path, headers=auth, timeout=DEADLINE_S)
        assert answer.status_code == status, (method, path)
        assert not RATE_HEADERS & {*map(str.lower, answer.headers)}


def test_what_the_gateway_refuses_counts_too(limited: Gateway) -> None:
    answers = [post(limited, "mistakes", model=MODEL, messages=[]) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [400, 400, 400, 429]
    assert [remaining(answer) for answer in answers] == [2, 1, 0, 0]


def test_of_several_limits_the_tightest_is_shown(limited: Gateway) -> None:
    answers = [post(limited, "both") for _ in range(3)]
    assert [remaining(answer) for answer in answers] == [1, 0, 0]
    assert answers[2].status_code == 429
    assert "per minute: Limit 2" in answers[2].json()["error"]["message"]
    assert int(answers[2].headers["Retry-After"]) <= 60


def test_a_stream_has_the_headers(limited: Gateway) -> None:
    answer = post(limited, "streams", **ask(QUICK, stream=True))
    assert answer.text.endswith("data: [DONE]\n\n")
    assert remaining(answer) == 4


def test_a_window_ends(limited: Gateway) -> None:
    assert post(limited, "brief").status_code == 200
    wait_until(lambda: post(limited, "brief").status_code == 200, "the second is over")


def test_the_sdk_knows_the_error(limited: Gateway) -> None:
    with limited.sdk(api_key=key_of("sdk")) as client:
        client.chat.completions.create(**ask(QUICK))
        with pytest.raises(openai.RateLimitError) as caught:
            client.chat.completions.create(**ask(QUICK))
    assert (caught.value.code, caught.value.type) == ("rate_limit_exceeded", "requests")


def test_a_key_without_a_limit_has_no_headers(limited: Gateway) -> None:
    for _ in range(10):
        answer = post(limited, "free")
        assert answer.status_code == 200
        assert not RATE_HEADERS & {*map(str.lower, answer.headers)}


def test_the_default_limit_is_for_every_other_key(limited: Gateway) -> None:
    assert limited.post(ask(QUICK)).headers["x-ratelimit-limit-requests"] == "9"


def test_without_a_key_nothing_is_counted(limited: Gateway) -> None:
    assert remaining(post(limited, "careful")) == 4
    body = b'{"model": "x"}'
    for number in range(100):
        authorization = f"Bearer sk-wrong-{number}" if number % 2 else ""
        sent = request_bytes("POST", CHAT, body, Authorization=authorization)
        status, headers, _ = exchange(limited, sent)
        assert status == 401
        assert not RATE_HEADERS & headers.keys()
    assert remaining(post(limited, "careful")) == 3


def test_a_page_in_a_browser_may_read_the_headers(limited: Gateway) -> None:
    headers = {"Authorization": f"Bearer {key_of('browser')}", "Origin": "https://page.example"}
    answer = requests.post(limited.url + CHAT, json=ask(QUICK), headers=headers, timeout=DEADLINE_S)
    exposed = {*answer.headers["Access-Control-Expose-Headers"].lower().split(", ")}
    assert exposed >= RATE_HEADERS


def test_a_refusal_is_seen_in_metrics_and_log_with_whose_limit_it_was(limited: Gateway) -> None:
    samples = scrape(limited)
    series = {"key": "seen", "limit": "key_rate"}
    assert ("codex_key_refusals_total", frozenset(series.items())) in samples
    for _ in range(2):
        post(limited, "seen")

    def lines() -> list[dict[str, Any]]:
        return [line for line in limited.events("request") if line.get("key_name") == "seen"]

    wait_until(lambda: len(lines()) == 2, "both lines are written")
    wait_until(
        lambda: total(scrape(limited), "codex_key_refusals_total", **series) == 1, "it is counted"
    )
    served, refused = lines()
    assert "limited_by" not in served
    assert (refused["limited_by"], refused["key_name"]) == ("key_rate", "seen")
    assert (refused["error_code"], refused["status"]) == ("rate_limit_exceeded", 429)


def test_in_memory_a_reload_begins_anew(make_gateway: Callable[..., Gateway]) -> None:
    gateway = make_gateway(**settings({"brief": "2/day"}))
    assert [post(gateway, "brief").status_code for _ in range(3)] == [200, 200, 429]
    (old,) = gateway.workers()
    gateway.process.send_signal(signal.SIGHUP)
    wait_until(lambda: not old.is_running(), "the old worker is gone")
    assert remaining(post(gateway, "brief")) == 1


# Requests at once


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream) -> Iterator[Gateway]:
    """A gateway that serves two requests of a key at once."""
    names = settings(dict.fromkeys(("a", "b", "c", "d"), "100/hour"))
    folder = tmp_path_factory.mktemp("narrow")
    running = start_gateway(folder, upstream, PROXY_KEY_MAX_CONCURRENCY="2", **names)
    running.wait_ready()
    yield running
    end(running)


def hold(gateway: Gateway, upstream: Upstream, name: str) -> tuple[str, requests.Response]:
    """Open a stream that does not end by itself."""
    marker = upstream.play({"hold": True, "items": [{"type": "message", "deltas": ["a", "b"]}]})
    answer = requests.post(
        gateway.url + CHAT,
        json=ask(marker, stream=True),
        headers={"Authorization": f"Bearer {key_of(name)}"},
        timeout=DEADLINE_S,
        stream=True,
    )
    assert answer.status_code == 200
    return marker, answer


def test_a_key_has_so_many_requests_at_once_and_no_more(
    narrow: Gateway, upstream: Upstream
) -> None:
    held = [hold(narrow, upstream, "a") for _ in range(2)]
    refused = post(narrow, "a")
    error = refused.json()["error"]
    assert (refused.status_code, error["code"], error["type"]) == (
        429,
        "KEY_BUSY",
        "requests",
    )
    assert error["retryable"] is True
    assert "requests in progress at this gateway as it may have at once (2)." in error["message"]
    assert (refused.headers["Retry-After"], refused.headers["x-should-retry"]) == ("1", "true")
    assert remaining(refused) == 98  # it was not counted
    assert post(narrow, "b").status_code == 200
    marker, answer = held[0]
    upstream.control.wait("held", marker)
    upstream.control.release(marker)
    assert answer.text.endswith("data: [DONE]\n\n")
    wait_until(lambda: post(narrow, "a").status_code == 200, "a place is free again")
    held[1][1].close()
    series = {"key": "a", "limit": "key_concurrency"}
    assert total(scrape(narrow), "codex_key_refusals_total", **series) >= 1


def test_whoever_leaves_gives_the_place_back(narrow: Gateway, upstream: Upstream) -> None:
    for _ in range(3):
        held = [hold(narrow, upstream, "c") for _ in range(2)]
        assert post(narrow, "c").status_code == 429
        for _, answer in held:
            answer.close()
        wait_until(lambda: post(narrow, "c").status_code == 200, "the places are free again")


def test_mistakes_and_refusals_keep_no_place(narrow: Gateway) -> None:
    for _ in range(5):
        assert post(narrow, "d", model=MODEL, messages=[]).status_code == 400
        assert post(narrow, "d", **ask("x", model="unknown")).status_code == 404
    assert post(narrow, "d").status_code == 200
