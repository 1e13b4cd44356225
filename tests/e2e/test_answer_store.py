"""The store of answers in the service: what outlives a worker, who sees what, and what is told of it."""

from __future__ import annotations

import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
import requests

from app.answer_store.sqlite_store import SqliteStore
from tests.e2e.harness import DEADLINE_S, Gateway, wait_until
from tests.e2e.scrape import scrape, total
from tests.fakes.redis_server import PASSWORD, RedisServer
from tests.fakes.stored_answers import GB, MONTH_S, stored

MakeGateway = Callable[..., Gateway]


@pytest.fixture
def make(make_gateway: MakeGateway) -> MakeGateway:
    return partial(make_gateway, app="tests.fakes.notebook.wsgi:app")


def put(gateway: Gateway, note: str, before: str = "", text: str = "x") -> requests.Response:
    return requests.put(
        f"{gateway.url}/v1/notes/{note}",
        params={"before": before} if before else {},
        data=text,
        headers=gateway.headers,
        timeout=DEADLINE_S,
    )


def notes(gateway: Gateway, note: str) -> Any:
    return gateway.get(f"/v1/notes/{note}").json()


def told(gateway: Gateway) -> Any:
    return gateway.get("/healthz").json()["answer_store"]


def reload(gateway: Gateway) -> None:
    (old,) = gateway.workers()
    gateway.process.send_signal(signal.SIGHUP)
    wait_until(lambda: not old.is_running(), "the old worker is gone")
    gateway.wait_ready()


def test_stored_answers_outlive_reload_crash_and_restart(make: MakeGateway) -> None:
    gateway = make()
    assert put(gateway, "a", text="1").ok
    reload(gateway)
    assert put(gateway, "b", "a", "2").ok
    (worker,) = gateway.workers()
    worker.kill()
    wait_until(lambda: [w for w in gateway.workers() if w.pid != worker.pid], "a new worker")
    gateway.wait_ready()
    assert put(gateway, "c", "b", "3").ok
    assert notes(gateway, "c") == ["1", "2", "3"]
    assert gateway.stop() == 0
    # The end closes the file: nothing is left beside it.
    left = {path.name for path in (gateway.home / "gateway").glob("answers-*")}
    assert left == {"answers-1.sqlite"}


def test_writers_notice_no_reload(make: MakeGateway) -> None:
    gateway = make()
    assert put(gateway, "before").ok

    def write(number: int) -> int:
        return put(gateway, f"n{number}", text=str(number)).status_code

    with ThreadPoolExecutor(8) as crowd:
        first = crowd.map(write, range(100))
        reload(gateway)
        second = crowd.map(write, range(100, 200))
        assert {*first, *second} == {200}
    assert [notes(gateway, f"n{number}") for number in range(200)] == [[str(n)] for n in range(200)]
    assert gateway.events("answer_store_failed") == []


def test_another_key_finds_nothing(make: MakeGateway) -> None:
    gateway = make(PROXY_API_KEYS="bob=key-of-bob-0123456789")
    assert put(gateway, "a").ok
    answer = requests.get(
        f"{gateway.url}/v1/notes/a",
        headers={"Authorization": "Bearer key-of-bob-0123456789"},
        timeout=DEADLINE_S,
    )
    assert answer.status_code == 404


def test_no_file_is_made_before_the_first_answer_and_none_where_it_is_off(
    make: MakeGateway,
) -> None:
    gateway, off = make(), make(PROXY_RESPONSE_STORE="off")
    assert gateway.get("/v1/notes/a").status_code == 404
    assert put(off, "a").ok
    assert off.get("/v1/notes/a").status_code == 404
    for one in (gateway, off):
        assert list((one.home / "gateway").glob("answers-*")) == []
    assert told(off)["kind"] == "off"


def test_what_is_stored_is_told_and_what_is_too_old_goes_at_the_start(make: MakeGateway) -> None:
    gateway = make()
    folder = gateway.home / "gateway"
    old = SqliteStore(folder, GB, MONTH_S, clock=lambda: 1_700_000_000.0)
    old.put(stored("old", owner="default"))
    old.close()
    assert put(gateway, "young").ok
    assert told(gateway)["answers"] == 2
    reload(gateway)
    wait_until(lambda: told(gateway)["answers"] == 1, "the old one goes")
    found = scrape(gateway)
    assert total(found, "codex_stored_answers") == 1
    assert total(found, "codex_stored_bytes") == 1024 + len("x[][]")
    assert total(found, "codex_answer_store_calls_total", call="put", result="ok") == 1
    assert total(found, "codex_stored_answer_evictions_total", reason="expired") == 1


def test_a_damaged_file_is_said_once_and_the_service_goes_on(make: MakeGateway) -> None:
    gateway = make()
    assert put(gateway, "a").ok
    reload(gateway)
    file = gateway.home / "gateway" / "answers-1.sqlite"
    for path in (file.with_name(file.name + "-wal"), file):
        if path.exists():
            path.write_bytes(b"\xde\xad" * 5000)
    assert gateway.get("/v1/notes/a").status_code == 404
    assert put(gateway, "b").ok
    assert notes(gateway, "b") == ["x"]
    (line,) = gateway.events("answer_store_damaged")
    assert line["file"] == "answers-1.sqlite"


def test_a_store_that_cannot_be_had_is_503_and_readiness_is_not_its_business(
    make: MakeGateway,
) -> None:
    gateway = make(PROXY_RESPONSE_STORE=f"redis://:{PASSWORD}@127.0.0.1:9/0")
    answer = put(gateway, "a")
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "STORE_UNAVAILABLE")
    assert gateway.get("/v1/notes/a").headers["Retry-After"] == "5"
    assert gateway.get("/readyz").status_code == 200
    health = gateway.get("/healthz").text
    assert '"problem":"redis"' in health.replace(" ", "")
    assert PASSWORD not in health + gateway.log_path.read_text() + gateway.get("/metrics").text


@pytest.mark.system
def test_two_replicas_share_a_redis_which_may_hang(make: MakeGateway, tmp_path: Any) -> None:
    redis = RedisServer(tmp_path)
    redis.start()
    try:
        settings = {"PROXY_RESPONSE_STORE": redis.url, "PROXY_RATE_LIMIT_STORAGE": redis.url}
        one, other = make(**settings), make(**settings)
        assert put(one, "a", text="1").ok
        assert put(other, "b", "a", "2").ok
        assert notes(one, "b") == ["1", "2"]
        redis.signal(signal.SIGSTOP)
        with ThreadPoolExecutor(20) as crowd:
            answers = [crowd.submit(put, one, f"x{number}") for number in range(20)]
            assert one.get("/livez").status_code == 200  # nobody else waits
            assert {answer.result().status_code for answer in answers} == {503}
        redis.signal(signal.SIGCONT)
        wait_until(lambda: put(one, "c", "b", "3").ok, "it is back")
        assert notes(other, "c") == ["1", "2", "3"]
        for gateway in (one, other):
            assert PASSWORD not in gateway.log_path.read_text()
    finally:
        redis.signal(signal.SIGCONT)
        redis.kill()
