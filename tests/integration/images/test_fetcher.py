from __future__ import annotations

import base64
import itertools
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app.errors import InvalidRequest
from app.images.download import Limits
from app.images.fetcher import ImageFetcher
from app.images.ssrf_guard import Address
from app.settings import ROOT
from tests.integration.images.sites import (
    HEAD,
    PNG,
    Site,
    Visit,
    answer,
    plain,
    redirect,
    site,
    trusting,
)

NAME = "images.test"
"""A name that no resolver of the system knows: whoever reaches it was told the address."""

LIMITS = Limits(connect_s=2.0, read_s=2.0, total_s=20.0)


def loopback(address: Address, port: int) -> bool:  # noqa: ARG001
    return address.is_loopback


def only(*ports: int) -> Callable[[Address, int], bool]:
    return lambda address, port: address.is_loopback and port in ports


def here(name: str, port: int) -> list[str]:  # noqa: ARG001
    return ["127.0.0.1"]


def inline(url: str, rule: Callable[[Address, int], bool] = loopback, **options: Any) -> bytes:
    """Return the bytes that the one image became."""
    part = {"type": "input_image", "image_url": url}
    item = {"type": "message", "role": "user", "content": [part]}
    usual: dict[str, Any] = {"resolver": here, "limits": LIMITS}
    fetcher = ImageFetcher(rule, **(usual | options))
    (inlined,) = fetcher.inline([item], "key", {url: "messages[0]"}, "elsewhere")
    (part,) = inlined["content"]
    kind, _, data = part["image_url"].partition(",")
    assert kind == "data:image/png;base64"
    return base64.b64decode(data, validate=True)


def refusal(url: str, rule: Callable[[Address, int], bool] = loopback, **options: Any) -> str:
    with pytest.raises(InvalidRequest) as raised:
        inline(url, rule, **options)
    assert raised.value.param == "messages[0]"
    return raised.value.message


def at(server: Site, path: str = "/x", *, host: str = NAME, scheme: str = "http") -> str:
    return f"{scheme}://{host}:{server.port}{path}"


UNREACHABLE = (
    "The image at 'messages[0]' could not be downloaded. Its address must be public, use port 80 or 443 and answer "
    "with the image; you can also send a data URL like data:image/png;base64,..."
)
"""What is said of every failure on the way, so that the answer is no map of our network."""

TOO_LATE = (
    "The image at 'messages[0]' could not be downloaded in time. Try again, or send a data URL like "
    "data:image/png;base64,..."
)


# Where a connection goes


def test_a_name_is_resolved_once_and_the_connection_is_pinned_to_the_answer() -> None:
    asked: list[tuple[str, int]] = []
    answers = itertools.chain([["127.0.0.1"]], itertools.repeat(["127.0.0.2"]))

    def rebinding(name: str, port: int) -> list[str]:
        asked.append((name, port))
        return next(answers)

    with site({"/x": plain}) as server:
        assert inline(at(server), resolver=rebinding) == PNG
        ((path, headers),) = server.seen
        assert (path, headers["Host"]) == ("/x", f"{NAME}:{server.port}")
        assert asked == [(NAME, server.port)]


def test_each_redirect_is_resolved_and_judged_anew() -> None:
    answers = iter([["127.0.0.1"], ["10.0.0.1"]])
    with site({"/x": redirect("/y"), "/y": plain}) as server:
        assert refusal(at(server), resolver=lambda *_: next(answers)) == UNREACHABLE
        assert [path for path, _ in server.seen] == ["/x"]


@pytest.mark.parametrize(
    "target",
    [
        "http://127.0.0.1:{port}/y",
        "//[::1]:{port}/y",
        "http://[::ffff:127.0.0.1]:{port}/y",
        "http://localhost:{port}/y",
        "http://2130706433:{port}/y",
        "http://0x7f.1:{port}/y",
        "http://a@127.0.0.1:{port}/y",
    ],
)
def test_a_redirect_does_not_lead_to_what_is_not_allowed(target: str) -> None:
    with site({"/y": plain}) as inner:
        with site({"/x": redirect(target.format(port=inner.port))}) as outer:
            assert refusal(at(outer), only(outer.port)) == UNREACHABLE
            assert len(outer.seen) == 1
        assert inner.seen == []


def test_an_address_that_is_not_allowed_is_not_even_connected_to() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert refusal(f"http://127.0.0.1:{port}/", only()) == UNREACHABLE
        assert refusal(f"http://{NAME}:{port}/", only()) == UNREACHABLE
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.accept()


def test_no_answer_tells_hosts_apart_that_may_not_be_asked() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        silent = listener.getsockname()[1]
        limits = Limits(connect_s=0.1, read_s=0.1, total_s=1)
        assert refusal(f"http://127.0.0.1:{silent}/", limits=limits) == TOO_LATE
        assert refusal(f"http://127.0.0.1:{silent}/", only()) == UNREACHABLE, "never asked"
    assert refusal(f"http://127.0.0.1:{silent}/") == UNREACHABLE, "nobody listens any more"
    with site({"/x": lambda visit: visit.send(answer(status=b"404 Not Found"))}) as server:
        assert refusal(at(server)) == UNREACHABLE
        assert refusal(at(server, scheme="https")) == UNREACHABLE
    assert refusal("http://images.invalid/", resolver=lambda *_: []) == UNREACHABLE


def test_the_next_address_is_tried_when_one_refuses() -> None:
    with site({"/x": plain}) as server:
        assert inline(at(server), resolver=lambda *_: ["127.0.0.2", "127.0.0.1"]) == PNG


def test_an_address_without_a_name_is_fetched_too() -> None:
    with site({"/x": plain}) as server:
        assert inline(at(server, host="127.0.0.1")) == PNG
        assert server.seen[0][1]["Host"] == f"127.0.0.1:{server.port}"


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6 on this machine")
def test_an_ipv6_address_is_fetched_too() -> None:
    try:
        with site({"/x": plain}, address="::1") as server:
            assert inline(at(server, host="[::1]")) == PNG
            assert inline(at(server), resolver=lambda *_: ["::1"]) == PNG
            hosts = [headers["Host"] for _, headers in server.seen]
            assert hosts == [f"[::1]:{server.port}", f"{NAME}:{server.port}"]
    except OSError:
        pytest.skip("no IPv6 loopback on this machine")


def test_nothing_comes_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text(f"machine {NAME} login a password secret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with site({"/x": redirect("/y?z"), "/y?z": plain}) as server:
        assert inline(at(server)) == PNG
        for _, headers in server.seen:
            assert sorted(headers.keys()) == [
                "Accept",
                "Accept-Encoding",
                "Connection",
                "Host",
                "User-Agent",
            ]
            assert headers["Accept-Encoding"] == "identity"


def test_a_kept_image_makes_no_connection_wherever_its_name_leads_by_now() -> None:
    answers = iter([["127.0.0.1"]])
    with site({"/x": plain, "/y": plain}) as server:
        images = ImageFetcher(loopback, resolver=lambda *_: next(answers), limits=LIMITS)
        part = {"type": "input_image", "image_url": at(server)}
        item = {"type": "message", "role": "user", "content": [part]}
        first = images.inline([item], "key", {}, "messages")
        assert images.inline([item], "key", {}, "messages") == first
        assert len(server.seen) == 1


# TLS


def test_tls_asks_for_the_name_and_checks_it() -> None:
    with site({"/x": plain}, tls=True) as server:
        assert inline(at(server, scheme="https"), tls=trusting()) == PNG
        assert inline(at(server, scheme="https", host=f"{NAME}."), tls=trusting()) == PNG
        assert server.names == [NAME, NAME]
        assert [headers["Host"] for _, headers in server.seen] == [f"{NAME}:{server.port}"] * 2


@pytest.mark.parametrize("host", ["other.test", "127.0.0.1", "sub.images.test"])
def test_a_certificate_for_another_name_is_refused(host: str) -> None:
    with site({"/x": plain}, tls=True) as server:
        assert refusal(at(server, scheme="https", host=host), tls=trusting()) == UNREACHABLE
        assert server.seen == []


def test_a_certificate_that_nobody_vouches_for_is_refused() -> None:
    with site({"/x": plain}, tls=True) as server:
        assert refusal(at(server, scheme="https")) == UNREACHABLE
        assert server.seen == []


def test_a_redirect_does_not_leave_tls() -> None:
    with site({"/y": plain}) as clear:
        plays = {"/x": redirect(at(clear, "/y")), "/z": redirect("/w"), "/w": plain}
        with site(plays, tls=True) as server:
            assert refusal(at(server, scheme="https"), tls=trusting()) == UNREACHABLE
            assert inline(at(server, "/z", scheme="https"), tls=trusting()) == PNG
        assert clear.seen == []


# What is read


@pytest.mark.parametrize(
    "pieces",
    [
        [answer()],
        [HEAD + b"\r\n" + PNG],
        [HEAD + b"Content-Length: oops\r\n\r\n" + PNG],
        [HEAD + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % len(PNG), PNG, b"\r\n0\r\n\r\n"],
        [HEAD + b"Transfer-Encoding: chunked\r\n\r\n"]
        + [b"1\r\n%c\r\n" % byte for byte in PNG[:64]]
        + [b"%x\r\n%b\r\n0\r\n\r\n" % (len(PNG) - 64, PNG[64:])],
    ],
    ids=["length", "until the end", "odd length", "one chunk", "many chunks"],
)
def test_a_body_arrives_whole_however_it_is_framed(pieces: list[bytes]) -> None:
    with site({"/x": lambda visit: visit.send(*pieces)}) as server:
        assert inline(at(server)) == PNG


@pytest.mark.parametrize(
    "response",
    [
        b"",
        b"oops",
        b"\x89PNG\r\n\x1a\n",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n" + PNG,
        HEAD + b"Content-Length: 2000\r\n\r\n" + PNG,
        HEAD + b"Content-Length: 5, 6\r\n\r\n" + PNG,
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n" + PNG,
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nfff\r\n" + PNG,
        HEAD + b"Content-Encoding: gzip\r\n\r\n" + PNG,
        HEAD + b"X: y\r\n" * 200 + b"\r\n" + PNG,
        HEAD + b"X: " + b"y" * 70_000 + b"\r\n\r\n" + PNG,
        b"HTTP/1.1 302 Found\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: \r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: /x\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: http://[/\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: http://\xff/\r\n\r\n",
    ],
)
def test_an_answer_that_is_no_proper_answer_is_a_failure_like_any(response: bytes) -> None:
    with site({"/x": lambda visit: visit.send(response)}) as server:
        assert refusal(at(server)) == UNREACHABLE


def without_end(visit: Visit) -> None:
    """Send until the other side hangs up."""
    visit.send(HEAD + b"\r\n")
    while True:
        visit.send(PNG)


def test_a_body_without_an_end_is_cut_at_the_limit() -> None:
    limits = Limits(image_bytes=200_000)
    with site({"/x": without_end}) as server:
        assert "too large: at most 200000 bytes" in refusal(at(server), limits=limits)
        assert server.dropped.wait(10)


def test_a_body_that_says_it_is_too_large_is_not_read() -> None:
    def play(visit: Visit) -> None:
        visit.send(HEAD + b"Content-Length: 20971521\r\n\r\n")
        assert visit.rfile.read(1) == b"", "hung up"
        visit.server.dropped.set()

    with site({"/x": play}) as server:
        assert "too large" in refusal(at(server))
        assert server.dropped.wait(10)


def test_a_body_that_drips_is_cut_at_the_deadline() -> None:
    def drip(visit: Visit) -> None:
        visit.send(HEAD + b"\r\n")
        while not visit.server.dropped.wait(0.02):
            visit.send(b"\x00")

    with site({"/x": drip}) as server:
        limits = Limits(read_s=5, total_s=0.4)
        assert refusal(at(server), limits=limits) == TOO_LATE
        assert server.dropped.wait(10)


def test_silence_is_cut_between_two_reads() -> None:
    def stall(visit: Visit) -> None:
        visit.send(HEAD + b"Content-Length: 9\r\n\r\n\x89")
        assert visit.rfile.read(1) == b"", "hung up"
        visit.server.dropped.set()

    with site({"/x": stall}) as server:
        assert refusal(at(server), limits=Limits(read_s=0.2)) == TOO_LATE
        assert server.dropped.wait(10)


# As in the worker, where gevent has patched the standard library


@pytest.fixture(scope="module")
def patched() -> dict[str, Any]:
    """What the program beside this file reports; it patches its own process, never this one."""
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("patched.py"))],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    report: dict[str, Any] = json.loads(done.stdout)
    return report


@pytest.mark.parametrize("case", ["drips_headers", "slow_resolver", "never_accepts_tls"])
def test_the_deadline_holds_at_every_step(patched: dict[str, Any], case: str) -> None:
    assert patched[case] == ["image_not_fetched deadline", TOO_LATE]


def test_other_greenlets_run_meanwhile(patched: dict[str, Any]) -> None:
    assert patched["beats"] > 10


def test_tls_works_in_the_patched_worker(patched: dict[str, Any]) -> None:
    assert patched["tls"] == ["data:image/png;base64"]
    assert patched["tls_untrusted"] == ["image_not_fetched connection_failed", UNREACHABLE]


def test_images_are_fetched_four_at_a_time(patched: dict[str, Any]) -> None:
    assert patched["fetched"] == 10
    assert patched["peak"] == 4


def test_a_caller_that_goes_takes_its_downloads_along(patched: dict[str, Any]) -> None:
    assert patched["open_after_kill"] == 0
