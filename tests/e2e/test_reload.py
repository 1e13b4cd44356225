"""HUP and USR2: whatever an operator does to a running service, nobody's request is lost."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

from tests.e2e.harness import DEADLINE_S, Gateway, Upstream, ask, end, wait_until
from tests.e2e.raw_http import stream_frames
from tests.e2e.reloading import (
    Load,
    Site,
    events,
    hup,
    post,
    processes_below,
    reload_state,
    wait_reloads,
)

BOOT_S = 9
LONGEST_WAIT_MS = 6500
"""Above what a machine takes that stands still for some seconds, and below the boot of the new child, for which nobody
may have to wait.

What the service promises, 250 ms, is measured by make chaos.
"""

SECRET = "sk-that-no-log-may-show-0123456789"

Make = Callable[..., tuple[Site, Gateway]]


@pytest.fixture
def make(tmp_path: Path, upstream: Upstream) -> Iterator[Make]:
    """Sites of a test's own with their gateways; ended with the test, and looked through for what is left."""
    started: list[Gateway] = []

    def start(
        *, module: bool = False, warnings: str = "error", **settings: str
    ) -> tuple[Site, Gateway]:
        site = Site(tmp_path / f"site-{len(started)}", upstream, settings)
        site.environment["PYTHONWARNINGS"] = warnings
        if delay := site.settings.pop("boot_s", ""):
            site.set(CODEX_BIN=site.codex("slow-codex", f"sleep {delay}"))
        gateway = site.start(module=module)
        started.append(gateway)
        gateway.wait_ready()
        return site, gateway

    yield start
    for gateway in started:
        end(gateway)


@pytest.fixture
def put_load(upstream: Upstream) -> Iterator[Callable[[Gateway], Load]]:
    """Loads of a test's own; their probes end with the test."""
    loads: list[Load] = []

    def put(gateway: Gateway) -> Load:
        loads.append(Load(gateway, upstream))
        return loads[-1]

    yield put
    for load in loads:
        load.stop_probing()


def held(upstream: Upstream) -> str:
    return upstream.play({"hold": True, "items": [{"type": "message", "deltas": ["a", "b"]}]})


class Streams:
    """Streams that last until they are released."""

    def __init__(self, gateway: Gateway, upstream: Upstream) -> None:
        self._gateway, self._upstream = gateway, upstream
        self._pool = ThreadPoolExecutor(16)

    def open(self) -> Callable[[], list[Any]]:
        """Begin one; return what releases it and gives its frames."""
        marker = held(self._upstream)
        answer = self._pool.submit(stream_frames, self._gateway, ask(marker))
        self._upstream.control.wait("held", marker)

        def finish() -> list[Any]:
            self._upstream.control.release(marker)
            return answer.result(DEADLINE_S)[1]

        return finish


def is_whole(frames: list[Any]) -> bool:
    return frames[-1] == "[DONE]" and bool(frames[-2]["choices"][0]["finish_reason"] == "stop")


def served(gateway: Gateway, upstream: Upstream) -> bool:
    answer = gateway.post(ask(upstream.say("fine")))
    return bool(answer.json()["choices"][0]["message"]["content"] == "fine")


def wait_refused(gateway: Gateway, count: int = 1) -> str:
    wait_until(lambda: len(gateway.events("reload_refused")) == count, "the reload is refused")
    return " ".join(gateway.events("reload_refused")[-1]["problems"])


# Nothing is lost


def test_a_reload_loses_nothing(make: Make, put_load: Callable[[Gateway], Load]) -> None:
    site, gateway = make(WORKER_STARTUP_TIMEOUT_MS="30000")
    site.set(CODEX_BIN=site.codex("slow-codex", f"sleep {BOOT_S}"))
    first = gateway.child()
    load = put_load(gateway)
    load.probe()
    load.streams(20, BOOT_S + 1)
    hup(gateway)
    wait_reloads(gateway, 1)
    assert load.whole() == 20
    load.stop_probing()
    assert load.errors == []
    assert max(load.waits_ms) < LONGEST_WAIT_MS
    wait_until(lambda: not first.is_running(), "the old child is gone")
    wait_until(lambda: len(gateway.workers()) == 1, "the old worker is gone")
    assert reload_state(gateway)["state"] == "done"
    assert gateway.stop() == 0
    assert processes_below(gateway) == []


@pytest.mark.chaos
def test_many_hups_at_once_end_in_one_reload_that_loses_nothing(
    make: Make, put_load: Callable[[Gateway], Load]
) -> None:
    _, gateway = make(boot_s="1")
    load = put_load(gateway)
    load.probe()
    load.streams(20, 8)
    for heard in range(1, 11):
        hup(gateway)
        wait_until(lambda: len(gateway.events("Handling signal: hup")) == heard, "heard")  # noqa: B023
    wait_until(lambda: gateway.events("reload_done"), "a reload is done")
    assert load.whole() == 20
    load.stop_probing()
    assert load.errors == []


@pytest.mark.chaos
def test_a_stream_longer_than_the_graceful_timeout_is_whole(
    make: Make, put_load: Callable[[Gateway], Load]
) -> None:
    _, gateway = make(WORKER_SHUTDOWN_GRACE_MS="500")  # so gunicorn's graceful timeout is 11 s
    load = put_load(gateway)
    load.streams(1, 16)
    hup(gateway)
    wait_reloads(gateway, 1)
    assert load.whole() == 1


def test_a_connection_that_is_kept_open_loses_nothing(make: Make, upstream: Upstream) -> None:
    _, gateway = make()
    marker = upstream.say("kept")
    with requests.Session() as session, requests.Session() as idle:
        idle.get(f"{gateway.url}/livez", timeout=DEADLINE_S)
        hup(gateway)
        while not gateway.events("worker_retires"):
            assert post(gateway, session, marker) == "kept"
        for _ in range(10):
            assert post(gateway, session, marker) == "kept"
    generations = [e["worker_pid"] for e in gateway.events("request") if e["method"] == "POST"]
    assert len(set(generations)) == 2


def test_who_waits_for_a_turn_on_the_old_worker_gets_it_there(
    make: Make, upstream: Upstream
) -> None:
    _, gateway = make(WORKER_MAX_CONCURRENCY="1", WORKER_QUEUE_TIMEOUT_MS="30000")
    finish = Streams(gateway, upstream).open()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(served, gateway, upstream)
        wait_until(lambda: gateway.get("/healthz").json()["child"]["waiting"] == 1, "it waits")
        old = gateway.child()
        hup(gateway)
        wait_until(lambda: gateway.events("worker_retires"), "only the new worker accepts")
        assert served(gateway, upstream), "the new worker has slots of its own"
        assert is_whole(finish())
        assert waiting.result(DEADLINE_S)
    wait_until(lambda: not old.is_running(), "the old child is gone")


def test_a_retired_worker_ends_streams_that_outlive_the_reloads_grace(
    make: Make, upstream: Upstream
) -> None:
    _, gateway = make(WORKER_RELOAD_GRACE_MS="300")
    finish = Streams(gateway, upstream).open()
    hup(gateway)
    wait_until(lambda: gateway.events("drain_grace_over"), "the grace is over")
    frames = finish()
    assert frames[-2]["error"]["code"] == "DRAINING"
    assert frames[-1] == "[DONE]"


# What cannot be reloaded to


def test_a_child_that_cannot_start_leaves_the_old_worker_serving(
    make: Make, upstream: Upstream, put_load: Callable[[Gateway], Load]
) -> None:
    site, gateway = make(WORKER_BACKOFF_MAX_MS="250")
    site.set(CODEX_BIN="/bin/false")
    load = put_load(gateway)
    load.probe()
    hup(gateway)
    wait_until(lambda: gateway.events("child_degraded"), "the new child has failed five times")
    (waits,) = gateway.events("reload_waits")
    assert waits["reason"] == "start_failed"
    for path in ("/readyz", "/healthz"):
        answer = gateway.get(path)
        assert answer.status_code == 200
        report = answer.json()["reload"]
        assert report["state"] == "starting"
        assert report["waits_for"] == (
            "The codex process of the new worker does not start: start_failed: "
            "the codex binary could not print its models (exit 1)"
        )
    assert gateway.get("/healthz", key=False).json() == {"status": "ok", "reason": None}
    assert served(gateway, upstream)
    site.set(CODEX_BIN="")
    hup(gateway)
    wait_reloads(gateway, 1)
    assert served(gateway, upstream)
    assert reload_state(gateway)["waits_for"] is None
    load.stop_probing()
    assert load.errors == []


Break = Callable[[Site], object]


def append(path: Path, text: str) -> None:
    path.write_text(path.read_text() + text)


REFUSALS: list[tuple[str, Break, str]] = [
    (
        "syntax",
        lambda site: (site.folder / "app" / "errors.py").write_text("def (:\n"),
        "SyntaxError in errors.py, line 1: invalid syntax.",
    ),
    (
        "package",
        lambda site: (site.folder / "app" / "__init__.py").write_text("import nothing_like_it\n"),
        "ModuleNotFoundError in __init__.py, line 1: No module named 'nothing_like_it'.",
    ),
    (
        "configuration",
        lambda site: (site.folder / "gunicorn.conf.py").write_text("1 / 0\n"),
        "ZeroDivisionError in gunicorn.conf.py, line 1.",
    ),
    (
        "settings",
        lambda site: site.set(LOG_LEVEL=SECRET),
        "LOG_LEVEL must be one of debug, info, warning, error.",
    ),
    (
        "raises",
        lambda site: (site.folder / "wsgi.py").write_text(f"raise ValueError('{SECRET}')\n"),
        "ValueError in wsgi.py, line 1.",
    ),
    (
        "home",
        lambda site: append(site.folder / ".env", f"CODEX_HOME={site.folder / 'wsgi.py'}\n"),
        "CODEX_HOME must be a folder: it, or something above it, is a file.",
    ),
    (
        "host",
        lambda site: append(site.folder / ".env", "PROXY_HOST=192.0.2.1\n"),
        "PROXY_HOST, PORT: cannot listen there: Cannot assign requested address.",
    ),
    (
        "key",
        lambda site: append(site.folder / ".env", f"PROXY_ADMIN_KEY={SECRET}\N{EURO SIGN}\n"),
        (
            "PROXY_ADMIN_KEY must be letters, digits and signs of ASCII, without spaces and quotes, at most 4096: "
            "it travels in a header."
        ),
    ),
    (
        "layout",
        lambda site: append(site.folder / "app" / "runtime" / "layout.py", "LAYOUT = 99\n"),
        "This version needs a new master: send USR2 in place of HUP, or restart the service.",
    ),
]


def test_what_cannot_be_loaded_is_refused_and_harms_nobody(make: Make, upstream: Upstream) -> None:
    site, gateway = make()
    finish = Streams(gateway, upstream).open()
    good = {path: path.read_text() for path in site.folder.rglob("*.py")}
    settings = (site.folder / ".env").read_text()
    (worker,) = gateway.workers()
    for count, (name, break_it, problem) in enumerate(REFUSALS, 1):
        break_it(site)
        hup(gateway)
        assert wait_refused(gateway, count) == problem, name
        report = reload_state(gateway)
        assert (report["state"], report["detail"]) == ("refused", problem)
        assert served(gateway, upstream)
        for path, text in good.items():
            path.write_text(text)
        (site.folder / ".env").write_text(settings)
    assert gateway.workers() == [worker]
    assert SECRET not in gateway.log_path.read_text()
    hup(gateway)
    wait_reloads(gateway, 1)
    assert is_whole(finish())


def test_a_check_that_hangs_is_given_up_by_the_next_hup(make: Make, upstream: Upstream) -> None:
    site, gateway = make()
    wsgi = site.folder / "wsgi.py"
    good = wsgi.read_text()
    wsgi.write_text("import time\ntime.sleep(1000)\n")
    hup(gateway)
    wait_until(lambda: reload_state(gateway)["state"] == "checking", "it is being checked")
    assert served(gateway, upstream)
    wsgi.write_text(good)
    hup(gateway)
    wait_reloads(gateway, 1)


def test_a_port_can_change_and_one_that_is_taken_is_refused(make: Make, upstream: Upstream) -> None:
    site, gateway = make()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        site.set(PORT=str(port))
        hup(gateway)
        problem = wait_refused(gateway)
    assert problem == "PROXY_HOST, PORT: cannot listen there: Address already in use."
    finish = Streams(gateway, upstream).open()
    hup(gateway)
    wait_reloads(gateway, 1)
    gateway.port = port
    assert served(gateway, upstream)
    assert is_whole(finish())


# Deaths


# The check is the first process of a session of its own; a worker is not.
IN_A_WORKER = "import os, pathlib\nif os.getsid(0) != os.getpid():\n    "


def test_a_new_worker_that_fails_to_boot_is_tried_again(make: Make, upstream: Upstream) -> None:
    site, gateway = make()
    wsgi = site.folder / "wsgi.py"
    once = "os.path.exists('seen') or [os.mkdir('seen'), 1 / 0]\n"
    wsgi.write_text(IN_A_WORKER + once + wsgi.read_text())
    hup(gateway)
    wait_reloads(gateway, 1)
    assert [entry["loss"] for entry in events(gateway, "reload_worker_died")] == ["retry"]
    assert served(gateway, upstream)


@pytest.mark.chaos
def test_a_new_worker_that_cannot_boot_does_not_end_the_service(
    make: Make, upstream: Upstream
) -> None:
    site, gateway = make()
    wsgi = site.folder / "wsgi.py"
    good = wsgi.read_text()
    wsgi.write_text(IN_A_WORKER + "raise RuntimeError\n" + good)
    hup(gateway)
    wait_until(lambda: reload_state(gateway)["state"] == "failed", "the master gives up")
    losses = [entry["loss"] for entry in events(gateway, "reload_worker_died")]
    assert losses == ["retry"] * 4 + ["give_up"]
    assert served(gateway, upstream)
    wsgi.write_text(good)
    hup(gateway)
    wait_reloads(gateway, 1)
    assert served(gateway, upstream)


def test_a_service_that_cannot_boot_at_first_ends(tmp_path: Path, upstream: Upstream) -> None:
    site = Site(tmp_path / "site", upstream)
    (site.folder / "wsgi.py").write_text("raise RuntimeError\n")
    gateway = site.start()
    assert gateway.process.wait(DEADLINE_S) == 3


def test_workers_that_are_killed_during_a_reload_are_replaced(
    make: Make, upstream: Upstream
) -> None:
    _, gateway = make(boot_s="1")
    (old,) = gateway.workers()
    hup(gateway)
    (successor,) = wait_until(
        lambda: [
            worker for worker in gateway.workers() if worker.pid != old.pid and booted(worker)
        ],
        "the successor boots",
    )
    successor.kill()
    assert served(gateway, upstream), "the old worker serves on"
    (second,) = wait_until(
        lambda: [w for w in gateway.workers() if w.pid not in {old.pid, successor.pid}],
        "another successor",
    )
    wait_until(lambda: booted(second), "which boots")
    old.kill()
    assert served(gateway, upstream), "who comes now waits for the child of the successor"
    wait_until(lambda: [worker.pid for worker in gateway.workers()] == [second.pid], "one is left")
    assert gateway.stop() == 0


def booted(worker: psutil.Process) -> bool:
    """True once it has started its child, so has long loaded the application."""
    return bool(worker.children())


# How many


DEAF_AT_FIRST = """
_post_fork = post_fork

def post_fork(server, worker):
    import signal
    if worker.age == 2:  # it has no handlers of its own yet, so what it is told first is lost
        told = []
        signal.signal(signal.SIGTERM, lambda *_: told.append(True))
        while not told:
            signal.pause()
    _post_fork(server, worker)
"""


def test_a_new_worker_that_is_too_young_to_hear_is_dismissed_all_the_same(
    make: Make, upstream: Upstream
) -> None:
    site, gateway = make()
    append(site.folder / "gunicorn.conf.py", DEAF_AT_FIRST)
    hup(gateway)
    wait_until(lambda: gateway.events("reload_started"), "the first new worker was forked")
    hup(gateway)
    wait_reloads(gateway, 1)
    assert gateway.events("reload_done")[0]["worker_generation"] == 3
    wait_until(lambda: len(gateway.workers()) == 1, "the others have gone")
    assert served(gateway, upstream)


def wait_retired(gateway: Gateway, count: int) -> None:
    wait_until(lambda: len(gateway.events("worker_retires")) == count, "the old worker retires")


def test_a_fourth_generation_waits_for_the_first_to_end(make: Make, upstream: Upstream) -> None:
    _, gateway = make()
    streams = Streams(gateway, upstream)
    first = streams.open()
    hup(gateway)
    wait_retired(gateway, 1)  # until then the old one accepts, too
    second = streams.open()
    hup(gateway)
    wait_retired(gateway, 2)
    third = streams.open()
    hup(gateway)
    hup(gateway)
    wait_until(lambda: reload_state(gateway)["state"] == "queued", "the third reload waits")
    assert len(gateway.workers()) == 3
    assert len(gateway.events("reload_queued")) == 1
    assert served(gateway, upstream)
    assert is_whole(first())
    wait_reloads(gateway, 3)
    assert is_whole(second())
    assert is_whole(third())


def test_the_number_of_workers_cannot_be_changed(make: Make, upstream: Upstream) -> None:
    _, gateway = make()
    for number, name in ((signal.SIGTTIN, "TTIN"), (signal.SIGTTOU, "TTOU")):
        gateway.process.send_signal(number)
        wait_until(
            lambda: [e for e in gateway.events("worker_count_refused") if e["signal"] == name],  # noqa: B023
            "refused",
        )
    gateway.process.send_signal(signal.SIGWINCH)
    assert served(gateway, upstream)
    assert len(gateway.workers()) == 1


# TERM


HEARD_S = 10
"""Above what a machine takes that stands still for some seconds, and far below what must not be waited for."""


def noticed_after_s(gateway: Gateway, workers: int) -> float:
    """Send TERM; return how long it takes until that many workers drain."""
    began = time.monotonic()
    gateway.process.send_signal(signal.SIGTERM)
    wait_until(lambda: len(gateway.events("drain_began")) == workers, "the workers drain")
    return time.monotonic() - began


def test_term_after_a_hup_is_heard_at_once_and_means_the_short_grace(
    make: Make, upstream: Upstream
) -> None:
    _, gateway = make(WORKER_SHUTDOWN_GRACE_MS="1000")
    finish = Streams(gateway, upstream).open()
    hup(gateway)
    wait_reloads(gateway, 1)
    wait_until(lambda: gateway.events("worker_retires"), "the old worker retires")
    gateway.wait_ready()  # so the new one, which alone accepts now, has something to drain
    assert noticed_after_s(gateway, workers=2) < HEARD_S
    assert gateway.process.wait(DEADLINE_S) == 0
    assert finish()[-2]["error"]["code"] == "DRAINING"
    assert processes_below(gateway) == []


def test_term_in_the_middle_of_a_reload_is_heard_at_once(make: Make, upstream: Upstream) -> None:
    site, gateway = make(WORKER_STARTUP_TIMEOUT_MS="60000", WORKER_SHUTDOWN_GRACE_MS="500")
    site.set(CODEX_BIN=site.codex("slow-codex", "sleep 60"))
    finish = Streams(gateway, upstream).open()
    hup(gateway)
    wait_until(lambda: gateway.events("reload_started"), "the new worker is forked")
    assert noticed_after_s(gateway, workers=1) < HEARD_S
    assert gateway.process.wait(DEADLINE_S) == 0
    assert finish()[-2]["error"]["code"] == "DRAINING"
    assert processes_below(gateway) == []


# USR2


@pytest.mark.parametrize(
    "module",
    [
        pytest.param(False, id="gunicorn"),
        pytest.param(True, id="python -m gunicorn", marks=pytest.mark.chaos),
    ],
)
def test_another_master_takes_over_without_a_gap(
    make: Make,
    upstream: Upstream,
    put_load: Callable[[Gateway], Load],
    module: bool,
) -> None:
    # gunicorn itself leaves a socket to the garbage collector when it inherits one, so: no warnings as errors.
    _, gateway = make(module=module, warnings="")
    pid_file = gateway.home / "gunicorn.pid"
    finish = Streams(gateway, upstream).open()
    load = put_load(gateway)
    load.probe()
    gateway.process.send_signal(signal.SIGUSR2)
    wait_until(lambda: gateway.events("upgrade_done"), "the new master has taken over")
    new = psutil.Process(gateway.events("upgrade_done")[0]["master_pid"])
    try:
        assert int(pid_file.read_text()) == new.pid
        assert served(gateway, upstream)
        assert gateway.process.poll() is None, "it still has a stream"
        assert is_whole(finish())
        assert gateway.process.wait(DEADLINE_S) == 0
        wait_until(lambda: gateway.events("Master has been promoted."), "promoted")
        assert int(pid_file.read_text()) == new.pid
        new.send_signal(signal.SIGHUP)
        wait_reloads(gateway, 2)
        load.stop_probing()
        assert load.errors == []
    finally:
        new.terminate()
        psutil.wait_procs([new], DEADLINE_S)
    assert processes_below(gateway) == []
    assert not pid_file.exists()


def test_stopping_the_new_master_also_stops_the_one_that_still_finishes(
    make: Make, upstream: Upstream
) -> None:
    _, gateway = make(warnings="", WORKER_SHUTDOWN_GRACE_MS="300")
    finish = Streams(gateway, upstream).open()
    gateway.process.send_signal(signal.SIGUSR2)
    wait_until(lambda: gateway.events("upgrade_done"), "the new master has taken over")
    os.kill(int((gateway.home / "gunicorn.pid").read_text()), signal.SIGTERM)
    assert gateway.process.wait(DEADLINE_S) == 0
    assert finish()[-2]["error"]["code"] == "DRAINING"
    assert processes_below(gateway) == []


@pytest.mark.parametrize("begun", ["upgrade_started", "Booting worker with pid: "])
def test_a_stop_before_the_new_master_serves_stops_both(
    make: Make, upstream: Upstream, begun: str
) -> None:
    _, gateway = make(warnings="", WORKER_SHUTDOWN_GRACE_MS="300")
    finish = Streams(gateway, upstream).open()
    gateway.process.send_signal(signal.SIGUSR2)

    def new_master() -> int | None:
        started = {entry["master_pid"] for entry in gateway.events("upgrade_started")}
        writers = {
            psutil.Process(entry["worker_pid"]).ppid()
            for entry in gateway.log()
            if entry["event"].startswith(begun)
        }
        return next(iter(started if begun == "upgrade_started" else started & writers), None)

    new = psutil.Process(wait_until(new_master, f"the new master is at: {begun}"))
    os.kill(int((gateway.home / "gunicorn.pid").read_text()), signal.SIGTERM)
    assert gateway.process.wait(DEADLINE_S) == 0
    assert not new.is_running()
    assert finish()[-2]["error"]["code"] == "DRAINING"
    assert processes_below(gateway) == []
    assert list(gateway.home.glob("gunicorn.pid*")) == []


def test_a_new_master_that_dies_gives_the_service_back(make: Make, upstream: Upstream) -> None:
    _, gateway = make(warnings="")
    finish = Streams(gateway, upstream).open()
    gateway.process.send_signal(signal.SIGUSR2)
    wait_until(lambda: gateway.events("upgrade_done"), "the new master has taken over")
    pid_file = gateway.home / "gunicorn.pid"
    os.kill(int(pid_file.read_text()), signal.SIGKILL)
    wait_until(lambda: gateway.events("upgrade_failed"), "it is noticed")
    assert served(gateway, upstream)
    assert int(pid_file.read_text()) == gateway.process.pid
    assert is_whole(finish())
    assert gateway.stop() == 0
    assert processes_below(gateway) == []


def test_a_new_master_whose_child_cannot_start_takes_over_after_a_hup(
    make: Make, upstream: Upstream
) -> None:
    site, gateway = make(warnings="", WORKER_BACKOFF_MAX_MS="250")
    site.set(CODEX_BIN="/bin/false")
    gateway.process.send_signal(signal.SIGUSR2)
    wait_until(lambda: gateway.events("child_degraded"), "the new child has failed five times")
    new = psutil.Process(int((gateway.home / "gunicorn.pid.2").read_text()))
    assert served(gateway, upstream)
    try:
        site.set(CODEX_BIN="")
        new.send_signal(signal.SIGHUP)
        wait_until(lambda: gateway.events("upgrade_done"), "the new master has taken over")
        assert gateway.process.wait(DEADLINE_S) == 0
        assert served(gateway, upstream)
        assert len(gateway.events("reload_started")) == 1
    finally:
        new.terminate()
        psutil.wait_procs([new], DEADLINE_S)
    assert processes_below(gateway) == []


def test_a_new_master_that_cannot_start_leaves_the_old_one_serving(
    make: Make, upstream: Upstream
) -> None:
    site, gateway = make()
    (site.folder / "app" / "errors.py").write_text("def (:\n")
    gateway.process.send_signal(signal.SIGUSR2)
    wait_until(lambda: events(gateway, "upgrade_failed"), "it has ended")
    assert served(gateway, upstream)
    assert int((gateway.home / "gunicorn.pid").read_text()) == gateway.process.pid
