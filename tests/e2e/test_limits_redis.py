"""Limits that several gateways share through a real Redis, which dies, hangs and comes back."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from tests.e2e.harness import DEADLINE_S, Gateway, Upstream, ask, wait_until
from tests.e2e.scrape import scrape, total
from tests.fakes.redis_server import PASSWORD, RedisServer

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

FAILURES = "codex_rate_limit_store_failures_total"


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path)
    server.start()
    yield server
    server.kill()


QUICK = "a-quick-answer"


@pytest.fixture(scope="module", autouse=True)
def quick(upstream: Upstream) -> None:
    """Spare the tests the greeting of the demo, which takes its time."""
    upstream.control.script(QUICK, {"items": [{"type": "message", "deltas": ["ok"]}]})


MakeGateway = Callable[..., Gateway]


def start(make_gateway: MakeGateway, redis: RedisServer, limit: str) -> Gateway:
    return make_gateway(PROXY_RATE_LIMIT=limit, PROXY_RATE_LIMIT_STORAGE=redis.url)


def remaining(answer: requests.Response) -> int:
    return int(answer.headers["x-ratelimit-remaining-requests"])


def test_two_gateways_share_one_budget_exactly(
    make_gateway: MakeGateway, redis: RedisServer, upstream: Upstream
) -> None:
    """Exact as long as Redis answers in time, which it may not where the machine stands still: then they ask again."""
    for _ in range(3):
        assert redis.ask("FLUSHALL") == "OK"
        gateways = [start(make_gateway, redis, "30/hour;1000/day") for _ in range(2)]
        marker = upstream.say("ok")
        with ThreadPoolExecutor(50) as crowd:
            asking = [crowd.submit(gateways[n % 2].post, ask(marker)) for n in range(60)]
        answers = [asked.result() for asked in asking]
        failures = [total(scrape(gateway), FAILURES) for gateway in gateways]
        if failures == [0, 0]:
            break
    assert failures == [0, 0], "what Redis did not count is no exact budget"
    assert Counter(answer.status_code for answer in answers) == {200: 30, 429: 30}
    left = [remaining(answer) for answer in answers if answer.ok]
    assert min(left) == 0  # asked after the request was counted, and so perhaps after others were
    assert all(0 <= found < 30 for found in left)
    assert len(upstream.control.requests(marker)) == 30
    for gateway in gateways:
        assert PASSWORD not in gateway.log_path.read_text()
    assert sorted(redis.ask("KEYS", "*").split()) == [
        "codex-api:LIMITER/default/requests/1000/86400/second",
        "codex-api:LIMITER/default/requests/30/3600/second",
    ]


def test_wrong_keys_leave_nothing_in_redis(make_gateway: MakeGateway, redis: RedisServer) -> None:
    gateway = start(make_gateway, redis, "3/hour")
    for number in range(50):
        headers = {"Authorization": f"Bearer sk-wrong-{number}"} if number % 2 else {}
        answer = requests.post(
            gateway.url + "/v1/chat/completions",
            json=ask(QUICK),
            headers=headers,
            timeout=DEADLINE_S,
        )
        assert answer.status_code == 401
    assert redis.ask("KEYS", "*") == ""
    assert remaining(gateway.post(ask(QUICK))) == 2


def test_what_redis_counted_outlives_reload_crash_and_restart(
    make_gateway: MakeGateway, redis: RedisServer
) -> None:
    gateway = start(make_gateway, redis, "4/day")
    assert remaining(gateway.post(ask(QUICK))) == 3
    (old,) = gateway.workers()
    gateway.process.send_signal(signal.SIGHUP)
    wait_until(lambda: not old.is_running(), "the old worker is gone")
    assert remaining(gateway.post(ask(QUICK))) == 2
    (worker,) = gateway.workers()
    worker.kill()
    wait_until(lambda: [w for w in gateway.workers() if w.pid != worker.pid], "a new worker")
    gateway.wait_ready()
    assert remaining(gateway.post(ask(QUICK))) == 1
    assert gateway.stop() == 0
    again = start(make_gateway, redis, "4/day")
    assert [again.post(ask(QUICK)).status_code for _ in range(2)] == [200, 429]


def test_what_a_longer_limit_refuses_has_spent_a_shorter_one(
    make_gateway: MakeGateway, redis: RedisServer
) -> None:
    gateway = start(make_gateway, redis, "2/minute;3/hour")
    answers = [gateway.post(ask(QUICK)) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    hour = "codex-api:LIMITER/default/requests/3/3600/second"
    minute = "codex-api:LIMITER/default/requests/2/60/second"
    assert redis.ask("LLEN", hour) == "2"  # what the minute refuses spends nothing of the hour
    redis.ask("DEL", minute)  # as if a minute had passed
    assert [gateway.post(ask(QUICK)).status_code for _ in range(2)] == [200, 429]
    assert (redis.ask("LLEN", minute), redis.ask("LLEN", hour)) == ("2", "3")


def test_without_redis_each_gateway_counts_for_itself_until_it_is_back(
    make_gateway: MakeGateway, redis: RedisServer
) -> None:
    one, other = (start(make_gateway, redis, "5/hour") for _ in range(2))
    assert [remaining(one.post(ask(QUICK))), remaining(other.post(ask(QUICK)))] == [4, 3]
    redis.kill()
    lonely = [one.post(ask(QUICK)) for _ in range(6)]
    assert [answer.status_code for answer in lonely] == [200] * 5 + [429]
    assert remaining(other.post(ask(QUICK))) == 4
    assert len(one.events("rate_limit_store_lost")) == 1
    assert total(scrape(one), FAILURES) == 6
    redis.start()
    wait_until(
        lambda: one.post(ask(QUICK)).ok and one.events("rate_limit_store_back"), "it is found again"
    )
    before = remaining(one.post(ask(QUICK)))
    wait_until(
        lambda: other.post(ask(QUICK)) and other.events("rate_limit_store_back"),
        "by the other, too",
    )
    assert remaining(one.post(ask(QUICK))) < before
    assert len(one.events("rate_limit_store_lost")) == 1
    assert "level" in one.events("rate_limit_store_back")[0]
    for gateway in (one, other):
        assert PASSWORD not in gateway.log_path.read_text()


def test_a_redis_that_hangs_holds_nobody_up(make_gateway: MakeGateway, redis: RedisServer) -> None:
    gateway = start(make_gateway, redis, "100/hour")
    assert gateway.post(ask(QUICK)).status_code == 200
    redis.signal(signal.SIGSTOP)
    try:
        with ThreadPoolExecutor(20) as crowd:
            answers = [crowd.submit(gateway.post, ask(QUICK)) for _ in range(20)]
            # Nobody else waits with them: a worker that blocked would not answer at all.
            assert gateway.get("/livez").status_code == 200
            assert {answer.result().status_code for answer in answers} == {200}
        assert len(gateway.events("rate_limit_store_lost")) == 1
    finally:
        redis.signal(signal.SIGCONT)
    wait_until(
        lambda: gateway.post(ask(QUICK)).ok and gateway.events("rate_limit_store_back"),
        "it is back",
    )


def test_a_gateway_starts_and_serves_without_its_redis(make_gateway: MakeGateway) -> None:
    gateway = make_gateway(
        PROXY_RATE_LIMIT="1/hour",
        PROXY_RATE_LIMIT_STORAGE=f"redis://:{PASSWORD}@127.0.0.1:9/0",
    )
    assert [gateway.post(ask(QUICK)).status_code for _ in range(2)] == [200, 429]
    assert PASSWORD not in gateway.log_path.read_text()


def test_a_wrong_password_is_no_reason_to_refuse(
    make_gateway: MakeGateway, redis: RedisServer
) -> None:
    gateway = make_gateway(
        PROXY_RATE_LIMIT="5/hour",
        PROXY_RATE_LIMIT_STORAGE=redis.url.replace(PASSWORD, "canary-password"),
    )
    assert gateway.post(ask(QUICK)).status_code == 200
    (lost,) = gateway.events("rate_limit_store_lost")
    assert lost["reason"]
    assert "canary-password" not in gateway.log_path.read_text()


def test_a_redis_that_forbids_scripts_is_named_and_refuses_nobody(
    make_gateway: MakeGateway, redis: RedisServer
) -> None:
    assert redis.ask("ACL", "SETUSER", "reader", "on", f">{PASSWORD}", "~*", "+ping") == "OK"
    gateway = make_gateway(
        PROXY_RATE_LIMIT="1/hour",
        PROXY_RATE_LIMIT_STORAGE=redis.url.replace("unix://:", "unix://reader:"),
    )
    # Its PING succeeds, and each time the library asks, it seems to be back.
    answers = [gateway.post(ask(QUICK)).status_code for _ in range(41)]
    assert answers == [200] + [429] * 40
    (lost,) = gateway.events("rate_limit_store_lost")
    assert lost["reason"] == "NoPermissionError"
    assert gateway.events("rate_limit_store_back") == []
    assert total(scrape(gateway), FAILURES) == 41
