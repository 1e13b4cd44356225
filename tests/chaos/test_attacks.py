"""Attacks by one key or by strangers, and what another key's stream, requests and health probes notice of them.

The first row is the control run: nothing is sent, and what it shows is the machine's.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.chaos.attacks import ATTACKS
from tests.chaos.bombs import BOMBS
from tests.chaos.bystander import Met
from tests.chaos.floods import CROWDS
from tests.chaos.ledger import Ledger
from tests.chaos.parted_upstream import PartedUpstream
from tests.chaos.reconciliation import tell_loop
from tests.chaos.target import METRICS_KEY, Target
from tests.chaos.websocket_attacks import WEBSOCKETS
from tests.e2e.harness import FEW_FILES, KEY, ROOT, Gateway, Upstream, end, start_gateway
from tests.e2e.reloading import hup, wait_reloads

EVERY_ATTACK = ATTACKS | BOMBS | CROWDS | WEBSOCKETS

FEW = 400
"""Limit of open files at which a worker has 200 places for connections."""

GAP_MS = 500
LIVEZ_MS = 250
RELOAD_GAP_MS = 1000
"""The same while a new worker and its child start, on the processors that the attack uses."""

OTHER_KEY = "sk-attack-7Hq2Lm9Xw4Zt6Rb1Nc8V"
STREAM_S = 300
APART_MS = 50


def watch(gateway: Gateway, upstream: Upstream, attack: Callable[[], None]) -> Met:
    """Let an attack happen beside a bystander; return what that one met."""
    stream = upstream.say(*["tick "] * (STREAM_S * 1000 // APART_MS), interval_ms=APART_MS)
    text = upstream.say("y", "e", "s")
    with subprocess.Popen(
        [sys.executable, "-m", "tests.chaos.bystander", str(gateway.port), KEY, stream, text],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as bystander:
        assert bystander.stdout is not None
        assert bystander.stdout.readline() == b"flows\n"
        attack()
        said, _ = bystander.communicate()
    return Met(**json.loads(said))


def attacked(folder: Path, upstream: Upstream, starter: str = "") -> Gateway:
    """Start a gateway of which the attacker has a key."""
    return start_gateway(
        folder,
        upstream,
        starter=starter,
        LOG_LEVEL="debug",
        PROXY_API_KEYS=f"attacker={OTHER_KEY}",
        PROXY_METRICS_TOKEN=METRICS_KEY,
    )


@contextmanager
def again_and_again(attack: Callable[[], None]) -> Iterator[None]:
    """Repeat an attack until the end of the block."""
    is_over = threading.Event()

    def repeat() -> None:
        while not is_over.is_set():
            attack()

    with ThreadPoolExecutor(1) as pool:
        attacking = pool.submit(repeat)
        try:
            yield
        finally:
            is_over.set()
            attacking.result()


@pytest.fixture
def upstream() -> Iterator[PartedUpstream]:
    running = PartedUpstream()
    yield running
    running.close()


@pytest.mark.chaos
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("name", "open_files"),
    [
        *((name, 0) for name in [*ATTACKS, *BOMBS, *WEBSOCKETS]),
        *((name, FEW) for name in [*CROWDS, "silent_connections", "cookies_by_thousands"]),
    ],
)
def test_an_attack_is_not_noticed_by_others(
    tmp_path: Path,
    upstream: PartedUpstream,
    settle: Callable[[Ledger], None],
    name: str,
    open_files: int,
) -> None:
    gateway = attacked(tmp_path, upstream, FEW_FILES.format(open_files) if open_files else "")
    try:
        gateway.wait_ready()
        (worker,), child = gateway.workers(), gateway.child()
        target = Target(gateway.port, OTHER_KEY, upstream.attackers)
        met = watch(gateway, upstream, lambda: EVERY_ATTACK[name](target))
        few = f", where {open_files} files may be open" * bool(open_files)
        ledger = Ledger(f"Attack: {name.replace('_', ' ')}{few}")
        ledger.promise("requests of another key", met.answers, met.failures)
        ledger.within("longest gap in its stream", met.gap_ms, GAP_MS, "ms")
        ledger.within("slowest /livez", met.livez_ms, LIVEZ_MS, "ms")
        ledger.figure("slowest small answer", f"{met.answer_ms:.0f} ms")
        ledger.figure("answers to the attacker", dict(target.answers))
        tell_loop(ledger, gateway.log())
        ledger.figure("memory of the worker", f"{worker.memory_info().rss >> 20} MiB")
        replaced = [] if gateway.child() == child else ["it is another one"]
        ledger.promise("the child is the same", 1, replaced)
        settle(ledger)
    finally:
        end(gateway)


@pytest.mark.chaos
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", ["nothing", "many_values", "long_texts", "refused_by_hundreds"])
def test_two_reloads_under_an_attack_lose_no_request_of_others(
    tmp_path: Path,
    upstream: PartedUpstream,
    settle: Callable[[Ledger], None],
    name: str,
) -> None:
    gateway = attacked(tmp_path, upstream)
    try:
        gateway.wait_ready()
        target = Target(gateway.port, OTHER_KEY, upstream.attackers)

        def reload_twice() -> None:
            with again_and_again(lambda: ATTACKS[name](target)):
                for done in (1, 2):
                    hup(gateway)
                    wait_reloads(gateway, done)

        met = watch(gateway, upstream, reload_twice)
        ledger = Ledger(f"Two reloads under an attack: {name.replace('_', ' ')}")
        ledger.promise("requests of another key", met.answers, met.failures)
        ledger.within("longest gap in its stream", met.gap_ms, RELOAD_GAP_MS, "ms")
        ledger.figure("slowest /livez", f"{met.livez_ms:.0f} ms")
        ledger.figure("slowest small answer", f"{met.answer_ms:.0f} ms")
        ledger.figure("answers to the attacker", dict(target.answers))
        tell_loop(ledger, gateway.log())
        settle(ledger)
    finally:
        end(gateway)
