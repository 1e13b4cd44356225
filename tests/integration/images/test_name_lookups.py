"""Lookups of names in real threads, some of which never come back in time."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import gevent
import pytest

from app.backend.admission import Admission, SlotRequest
from app.errors import ImageTimeout
from app.images.download import Limits
from app.images.fetcher import ImageFetcher, Places
from app.images.name_lookups import LOOKUPS, NameLookups
from app.images.ssrf_guard import NotFetched, Reason
from tests.fakes.waiting import eventually, in_background, in_thread, outcome, result

ADDRESS = ["8.8.8.8"]
SHORT_S = 0.2


@dataclass
class NameServer:
    """Answers for every name at once, but for those that begin with `silent`: when it is told to."""

    speaks: threading.Event = field(default_factory=threading.Event)
    asked: list[str] = field(default_factory=list)

    def __call__(self, name: str, port: int) -> list[str]:
        self.asked.append(f"{name}:{port}")
        if name.startswith("silent"):
            assert self.speaks.wait(60)
        return ADDRESS


@pytest.fixture
def server() -> Iterator[NameServer]:
    running = NameServer()
    yield running
    running.speaks.set()


def places(admission: Admission) -> Callable[[str, float], Callable[[], None]]:
    def take(owner: str, within_s: float) -> Callable[[], None]:
        return admission.acquire(within_s, 1, SlotRequest(owner))[0].release

    return take


def test_silent_names_of_one_key_leave_threads_to_another(server: NameServer) -> None:
    admission = Admission(LOOKUPS, 100, is_split=True)
    lookups = NameLookups(server, places(admission), 20)
    silent = [in_background(lookups.resolve, "greedy", f"silent{n}", 80) for n in range(40)]
    eventually(lambda: len(server.asked) == LOOKUPS * 3 // 4)
    assert result(in_background(lookups.resolve, "other", "plain", 443)) == ADDRESS
    assert server.asked[-1] == "plain:443"
    server.speaks.set()
    assert [result(greenlet) for greenlet in silent] == [ADDRESS] * 40
    eventually(lambda: admission.running == 0)


def test_a_silent_name_has_a_deadline_and_its_thread_counts_until_it_is_free(
    server: NameServer,
) -> None:
    admission = Admission(1, 1)
    lookups = NameLookups(server, places(admission), SHORT_S)
    for name in ("silent", "plain"):
        failed = outcome(lookups.resolve, "key", name, 80)
        assert isinstance(failed, NotFetched)
        assert failed.reason is Reason.NAME_DEADLINE
    assert admission.running == 1
    server.speaks.set()
    eventually(lambda: admission.running == 0)
    assert lookups.resolve("key", "plain", 80) == ADDRESS
    assert server.asked == ["silent:80", "plain:80"]


def test_one_that_is_gone_leaves_its_place_to_the_end_of_its_lookup(server: NameServer) -> None:
    admission = Admission(1, 1)
    lookups = NameLookups(server, places(admission), 20)
    gone = in_background(lookups.resolve, "key", "silent", 80)
    eventually(lambda: bool(server.asked))
    gone.kill()
    assert admission.running == 1
    server.speaks.set()
    eventually(lambda: admission.running == 0)


@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        (socket.gaierror(socket.EAI_NONAME, "unknown"), socket.gaierror),
        (socket.gaierror(socket.EAI_AGAIN, "try again"), NotFetched),
        (UnicodeError("not a name"), UnicodeError),
    ],
)
def test_what_a_resolver_raises_arrives_and_is_not_printed(
    failure: Exception, expected: type[Exception], capfd: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> list[str]:
        raise failure

    lookups = NameLookups(fail, places(Admission(1, 1)), 20)
    assert isinstance(outcome(lookups.resolve, "key", "name", 80), expected)
    assert capfd.readouterr().err == ""


def test_the_threads_that_everything_else_shares_stay_free(server: NameServer) -> None:
    lookups = NameLookups(server, places(Admission(LOOKUPS, 100)), 20)
    for number in range(LOOKUPS):
        in_background(lookups.resolve, "key", f"silent{number}", 80)
    eventually(lambda: len(server.asked) == LOOKUPS)
    with gevent.Timeout(20):
        assert in_thread(len, "here") == 4


def test_the_caller_may_try_again(server: NameServer) -> None:
    taken = places(Admission(LOOKUPS, 100))
    images = ImageFetcher(
        resolver=server, limits=Limits(lookup_s=SHORT_S), places=Places(lookups=taken)
    )
    part = {"type": "input_image", "image_url": "https://silent.test/"}
    item = {"type": "message", "role": "user", "content": [part]}
    refused = outcome(images.inline, [item], "key", {}, "messages")
    assert isinstance(refused, ImageTimeout)
    assert (refused.status, refused.code, refused.retryable) == (408, "IMAGE_TIMEOUT", True)
    assert refused.param == "messages"
