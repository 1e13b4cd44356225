"""Usage by key, model and day: what `/internal/usage` says is what the answers said, whatever happens to workers."""

from __future__ import annotations

import csv
import io
import json
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.e2e.commands import run
from tests.e2e.harness import (
    DEADLINE_S,
    KEY,
    MODEL,
    Gateway,
    Upstream,
    ask,
    end,
    start_gateway,
    wait_until,
)
from tests.e2e.in_flight import HELD, send
from tests.e2e.reloading import hup
from tests.fakes.redis_server import RedisServer

ANN = "sk-ann-7yQ2mV7xK4tB1wZ8cR5y"
ADMIN = "sk-admin-3nP9sD6fG2hJ5kL8qW4e"
KEYS = {"PROXY_API_KEYS": f"ann={ANN}", "PROXY_ADMIN_KEY": ADMIN}
NAMES = {KEY: "default", ANN: "ann"}
TOKENS = ("input_tokens", "cached_tokens", "output_tokens", "reasoning_tokens")
COUNTS = ("requests", "errors", *TOKENS)

Json = dict[str, Any]


def post(gateway: Gateway, key: str, path: str, body: Json) -> requests.Response:
    return requests.post(
        gateway.url + path,
        json={"model": MODEL, **body},
        headers={"Authorization": f"Bearer {key}"},
        timeout=60,
    )


def look(gateway: Gateway, bearer: str = ADMIN, **options: Any) -> requests.Response:
    headers = {"Authorization": f"Bearer {bearer}", **options.pop("headers", {})}
    return requests.get(
        f"{gateway.url}/internal/usage", params=options, headers=headers, timeout=DEADLINE_S
    )


def rows(gateway: Gateway, **query: Any) -> list[Json]:
    answer = look(gateway, **query)
    assert answer.status_code == 200, answer.text
    found: list[Json] = answer.json()["rows"]
    return found


def by_key(gateway: Gateway) -> dict[str, Counter[str]]:
    """The counts of each key, all models and days together."""
    sums: dict[str, Counter[str]] = {}
    for row in rows(gateway):
        sums.setdefault(row["key"], Counter()).update({name: row[name] for name in COUNTS})
    return {key: +counts for key, counts in sums.items()}


def counted(gateway: Gateway, requests_: int) -> dict[str, Counter[str]]:
    """The counts of each key, once so many requests are in them: one is counted when its last byte is gone."""

    def found() -> dict[str, Counter[str]] | None:
        sums = by_key(gateway)
        return sums if sum(counts["requests"] for counts in sums.values()) >= requests_ else None

    sums: dict[str, Counter[str]] = wait_until(found, f"{requests_} requests are counted")
    assert sum(counts["requests"] for counts in sums.values()) == requests_
    return sums


def cost(usage: Json) -> Counter[str]:
    """What an answer's usage says, in the words of either API."""
    given = usage.get("prompt_tokens_details") or usage.get("input_tokens_details") or {}
    made = usage.get("completion_tokens_details") or usage.get("output_tokens_details") or {}
    return Counter(
        requests=1,
        input_tokens=usage["prompt_tokens" if "prompt_tokens" in usage else "input_tokens"],
        cached_tokens=given.get("cached_tokens", 0),
        output_tokens=usage[
            "completion_tokens" if "completion_tokens" in usage else "output_tokens"
        ],
        reasoning_tokens=made.get("reasoning_tokens", 0),
    )


class Prompts:
    """One request in the words of each endpoint, each with tokens of its own."""

    def __init__(self, gateway: Gateway, upstream: Upstream, key: str) -> None:
        self._gateway, self._upstream, self._key = gateway, upstream, key
        self._number = 10

    def __iter__(self) -> Iterator[Json]:
        """Yield the usage of each answer."""
        chat = {"messages": [{"role": "user", "content": self._marker()}]}
        yield self._whole("/v1/chat/completions", chat)
        yield self._whole("/v1/completions", {"prompt": self._marker()})
        yield self._whole("/v1/responses", {"input": self._marker()})
        yield self._whole("/v1/responses/compact", {"input": self._marker()})
        asked = {"stream": True, "stream_options": {"include_usage": True}}
        chat = {"messages": [{"role": "user", "content": self._marker()}]}
        yield self._frames("/v1/chat/completions", {**chat, **asked})[-1]["usage"]
        yield self._frames("/v1/completions", {"prompt": self._marker(), **asked})[-1]["usage"]
        streamed = {"input": self._marker(), "stream": True}
        yield self._frames("/v1/responses", streamed)[-1]["response"]["usage"]
        background = {"input": self._marker(), "background": True, "stream": True}
        yield self._frames("/v1/responses", background)[-1]["response"]["usage"]

    def _marker(self) -> str:
        self._number += 1
        n = self._number
        usage = {"input_tokens": 100 * n, "cached_tokens": 10 * n, "output_tokens": 5 * n}
        said = {"type": "message", "deltas": ["a ", "word"]}
        return self._upstream.play({"items": [said], "usage": {**usage, "reasoning_tokens": n}})

    def _whole(self, path: str, body: Json) -> Json:
        answer = post(self._gateway, self._key, path, body)
        assert answer.status_code == 200, answer.text
        usage: Json = answer.json()["usage"]
        return usage

    def _frames(self, path: str, body: Json) -> list[Json]:
        answer = post(self._gateway, self._key, path, body)
        assert answer.status_code == 200, answer.text
        data = [line[6:] for line in answer.text.splitlines() if line.startswith("data: ")]
        return [json.loads(one) for one in data if one != "[DONE]"]


@pytest.mark.parametrize("backend", ["true", "false"])
def test_rows_say_what_the_answers_said(
    make_gateway: Callable[..., Gateway], upstream: Upstream, backend: str
) -> None:
    gateway = make_gateway(**KEYS, PROXY_USE_APP_SERVER=backend)
    said = {
        NAMES[key]: sum(map(cost, Prompts(gateway, upstream, key)), Counter[str]())
        for key in (KEY, ANN, ANN)
    }
    sums = counted(gateway, 24)
    assert sums == {"default": said["default"], "ann": said["ann"] + said["ann"]}
    assert {row["model"] for row in rows(gateway)} == {MODEL}
    assert said["default"]["reasoning_tokens"] > 0


def test_failed_aborted_and_refused_requests(
    make_gateway: Callable[..., Gateway], upstream: Upstream
) -> None:
    gateway = make_gateway(**KEYS)
    failing = upstream.play({"failure": "bad_request"})
    for stream in (False, True):
        failed = post(gateway, ANN, "/v1/chat/completions", ask(failing, stream=stream))
        assert "error" in failed.text
    marker = upstream.play(HELD)
    connection = send(gateway.port, marker, stream=True)
    upstream.control.wait("held", marker)
    connection.close()
    upstream.control.wait("peer_closed", marker)
    for body in ({"model": "of-nobody-123"}, {"model": ["x"]}, {"messages": "hi"}, {"n": -1}):
        refused = post(gateway, KEY, "/v1/chat/completions", {**ask("x"), **body})
        assert refused.status_code in (400, 404)
    stranger = post(gateway, "sk-of-nobody", "/v1/chat/completions", ask("x"))
    assert stranger.status_code == 401
    sums = counted(gateway, 3)
    assert (sums["ann"]["requests"], sums["ann"]["errors"]) == (2, 2)
    assert (sums["default"]["requests"], sums["default"]["errors"]) == (1, 0)
    assert {row["model"] for row in rows(gateway)} == {MODEL}


def test_it_outlives_a_restart_also_what_was_just_counted(
    tmp_path: Path, upstream: Upstream
) -> None:
    marker = upstream.say("hi", usage={"input_tokens": 7, "output_tokens": 3})
    for life in range(1, 3):
        gateway = start_gateway(tmp_path, upstream, **KEYS)
        try:
            gateway.wait_ready()
            for _ in range(3):
                assert post(gateway, ANN, "/v1/chat/completions", ask(marker)).ok
            if life == 2:
                assert counted(gateway, 6) == {
                    "ann": Counter(requests=6, input_tokens=42, output_tokens=18)
                }
            assert gateway.stop() == 0
        finally:
            end(gateway)


def test_a_reload_under_load_counts_every_request_once(
    make_gateway: Callable[..., Gateway], upstream: Upstream
) -> None:
    gateway = make_gateway(**KEYS)
    marker = upstream.say("hi", usage={"input_tokens": 7, "output_tokens": 3})

    def work(number: int) -> int:
        answers = [
            post(gateway, ANN if number % 2 else KEY, "/v1/chat/completions", ask(marker))
            for _ in range(10)
        ]
        return sum(answer.ok for answer in answers)

    held = upstream.play(HELD)
    with ThreadPoolExecutor(9) as pool:
        streaming = pool.submit(post, gateway, KEY, "/v1/chat/completions", ask(held))
        upstream.control.wait("held", held)  # the old worker has something to finish
        working = [pool.submit(work, number) for number in range(8)]
        hup(gateway)
        wait_until(lambda: gateway.events("worker_retires"), "the new worker serves", 60)
        assert sum(one.result() for one in working) == 80
        first = by_key(gateway)
        assert sum(counts["requests"] for counts in first.values()) <= 80
        upstream.control.release(held)
        assert streaming.result().ok
    wait_until(lambda: len(gateway.workers()) == 1, "the old worker is gone", 60)
    sums = counted(gateway, 81)
    assert sums["ann"] == Counter(requests=40, input_tokens=280, output_tokens=120)
    assert sums["default"]["requests"] == 41


def written(gateway: Gateway) -> int:
    """How many requests are in the file, without asking the gateway, which would write what waits."""
    (path,) = (gateway.home / "gateway").glob("answers-*.sqlite")
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as database:
        try:
            (found,) = database.execute("select coalesce(sum(requests), 0) from usage").fetchone()
        except sqlite3.OperationalError:  # it is being made
            return 0
    return int(found)


def test_a_kill_loses_only_what_was_counted_last(tmp_path: Path, upstream: Upstream) -> None:
    marker = upstream.say("hi", usage={"input_tokens": 7, "output_tokens": 3})
    gateway = start_gateway(tmp_path, upstream, **KEYS)
    try:
        gateway.wait_ready()
        for _ in range(5):
            assert post(gateway, ANN, "/v1/chat/completions", ask(marker)).ok
        wait_until(lambda: written(gateway) == 5, "they are written by themselves")
        assert post(gateway, ANN, "/v1/chat/completions", ask(marker)).ok
    finally:
        end(gateway)  # SIGKILL
    gateway = start_gateway(tmp_path, upstream, **KEYS)
    try:
        gateway.wait_ready()
        (row,) = rows(gateway)
        assert row["requests"] in (5, 6)
        assert row["input_tokens"] == 7 * row["requests"]
    finally:
        end(gateway)


def test_without_a_store_it_is_counted_until_the_next_reload(
    make_gateway: Callable[..., Gateway], upstream: Upstream
) -> None:
    gateway = make_gateway(**KEYS, PROXY_RESPONSE_STORE="off")
    assert post(gateway, ANN, "/v1/chat/completions", ask(upstream.say("hi"))).ok
    counted(gateway, 1)
    assert look(gateway).json()["kept"] is False
    done = run(gateway, "usage")
    assert b"PROXY_RESPONSE_STORE=off" in done.stderr
    (old,) = gateway.workers()
    hup(gateway)
    wait_until(lambda: not old.is_running(), "the old worker is gone", 60)
    gateway.wait_ready()
    assert look(gateway).json()["rows"] == []


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream) -> Iterator[Gateway]:
    """A gateway that has answered one request of each of two keys."""
    gateway = start_gateway(tmp_path_factory.mktemp("used"), upstream, **KEYS)
    gateway.wait_ready()
    marker = upstream.say("hi", usage={"input_tokens": 7, "output_tokens": 3})
    for key in (KEY, ANN):
        assert post(gateway, key, "/v1/chat/completions", ask(marker)).ok
    counted(gateway, 2)
    yield gateway
    end(gateway)


def test_the_answer_has_this_form(used: Gateway) -> None:
    answer = look(used).json()
    assert {name: answer[name] for name in answer if name != "rows"} == {
        "days": 7,
        "kept": True,
        "truncated": False,
    }
    first, second = answer["rows"]
    counts = dict.fromkeys(COUNTS, 0) | {"requests": 1, "input_tokens": 7, "output_tokens": 3}
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    assert first["day"] <= today
    assert first == {"day": first["day"], "key": "ann", "model": MODEL, **counts}
    assert second["key"] == "default"


@pytest.mark.parametrize(
    ("query", "keys"),
    [
        ({"key": "ann"}, ["ann"]),
        ({"model": MODEL}, ["ann", "default"]),
        ({"key": "ann", "model": "other"}, []),
        ({"key": "' or 1=1 --"}, []),
        ({"days": 3660}, ["ann", "default"]),
    ],
)
def test_rows_can_be_chosen(used: Gateway, query: Json, keys: list[str]) -> None:
    assert [row["key"] for row in rows(used, **query)] == keys


@pytest.mark.parametrize("days", ["0", "-1", "3661", "x", "", "1.5", "\u0661", "9" * 1000])
def test_days_that_are_none_are_refused(used: Gateway, days: str) -> None:
    answer = look(used, days=days)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "days")
    assert look(used, format="xml").json()["error"]["param"] == "format"


@pytest.mark.parametrize(
    "asked",
    [{"format": "csv"}, {"headers": {"Accept": "text/csv"}}],
)
def test_csv_is_the_same_table(used: Gateway, asked: Json) -> None:
    answer = look(used, **asked)
    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert "attachment" in answer.headers["Content-Disposition"]
    table = list(csv.DictReader(io.StringIO(answer.text)))
    assert table == [{name: str(value) for name, value in row.items()} for row in rows(used)]
    json_again = look(used, format="json", headers={"Accept": "text/csv"})
    assert json_again.headers["Content-Type"] == "application/json"


def test_only_the_operators_key_opens_it(
    used: Gateway, make_gateway: Callable[..., Gateway]
) -> None:
    for key in (KEY, ANN, "sk-of-nobody"):
        refused = look(used, key)
        assert refused.status_code == 401
        assert "rows" not in refused.text
    assert requests.get(f"{used.url}/internal/usage", timeout=DEADLINE_S).status_code == 401
    closed = make_gateway(PROXY_ENV="prod", PROXY_API_KEY=ADMIN, ready=False)
    assert wait_until(lambda: look(closed, ADMIN).status_code, "it answers") == 404


def test_no_key_is_in_what_is_kept(used: Gateway) -> None:
    for path in (used.home / "gateway").glob("answers-*"):
        content = path.read_bytes()
        assert not [key for key in (KEY, ANN, ADMIN) if key.encode() in content]
        assert path.stat().st_mode & 0o777 == 0o600


def test_the_command_shows_the_same(used: Gateway) -> None:
    text = run(used, "usage")
    assert (text.returncode, text.stderr) == (0, b"")
    heading, *lines, total = text.stdout.decode().splitlines()
    assert heading.split()[:4] == ["DAY", "KEY", "MODEL", "REQUESTS"]
    assert [line.split()[1] for line in lines] == ["ann", "default"]
    assert total.split()[:2] == ["sum", "2"]
    as_json = run(used, "usage", "--json", "--days", "3", "--key", "ann")
    assert json.loads(as_json.stdout) == look(used, days=3, key="ann").json()
    as_csv = run(used, "usage", "--csv")
    assert as_csv.stdout.decode() == look(used, format="csv").text
    assert run(used, "usage", "--days", "0").returncode == 2


@pytest.mark.system
def test_replicas_add_to_the_same_rows_in_redis(
    tmp_path: Path, make_gateway: Callable[..., Gateway], upstream: Upstream
) -> None:
    redis = RedisServer(tmp_path)
    redis.start()
    try:
        pair = [make_gateway(**KEYS, PROXY_RESPONSE_STORE=redis.url) for _ in range(2)]
        marker = upstream.say("hi", usage={"input_tokens": 7, "output_tokens": 3})
        for number in range(20):
            assert post(pair[number % 2], ANN, "/v1/chat/completions", ask(marker)).ok
        pair[0].stop()
        sums = counted(pair[1], 20)
        assert sums == {"ann": Counter(requests=20, input_tokens=140, output_tokens=60)}
        (day,) = redis.ask("KEYS", "codex-api:usage:*").split()
        assert int(redis.ask("TTL", day)) > 90 * 86_400
        assert look(pair[1]).json()["kept"] is True
    finally:
        redis.kill()
