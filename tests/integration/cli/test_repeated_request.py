"""Client of `codex parity`'s load: what it sends, what counts as an answer, when its connection is a new one."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from app.cli.gateway_client import GatewayClient
from app.cli.repeated_request import RepeatedRequest
from tests.e2e.tls_front import CA, TlsFront
from tests.integration.cli.conftest import KEY

PATH = "/v1/chat/completions"
BODY = {"model": "m", "messages": [{"role": "user", "content": "Say hello. \u00e9"}]}
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
WHOLE = HEAD + b"Content-Length: 2\r\n\r\n{}"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1\r\n}\r\n0\r\n\r\n"
LAST = HEAD + b"Connection: close\r\nContent-Length: 2\r\n\r\n{}"
BUSY = b"HTTP/1.1 503 Busy\r\nContent-Length: 2\r\n\r\n{}"
ELSEWHERE = b"HTTP/1.1 302 Found\r\nLocation: /there\r\nContent-Length: 0\r\n\r\n"
CUT = HEAD + b"Content-Length: 9\r\n\r\n{"
CUT_CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n9\r\n{"
NONSENSE = b"Good morning\r\n\r\n"
HASH_OF_CA = "3387b84d.0"
"""What `openssl x509 -hash` says of it: the name of its file in a folder."""


class Server:
    """Answers the requests of its connections with given bytes; a connection whose answers are used up is closed."""

    def __init__(self) -> None:
        self.answers: list[list[bytes]] = []
        self.received: list[list[bytes]] = []
        self.closed = threading.Semaphore(0)
        """Released once for each connection that was closed here."""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()

    def _serve(self) -> None:
        while True:
            try:
                peer, _ = self._listener.accept()
            except OSError:
                return
            requests: list[bytes] = []
            self.received.append(requests)
            with peer, suppress(OSError):
                for answer in self.answers.pop(0) if self.answers else []:
                    requests.append(_request(peer))
                    peer.sendall(answer)
            self.closed.release()


def _request(peer: socket.socket) -> bytes:
    """Read one request with a body whose length it says. Raises `OSError` if the client leaves before."""
    data = b""
    while not (
        found := re.search(rb"content-length: (\d+)\r\n(?s:.*)\r\n\r\n", data, re.IGNORECASE)
    ):
        data += _received(peer)
    while len(data) < found.end() + int(found[1]):
        data += _received(peer)
    return data


def _received(peer: socket.socket) -> bytes:
    if not (data := peer.recv(65536)):
        raise ConnectionResetError
    return data


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.close()


def answered(url: str, times: int, *, timeout_s: float = 30.0) -> list[bool]:
    """Ask so many times in a row, as one client."""
    question = RepeatedRequest(GatewayClient(url, KEY, timeout_s), PATH, BODY)
    with question.client() as ask:
        return [ask() for _ in range(times)]


def test_every_request_is_what_the_client_of_the_other_commands_sends(server: Server) -> None:
    server.answers = [[WHOLE], [WHOLE, WHOLE]]
    assert GatewayClient(server.url, KEY, 30.0).send(PATH, BODY).status == 200
    assert answered(server.url, 2) == [True, True]
    (usual,), repeated = server.received
    assert [sorted(each.splitlines()) for each in repeated] == [sorted(usual.splitlines())] * 2
    assert f"Authorization: Bearer {KEY}".encode() in usual


@pytest.mark.parametrize("answer", [WHOLE, CHUNKED])
def test_a_client_keeps_its_connection(server: Server, answer: bytes) -> None:
    server.answers = [[answer, answer, answer]]
    assert answered(server.url, 3) == [True, True, True]
    assert [len(requests) for requests in server.received] == [3]


@pytest.mark.parametrize("answer", [BUSY, ELSEWHERE])
def test_another_status_is_no_answer_and_the_connection_is_kept(
    server: Server, answer: bytes
) -> None:
    server.answers = [[answer, WHOLE]]
    assert answered(server.url, 2) == [False, True]


@pytest.mark.parametrize("answer", [b"", CUT, CUT_CHUNKED, NONSENSE])
def test_behind_a_broken_answer_the_connection_is_a_new_one(server: Server, answer: bytes) -> None:
    server.answers = [[answer], [WHOLE]]
    assert answered(server.url, 2) == [False, True]


def test_a_connection_that_the_server_closed_in_between_costs_no_answer(server: Server) -> None:
    """Told so beforehand, or found out."""
    server.answers = [[LAST], [WHOLE], [WHOLE]]
    question = RepeatedRequest(GatewayClient(server.url, KEY, 30.0), PATH, BODY)
    with question.client() as ask:
        assert ask()
        server.closed.acquire()
        assert ask()
        server.closed.acquire()
        assert ask()


@pytest.mark.parametrize("sent", [b"", HEAD, CUT, CUT_CHUNKED])
def test_silence_has_an_end(sent: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        accepted: list[socket.socket] = []

        def serve() -> None:
            peer, _ = listener.accept()
            accepted.append(peer)
            peer.sendall(sent)

        thread = threading.Thread(target=serve)
        thread.start()
        port = listener.getsockname()[1]
        assert answered(f"http://127.0.0.1:{port}", 1, timeout_s=0.2) == [False]
        thread.join()
        accepted[0].close()


def test_an_answer_that_trickles_has_an_end_too() -> None:
    """Each piece comes in time; all of them together do not."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        has_left = threading.Event()

        def drip() -> None:
            peer, _ = listener.accept()
            with peer, suppress(OSError):
                peer.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
                while not has_left.wait(0.05):
                    peer.sendall(b"1\r\n{\r\n")

        thread = threading.Thread(target=drip)
        thread.start()
        port = listener.getsockname()[1]
        assert answered(f"http://127.0.0.1:{port}", 1, timeout_s=0.3) == [False]
        has_left.set()
        thread.join()


@pytest.mark.parametrize("is_folder", [False, True])
def test_certificates_are_checked_against_what_the_environment_names(
    server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *, is_folder: bool
) -> None:
    """A file, or a folder with files named by their hashes; without either the usual authorities."""
    server.answers = [[WHOLE, WHOLE]]
    front = TlsFront(server.port)
    url = f"https://localhost:{front.port}"
    assert answered(url, 1) == [False]
    (tmp_path / HASH_OF_CA).write_bytes(CA.read_bytes())
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path if is_folder else CA))
    assert answered(url, 2) == [True, True]
    front.close()
    assert len(server.received) == 1


def test_a_proxy_of_the_environment_is_used_unless_the_client_goes_straight(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = Server()
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    proxy.answers, server.answers = [[WHOLE, BUSY]], [[WHOLE]]
    assert answered("http://gateway.example", 2) == [True, False]
    (through, _), *_ = proxy.received
    assert through.startswith(b"POST http://gateway.example/v1/chat/completions HTTP/1.1\r\n")
    straight = GatewayClient(server.url, KEY, 30.0, direct=True)
    with RepeatedRequest(straight, PATH, BODY).client() as ask:
        assert ask()
    proxy.close()


def test_a_host_without_a_proxy_is_asked_itself(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server.answers = [[WHOLE]]
    assert answered(server.url, 1) == [True]
