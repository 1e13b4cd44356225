"""Target of an attack, and the requests that go there."""

from __future__ import annotations

import contextlib
import json
import socket
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from tests.chaos.parted_upstream import ATTACKERS_MODEL
from tests.e2e.harness import Upstream, ask

METRICS_KEY = "sk-scrape-3Kd8Pq5Ws1Vn6Jc9Ty2B"
CHAT = "/v1/chat/completions"
PATIENCE_S = 30
FLOOD_S = 5.0


@dataclass(frozen=True, slots=True)
class Target:
    """Where an attack goes, with the attacker's own key, and the upstream that answers as the attacker likes."""

    port: int
    key: str
    upstream: Upstream
    answers: Counter[str] = field(default_factory=Counter)
    """How often the attacker was answered with which status."""

    def head(
        self,
        start: str = f"POST {CHAT}",
        *more: str,
        key: str | None = None,
        length: int = 0,
        coding: str = "",
    ) -> bytes:
        """Return a head as it goes over the wire: method and path, more headers, the attacker's key or another."""
        lines = [
            f"{start} HTTP/1.1",
            "Host: test",
            "Content-Type: application/json",
            f"Authorization: Bearer {self.key if key is None else key}",
            *([f"Content-Length: {length}"] if length else []),
            *([f"Content-Encoding: {coding}"] if coding else []),
            *more,
        ]
        return ("\r\n".join(lines) + "\r\n\r\n").encode()

    def request(self, body: bytes, *, key: str | None = None, declared: int | None = None) -> bytes:
        """Return a chat request as it goes over the wire."""
        return self.head(key=key, length=len(body) if declared is None else declared) + body

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), PATIENCE_S)

    def send(self, data: bytes) -> bytes:
        """Send bytes and read one answer, or as much as comes; what breaks is the end."""
        with self.connect() as connection, contextlib.suppress(OSError):
            connection.sendall(data)
            answer = connection.recv(65536)
            self.note(answer)
            return answer
        return b""

    def note(self, answer: bytes) -> None:
        """Count the answer that begins so."""
        self.answers[answer[9:12].decode("latin-1") or "nothing"] += 1

    def send_all(self, bodies: list[bytes]) -> None:
        """Send chat requests at the same time."""
        self.send_requests(list(map(self.request, bodies)))

    def send_requests(self, requests: list[bytes]) -> None:
        """Send requests at the same time."""
        with ThreadPoolExecutor(len(requests)) as pool:
            list(pool.map(self.send, requests))


def chat(marker: str = "none", **more: Any) -> bytes:
    """Return the body of a chat request of the attacker's."""
    return json.dumps(ask(marker, model=ATTACKERS_MODEL, **more)).encode()
