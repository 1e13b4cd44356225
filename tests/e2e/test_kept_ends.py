"""Conversations that are kept, at the end of their worker: by a reload under load, and by TERM."""

from __future__ import annotations

import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Event

from tests.e2e.harness import DEADLINE_S, Gateway, Upstream, wait_until
from tests.e2e.scrape import scrape, total
from tests.e2e.talk import TOOL, Talk, call, said


def test_a_reload_under_loops_costs_each_of_them_one_miss(
    make_gateway: Callable[..., Gateway], upstream: Upstream
) -> None:
    gateway = make_gateway()
    (old,) = gateway.workers()
    loops = [Talk(gateway, upstream, [said("x")]) for _ in range(4)]
    has_gone = Event()
    with ThreadPoolExecutor(len(loops)) as pool:
        running = [pool.submit(loop_until, loop, has_gone) for loop in loops]
        try:
            for loop in loops:
                wait_until(partial(has_rounds, loop, 3), "each loop has gone on")
            gateway.process.send_signal(signal.SIGHUP)
            wait_until(lambda: old not in gateway.workers(), "the old worker has gone")
        finally:
            has_gone.set()
        found = [one.result() for one in running]
    assert [rounds.count(False) for rounds in found] == [2] * len(loops)
    assert all(rounds[0] is False and rounds[-1] is True for rounds in found)


def has_rounds(loop: Talk, count: int) -> bool:
    return len(loop.messages) > 2 * count


def loop_until(loop: Talk, has_gone: Event) -> list[bool]:
    """Make calls and bring their results until the worker has gone, and three rounds more."""
    loop.options["tools"] = [TOOL]
    rounds: list[bool] = []
    last = 0
    while last < 3:
        last += has_gone.is_set()
        loop.upstream.control.script(loop.marker, {"items": [call(f"c{len(rounds)}")]})
        rounds.append(loop.answer()["codex_metadata"]["continued"])
    return rounds


def test_term_waits_for_no_results(
    make_gateway: Callable[..., Gateway], upstream: Upstream
) -> None:
    gateway = make_gateway(WORKER_SHUTDOWN_GRACE_MS="600000")
    for _ in range(3):
        here = Talk(gateway, upstream, [call("c1")])
        here.options["tools"] = [TOOL]
        here.ask()
    assert total(scrape(gateway), "codex_kept_threads") == 3
    child = gateway.child()
    gateway.process.send_signal(signal.SIGTERM)
    assert gateway.process.wait(DEADLINE_S) == 0
    assert not child.is_running()
    assert not gateway.events("turn_not_ended")
