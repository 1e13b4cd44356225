"""The gateway's own way to an upstream: proxies as codex reads them, causes in a word, bounds."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest
import responses

from app.codex.upstream_http import Unreachable, UpstreamHttp, odd_proxies, proxy_for
from tests.e2e.tls_front import CA, TlsFront

PROXY = "http://proxy:1"
V4, V6, NAMED = "http://127.0.0.1:8/v1", "http://[::1]:8/v1", "http://up.example.com/v1"


@pytest.mark.parametrize(
    ("url", "no_proxy", "is_direct"),
    [
        (V4, "", False),
        (V4, "127.0.0.0/8", True),
        (V4, "10.0.0.0/8, 127.0.0.0/8", True),
        (V4, "10.0.0.0/8,fd00::/8", False),
        (V4, "127.0.0.1", True),
        (V4, "*", True),
        (V4, "127.0.0.0/33,nonsense/,/8", False),
        (V6, "::1/128", True),
        (V6, "::1", True),
        (V6, "10.0.0.0/8", False),
        (NAMED, "example.com", True),
        (NAMED, ".example.com", True),
        (NAMED, "ample.com", False),
        (NAMED, "127.0.0.0/8", False),
        (NAMED, ",, .", False),
    ],
)
def test_what_needs_no_proxy(url: str, no_proxy: str, *, is_direct: bool) -> None:
    found = proxy_for(url, {"http": PROXY, "no": no_proxy})
    assert found == (None if is_direct else PROXY)


@pytest.mark.parametrize(
    ("proxies", "expected"),
    [
        ({}, None),
        ({"https": PROXY}, None),
        ({"http": "proxy:1"}, PROXY),
        ({"all": PROXY}, PROXY),
        ({"all": "socks5://proxy:1", "http": PROXY}, PROXY),
        ({"http": "::::no url"}, None),
        ({"http": "http://a:b:c"}, None),
        ({"http": "http://[::1"}, None),
        ({"http": "ftp://x"}, None),
        ({"http": "http://"}, None),
        ({"http": "http://127.0.0.1:99999"}, None),
    ],
)
def test_the_proxy(proxies: dict[str, str], expected: str | None) -> None:
    assert proxy_for(NAMED, proxies) == expected
    is_odd = expected is None and "http" in proxies
    assert odd_proxies(proxies) == (["HTTP_PROXY"] if is_odd else [])


def cause_of(url: str, way: UpstreamHttp | None = None, timeout_s: float = 5.0) -> tuple[str, str]:
    with pytest.raises(Unreachable) as caught:
        (way or UpstreamHttp()).touch(url, timeout_s)
    return caught.value.cause, str(caught.value)


@pytest.fixture
def silent() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield f"http://127.0.0.1:{sock.getsockname()[1]}"


def test_causes(silent: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        closed = f"http://127.0.0.1:{sock.getsockname()[1]}"
    assert cause_of(closed) == (
        "refused",
        "Its address refused the connection (Connection refused).",
    )
    assert cause_of("http://no-such-host.invalid")[0] == "dns"
    assert cause_of(silent, timeout_s=0.05)[0] == "timeout"
    monkeypatch.setenv("http_proxy", closed.replace("http://", "http://me:hunter2@"))
    assert cause_of("http://up.invalid") == (
        "proxy",
        "The proxy in between did not let the request through (Connection refused).",
    )
    monkeypatch.setenv("http_proxy", "socks5://127.0.0.1:9")
    assert cause_of("http://up.invalid")[0] == "untried"


def test_certificates(silent: str) -> None:
    front = TlsFront(int(silent.rpartition(":")[2]))
    try:
        cause, sentence = cause_of(f"https://localhost:{front.port}")
        assert (cause, "certificate" in sentence) == ("tls", True)
        # Trusted, it is the server behind it that says nothing.
        trusting = UpstreamHttp(CA)
        assert cause_of(f"https://localhost:{front.port}", trusting, 0.2)[0] == "timeout"
    finally:
        front.close()


@responses.activate
def test_reading_is_bounded_and_takes_no_other_answer() -> None:
    responses.add(responses.GET, "http://up/long", body=b"x" * 100)
    responses.add(responses.GET, "http://up/no", status=401, body=b"sk-0123456789")
    responses.add(responses.GET, "http://up/elsewhere", status=302, headers={"Location": "/long"})
    way = UpstreamHttp()
    assert way.read("http://up/long", "k", timeout_s=5, most_bytes=100) == b"x" * 100
    assert responses.calls[0].request.headers["Authorization"] == "Bearer k"
    for path, cause in (("long", "other"), ("no", "status"), ("elsewhere", "status")):
        with pytest.raises(Unreachable) as caught:
            way.read(f"http://up/{path}", "", timeout_s=5, most_bytes=99)
        assert caught.value.cause == cause
        assert "sk-" not in str(caught.value)


def test_a_websocket_that_is_accepted_or_not(silent: str) -> None:
    way = UpstreamHttp()
    asked: list[bytes] = []
    for status in (b"101 Switching Protocols", b"426 Upgrade Required", b"404 Not Found"):
        answer = b"HTTP/1.1 " + status + b"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
        with answering(answer, asked) as url:
            assert way.upgrades(f"{url}/v1/responses", "k", 5) is status.startswith(b"101")
    assert asked[0].startswith(b"GET /v1/responses HTTP/1.1\r\n")
    for line in (b"Upgrade: websocket", b"Connection: Upgrade", b"Authorization: Bearer k"):
        assert line + b"\r\n" in asked[0]
    with pytest.raises(Unreachable):
        way.upgrades(silent, "", 0.05)


@contextmanager
def answering(answer: bytes, asked: list[bytes]) -> Iterator[str]:
    """A server that answers one request with these bytes."""

    def serve() -> None:
        peer, _ = listener.accept()
        with peer:
            asked.append(peer.recv(65536))
            peer.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        serving = threading.Thread(target=serve)
        serving.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        serving.join()


@pytest.mark.parametrize("head", [b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n", b"HTTP/1.1 "])
def test_a_command_does_not_wait_for_pieces_that_keep_coming(head: bytes) -> None:
    """In a process without gevent's sockets, as the command line is."""
    is_over = threading.Event()

    def drip() -> None:
        peer, _ = listener.accept()
        with peer, suppress(OSError):
            peer.sendall(head)
            while not is_over.wait(0.05):
                peer.sendall(b"2")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        dripping = threading.Thread(target=drip)
        dripping.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1/models"
        try:
            with pytest.raises(Unreachable) as caught:
                UpstreamHttp().read(url, "", timeout_s=0.3, most_bytes=1 << 20)
        finally:
            is_over.set()
            dripping.join()
    assert caught.value.cause == "timeout"
