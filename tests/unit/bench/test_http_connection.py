"""Where an answer ends, for every way in which servers say that; the server is a socket with canned answers."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from bench.http_connection import HttpConnection
from bench.jobs import AnswerError

STREAM = b'data: {"content":"a"}\n\ndata: [DONE]\n\n'
OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n"
CHUNKS = b"%x\r\n%b\r\n0\r\n\r\n" % (len(STREAM), STREAM)

Server = Callable[..., HttpConnection]


@pytest.fixture
def serving() -> Iterator[Server]:
    """Answer the n-th request with the n-th answer; connections are closed only where that is asked for."""
    with ExitStack() as stack:

        def serve(*answers: bytes, closes: bool = False) -> HttpConnection:
            listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))

            def run() -> None:
                left = list(answers)
                while left:
                    sock, _ = listener.accept()
                    stack.callback(sock.close)
                    while left and sock.recv(65536):
                        sock.sendall(left.pop(0))
                        if closes:
                            sock.close()
                            break

            threading.Thread(target=run, daemon=True).start()
            connection = HttpConnection(listener.getsockname()[1])
            stack.callback(connection.close)
            return connection

        yield serve


def test_a_chunked_answer_leaves_the_connection_open(serving: Server) -> None:
    connection = serving(CHUNKED + b"\r\n" + CHUNKS, CHUNKED + b"\r\n" + CHUNKS)
    for _ in range(2):
        received = connection.ask(b"x", streamed=True)
        assert received.body() == STREAM
        assert received.asked <= received.first <= received.ended


def test_a_server_that_says_that_it_closes_is_asked_again_on_a_new_connection(
    serving: Server,
) -> None:
    answer = CHUNKED + b"Connection: close\r\n\r\n" + CHUNKS
    connection = serving(answer, answer, closes=True)
    for _ in range(2):
        assert connection.ask(b"x", streamed=True).body() == STREAM


def test_a_body_with_a_length_ends_there(serving: Server) -> None:
    connection = serving(OK + b"Content-Length: 2\r\n\r\n{}")
    received = connection.ask(b"x", streamed=False)
    assert received.body() == b"{}"
    assert received.first == received.ended > received.asked


def test_a_body_without_a_length_ends_with_the_connection(serving: Server) -> None:
    connection = serving(b"HTTP/1.0 200 OK\r\n\r\n" + STREAM, closes=True)
    assert connection.ask(b"x", streamed=True).body() == STREAM


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        (b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1 429"),
        (CHUNKED + b"\r\n2\r\nab\r\n0\r\n\r\n", "without text"),
        (CHUNKED + b"\r\n" + CHUNKS.replace(b"data: [DONE]", b"data: [GONE]"), "without text"),
        (b"", "closed"),
    ],
    ids=["refused", "no text", "no end", "nothing"],
)
def test_what_is_no_whole_answer_is_told(serving: Server, answer: bytes, complaint: str) -> None:
    connection = serving(answer, closes=True)
    with pytest.raises(AnswerError, match=complaint):
        connection.ask(b"x", streamed=True)
