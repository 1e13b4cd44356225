"""Pool of gateways by their settings: what one test has left as it found it, the next one with the same settings uses.

A test that asks for a gateway of these settings has it alone, and reads only its own lines of the log. What must not
be different afterwards: the child and so the worker, the slots, maintenance, reloads, and what is known of the account.
Counters go on from where they were.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.e2e.harness import Gateway, Upstream, end, start_gateway, wait_until

MAX_IDLE = 4
"""How many gateways wait for another test; the one that has waited longest is ended for a new one."""

SECOND_KEY = "sk-second-key-0123456789"
ADMIN_KEY = "sk-e2e-admin-key-0123456789"
METRICS_TOKEN = "metrics-token-0123456789"

ONE_SLOT = {
    "WORKER_MAX_CONCURRENCY": "1",
    "WORKER_QUEUE_TIMEOUT_MS": "30000",
    "PROXY_API_KEYS": f"second={SECOND_KEY}",
    "PROXY_SSE_MAX_CONCURRENCY": "3",
}
"""Settings that several tests ask for: one turn at a time, and a long line for it."""

EVERY_KEY = {
    "PROXY_ADMIN_KEY": ADMIN_KEY,
    "PROXY_METRICS_TOKEN": METRICS_TOKEN,
    "PROXY_API_KEYS": f"second={SECOND_KEY}",
}
"""The same: a key of its own for everything that has one."""

Settings = tuple[bool, frozenset[tuple[str, str]]]


class GatewayPool:
    """Gateways, lent to one test at a time. `folder` holds their homes and logs."""

    def __init__(self, folder: Path, upstream: Upstream) -> None:
        self._folder = folder
        self._upstream = upstream
        self._idle: list[tuple[Settings, Gateway]] = []
        self._count = 0

    def lend(self, *, with_upstream: bool = True, **settings: str) -> Loan:
        """Return a gateway that is ready and at rest, an idle one if there is one with the same settings."""
        wanted = (with_upstream, frozenset(settings.items()))
        for place, (had, gateway) in enumerate(self._idle):
            if had == wanted:
                del self._idle[place]
                gateway.log_start = gateway.log_path.stat().st_size
                return Loan(wanted, gateway)
        return Loan(wanted, self._start(with_upstream=with_upstream, **settings))

    def _start(self, *, with_upstream: bool, **settings: str) -> Gateway:
        self._count += 1
        folder = self._folder / f"gateway-{self._count}"
        folder.mkdir()
        gateway = start_gateway(folder, self._upstream if with_upstream else None, **settings)
        try:
            gateway.wait_ready()
        except BaseException:
            end(gateway)
            raise
        return gateway

    def take_back(self, loan: Loan) -> None:
        """Keep a gateway for the next test. Raises `AssertionError`, and ends it, if it is not as it was."""
        try:
            loan.check()
        except BaseException:
            end(loan.gateway)
            raise
        self._idle.append((loan.settings, loan.gateway))
        if len(self._idle) > MAX_IDLE:
            end(self._idle.pop(0)[1])

    def close(self) -> None:
        """End whatever is idle."""
        while self._idle:
            end(self._idle.pop()[1])


class Loan:
    """A gateway in the hands of a test, and what it was like before."""

    def __init__(self, settings: Settings, gateway: Gateway) -> None:
        self.settings = settings
        self.gateway = gateway
        self._before = condition(gateway)

    def check(self) -> None:
        """Wait until the gateway is as it was; raise `AssertionError` if it never is, or has logged an error."""
        wait_until(
            lambda: condition(self.gateway) == self._before,
            f"the gateway is as it was: {self._before}",
        )
        worst = [line for line in self.gateway.log() if line["level"] in {"error", "critical"}]
        assert worst == []


def condition(gateway: Gateway) -> dict[str, Any]:
    """Return of a gateway's health what a test must not leave different."""
    health = gateway.get("/healthz").json()
    child = {name: health["child"][name] for name in ("pid", "state", "running", "waiting")}
    maintenance = {
        name: value
        for name, value in health["maintenance"].items()
        if name not in {"since", "set_by"}
    }
    others = {name: health[name] for name in ("account_limits", "reload", "status")}
    return {**others, "child": child, "maintenance": maintenance}
