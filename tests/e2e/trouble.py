"""Trouble that operators are told of: methods that provoke one kind each, at a running gateway."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any

import requests

from tests.e2e.harness import DEADLINE_S, Gateway, Upstream, ask, wait_until


class Trouble:
    """What operators are told of: each method provokes one kind, several times over."""

    def __init__(self, gateway: Gateway, upstream: Upstream) -> None:
        self._gateway = gateway
        self._upstream = upstream

    def upstream_is_silent(self) -> None:
        marker = self._upstream.play({"failure": "hang_before_headers"})
        answers = self._at_once(8, ask(marker))
        assert {answer.status_code for answer in answers} == {504}

    def every_turn_is_taken(self) -> None:
        with self._held(16):
            answers = self._at_once(8, ask("nobody gets to see this"))
        assert {answer.json()["error"]["code"] for answer in answers} == {"WORKER_BUSY"}
        idle = lambda: self._gateway.get("/healthz").json()["child"]["running"] == 0  # noqa: E731
        wait_until(idle, "every turn was given back")

    def child_dies_under_streams(self) -> None:
        with self._held(8) as streams:
            self._gateway.child().kill()
            ends = ["".join(stream) for stream in streams]
        assert all("WORKER_UNAVAILABLE" in end for end in ends)
        # Not /readyz: after a refused login that waits for an answer, too.
        marker = self._upstream.say("back")
        served = lambda: self._gateway.post(ask(marker)).status_code == 200  # noqa: E731
        wait_until(served, "the next child serves")

    def account_is_nearly_spent(self) -> None:
        said = {
            "x-codex-primary-used-percent": "95",
            "x-codex-primary-window-minutes": "300",
            "x-codex-primary-reset-at": str(int(time.time()) + 3600),
        }
        marker = self._upstream.say("the last but one", headers=said)
        assert self._gateway.post(ask(marker)).status_code == 200
        heard = lambda: self._gateway.get("/healthz").json()["account_limits"]  # noqa: E731
        wait_until(heard, "the gateway has heard of it")

    @contextmanager
    def heads_are_begun(self) -> Iterator[None]:
        """Connections with the beginning of a request; at the end all of them have been cut."""
        address = ("127.0.0.1", self._gateway.port)
        with ExitStack() as stack:
            opened = [
                stack.enter_context(socket.create_connection(address, DEADLINE_S))
                for _ in range(150)
            ]
            for connection in opened:
                connection.sendall(b"GET /livez HTTP/1.1\r\nHost: slow")
            yield
            for connection in opened:
                while connection.recv(4096):
                    pass

    def wrong_keys(self) -> None:
        for _ in range(40):
            assert self._gateway.get("/v1/models", key=False).status_code == 401

    @contextmanager
    def _held(self, count: int) -> Iterator[list[Iterator[str]]]:
        """Open streams that have shown something and do not end; yield what comes after that."""
        script = {"hold": True, "items": [{"type": "message", "deltas": ["a", "b"]}]}
        body = ask(self._upstream.play(script), stream=True)
        with ThreadPoolExecutor(count) as pool:
            opened = list(pool.map(lambda _: self._gateway.post(body, stream=True), range(count)))
        streams = [answer.iter_lines(decode_unicode=True) for answer in opened]
        for stream in streams:
            assert next(line for line in stream if '"content":"a"' in line)
        yield streams
        for answer in opened:
            answer.close()

    def _at_once(self, count: int, body: Any) -> list[requests.Response]:
        with ThreadPoolExecutor(count) as pool:
            return list(pool.map(self._gateway.post, [body] * count))

    def all_of_it(self) -> None:
        self.upstream_is_silent()
        self.every_turn_is_taken()
        self.child_dies_under_streams()
        self.account_is_nearly_spent()
        self.wrong_keys()
