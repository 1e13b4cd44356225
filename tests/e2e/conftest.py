"""Fixtures: one upstream and one gateway for all, gateways that are lent, and gateways of a test's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import openai
import pytest

from tests.e2e.gateway_pool import GatewayPool
from tests.e2e.harness import Gateway, Upstream, end, start_gateway


@pytest.fixture(scope="session")
def upstream() -> Iterator[Upstream]:
    running = Upstream()
    yield running
    assert running.control.state()["errors"] == 0
    running.close()


@pytest.fixture
def make_gateway(tmp_path: Path, upstream: Upstream) -> Iterator[Callable[..., Gateway]]:
    """Gateways of a test's own, with its own settings; ended with the test, however it ends."""
    started: list[Gateway] = []

    def make(
        *, with_upstream: bool = True, ready: bool = True, starter: str = "", **settings: str
    ) -> Gateway:
        folder = tmp_path / f"gateway-{len(started)}"
        folder.mkdir()
        gateway = start_gateway(
            folder, upstream if with_upstream else None, starter=starter, **settings
        )
        started.append(gateway)
        if ready:
            gateway.wait_ready()
        return gateway

    yield make
    for gateway in started:
        end(gateway)


@pytest.fixture(scope="session")
def gateway_pool(
    tmp_path_factory: pytest.TempPathFactory, upstream: Upstream
) -> Iterator[GatewayPool]:
    pool = GatewayPool(tmp_path_factory.mktemp("pool"), upstream)
    yield pool
    pool.close()


@pytest.fixture
def lend_gateway(gateway_pool: GatewayPool) -> Iterator[Callable[..., Gateway]]:
    """Gateways with these settings that other tests have used, for a test that leaves them as it found them."""
    with ExitStack() as loans:

        def lend(*, with_upstream: bool = True, **settings: str) -> Gateway:
            loan = gateway_pool.lend(with_upstream=with_upstream, **settings)
            loans.callback(gateway_pool.take_back, loan)
            return loan.gateway

        yield lend


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream) -> Iterator[Gateway]:
    """One gateway for every test that does no harm to it. Its end is a test too."""
    running = start_gateway(tmp_path_factory.mktemp("gateway"), upstream)
    running.wait_ready()
    yield running
    assert running.stop() == 0
    worst = [entry for entry in running.log() if entry["level"] in {"error", "critical"}]
    assert worst == []


@pytest.fixture
def sdk(gateway: Gateway) -> Iterator[openai.OpenAI]:
    with gateway.sdk() as client:
        yield client
