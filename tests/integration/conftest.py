"""What every integration test is held to: no greenlet may raise unseen, none may be left behind.

Nothing is monkey-patched here: the application names gevent where it blocks, so the tests run it on the main thread's
own hub. Greenlets that raise would otherwise only be printed, and leaked ones not even that.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

import gevent
import pytest

from tests.fakes.waiting import eventually


def living_greenlets() -> list[gevent.Greenlet[..., Any]]:
    # By type, not isinstance: that would look through a weak proxy, whose object may be gone.
    found = [thing for thing in gc.get_objects() if issubclass(type(thing), gevent.Greenlet)]
    return [greenlet for greenlet in found if not greenlet.dead]


@pytest.fixture(autouse=True)
def _no_greenlet_raises_or_stays() -> Iterator[None]:
    hub = gevent.get_hub()
    raised: list[str] = []

    def collect(context: object, kind: type[BaseException], value: object, _: object) -> None:
        if not issubclass(kind, gevent.GreenletExit):
            raised.append(f"{kind.__name__}: {value} in {context!r}")

    before = {id(greenlet) for greenlet in living_greenlets()}
    hub.handle_error = collect
    try:
        yield
        eventually(
            lambda: not [one for one in living_greenlets() if id(one) not in before],
            lambda: f"left behind: {[one for one in living_greenlets() if id(one) not in before]}",
            within_s=5,
        )
    finally:
        del hub.handle_error
    assert raised == []
