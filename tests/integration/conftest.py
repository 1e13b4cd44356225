"""The rules of every integration test (no greenlet may raise unseen, none may be left behind), and the upstream.

Nothing is monkey-patched here: the application names gevent where it blocks, so the tests run it on the main thread's
own hub. Greenlets that raise would otherwise only be printed, and leaked ones not even that.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from unittest.mock import patch
from uuid import uuid4
from weakref import WeakSet

import gevent
import pytest

from scripted_upstream.client import Control
from tests.e2e.harness import MODEL, Upstream
from tests.fakes.waiting import eventually


@pytest.fixture(autouse=True)
def _no_greenlet_raises_or_stays() -> Iterator[None]:
    hub = gevent.get_hub()
    raised: list[str] = []
    spawned: WeakSet[gevent.Greenlet[..., Any]] = WeakSet()

    def collect(context: object, kind: type[BaseException], value: object, _: object) -> None:
        if not issubclass(kind, gevent.GreenletExit):
            raised.append(f"{kind.__name__}: {value} in {context!r}")

    def living() -> list[gevent.Greenlet[..., Any]]:
        return [greenlet for greenlet in spawned if not greenlet.dead]

    gevent.Greenlet.add_spawn_callback(spawned.add)
    try:
        with patch.object(hub, "handle_error", collect):
            yield
            eventually(lambda: not living(), lambda: f"left behind: {living()}", within_s=5)
    finally:
        gevent.Greenlet.remove_spawn_callback(spawned.add)
    assert raised == []


@pytest.fixture(scope="session")
def upstream_url() -> Iterator[str]:
    """The address of the scripted upstream, a process that knows one model."""
    upstream = Upstream("--model", MODEL)
    yield upstream.url
    upstream.close()


@pytest.fixture
def control(upstream_url: str) -> Iterator[Control]:
    control = Control(upstream_url)
    yield control
    assert control.state()["last_errors"] == []


@pytest.fixture
def marker() -> str:
    return f"marker-{uuid4().hex}"
