"""Children that hang, disks that are full, logins that are refused: what operators see, and what clients do not."""

from __future__ import annotations

import errno
import json
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.e2e.harness import Gateway, Upstream, ask, wait_until

Make = Callable[..., Gateway]
WORDS = ["al", "l", " l", "ie", "s", " s"]
REPLACED_S = 25
"""Three times what the default settings allow for, as the machine may stand still for some seconds."""


def content(answer: object) -> str:
    text: str = answer.json()["choices"][0]["message"]["content"]  # type: ignore[attr-defined]
    return text


def test_a_hung_child_is_replaced_idle_and_busy(make_gateway: Make, upstream: Upstream) -> None:
    """With the default settings. What had said nothing yet is asked again, what had gets one error frame."""
    gateway = make_gateway()
    silent = upstream.play(
        [
            {"items": [{"type": "message", "deltas": WORDS}], "hold_before_headers": True},
            {"items": [{"type": "message", "deltas": WORDS}]},
        ]
    )
    talking = upstream.play({"items": [{"type": "message", "deltas": WORDS}], "hold": "end"})
    with ThreadPoolExecutor() as pool:
        whole = pool.submit(gateway.post, ask(silent))
        stream = pool.submit(gateway.post, ask(talking, stream=True))
        upstream.control.wait("held", talking)
        wait_until(lambda: upstream.control.requests(silent), "the silent one is upstream")
        busy = gateway.child()
        began = time.monotonic()
        busy.send_signal(signal.SIGSTOP)
        assert content(whole.result(60)) == "".join(WORDS)
        assert time.monotonic() - began < REPLACED_S
        frames = stream.result(60).text.split("\n\n")
    assert frames[-2] == "data: [DONE]"
    assert json.loads(frames[-3][6:])["error"]["code"] == "WORKER_UNAVAILABLE"
    upstream.control.release(talking)
    gateway.wait_ready()

    idle = gateway.child()
    assert idle.pid != busy.pid
    began = time.monotonic()
    idle.send_signal(signal.SIGSTOP)
    wait_until(lambda: gateway.child().pid != idle.pid, "there is another child")
    gateway.wait_ready()
    assert time.monotonic() - began < REPLACED_S
    assert content(gateway.post(ask(upstream.say(*WORDS)))) == "".join(WORDS)
    assert [entry["reason"] for entry in gateway.events("child_recycled")] == ["hung", "hung"]


@pytest.mark.parametrize("how", ["401", "answer"])
def test_a_refused_login_is_named_until_there_is_an_answer(
    make_gateway: Make, upstream: Upstream, how: str
) -> None:
    gateway = make_gateway()
    refused = gateway.post(ask(upstream.play({"failure": "invalid_api_key"})))
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "UPSTREAM_AUTH")
    answer = gateway.get("/readyz", key=False)
    assert (answer.status_code, answer.json()["reason"]) == (503, "upstream_auth")
    assert gateway.get("/healthz", key=False).json()["status"] == "degraded"
    if how == "answer":
        assert content(gateway.post(ask(upstream.say(*WORDS)))) == "".join(WORDS)
        assert gateway.get("/readyz").status_code == 200


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 32 MiB, for what a folder with permissions cannot show to root."""
    folder = tmp_path / "disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32m", "tmpfs", str(folder)], check=True)
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(disk: Path) -> Path:
    """Leave no room; to be called again where something may have been removed since."""
    path = disk / "ballast"
    with path.open("ab", buffering=0) as file:
        try:
            while True:
                file.write(bytes(65536))
        except OSError as error:
            assert error.errno == errno.ENOSPC
    return path


@pytest.mark.system
def test_a_full_disk_is_named_and_its_end_is_noticed(
    make_gateway: Make, upstream: Upstream, small_disk: Path
) -> None:
    gateway = make_gateway(CODEX_HOME=str(small_disk / "home"), WORKER_BACKOFF_MAX_MS="500")
    assert content(gateway.post(ask(upstream.say(*WORDS)))) == "".join(WORDS)
    ballast = fill(small_disk)
    # As long as the child lives, the gateway serves.
    answers = [gateway.post(ask(upstream.say(*WORDS))) for _ in range(20)]
    assert {answer.status_code for answer in answers} == {200}
    worker = gateway.workers()[0].pid
    gateway.child().kill()
    wait_until(
        lambda: gateway.get("/readyz", key=False).json().get("reason") == "disk_full", "a reason"
    )
    assert gateway.get("/metrics").status_code == 200
    details = gateway.get("/healthz").json()["child"]["last_exit"]
    assert (details["reason"], details["detail"]) == (
        "disk_full",
        "CODEX_HOME cannot be written to: No space left on device.",
    )
    ballast.unlink()
    gateway.wait_ready()
    assert content(gateway.post(ask(upstream.say(*WORDS)))) == "".join(WORDS)
    assert gateway.workers()[0].pid == worker


@pytest.mark.system
def test_a_worker_that_starts_on_a_full_disk_lives(
    make_gateway: Make, upstream: Upstream, small_disk: Path
) -> None:
    gateway = make_gateway(CODEX_HOME=str(small_disk / "home"), WORKER_BACKOFF_MAX_MS="500")
    ballast = fill(small_disk)
    worker = gateway.workers()[0]
    worker.kill()

    def is_named() -> bool:
        fill(small_disk)  # what the first worker has left is removed, and makes room
        answer = gateway.get("/readyz", key=False).json()
        if answer["status"] == "ready":  # its child was quicker than that
            gateway.child().kill()
        return bool(answer.get("reason") == "disk_full")

    wait_until(is_named, "a reason")
    (second,) = gateway.workers()
    for path in ("/healthz", "/metrics", "/v1/models/nothing"):
        gateway.get(path)
    ballast.unlink()
    gateway.wait_ready()
    assert content(gateway.post(ask(upstream.say(*WORDS)))) == "".join(WORDS)
    assert [one.pid for one in gateway.workers()] == [second.pid]
