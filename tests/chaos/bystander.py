"""Bystander of an attack: another key's stream, small requests and health probes, in a process of its own.

`python -m tests.chaos.bystander PORT KEY STREAM_MARKER TEXT_MARKER` prints a line once its stream flows, works until
its standard input closes, and prints what it met as one JSON object: times in milliseconds.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from dataclasses import asdict, dataclass, field
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import Any

MODEL = "gpt-5.5"
APART_S = 0.1
PATIENCE_S = 60


@dataclass(slots=True)
class Met:
    """What a bystander met: the longest gap in its stream, the slowest probe, and how many requests failed."""

    gap_ms: float = 0
    frames: int = 0
    livez_ms: float = 0
    probes: int = 0
    answer_ms: float = 0
    answers: int = 0
    failures: list[str] = field(default_factory=list)


class Bystander:
    """Three threads that share nothing but the port and the end."""

    def __init__(self, port: int, key: str) -> None:
        self.met = Met()
        self.is_over = threading.Event()
        self.flows = threading.Event()
        self._port = port
        self._headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}

    def stream(self, marker: str) -> None:
        """Read one stream; a gap is the time between two frames, and from the last one to the end."""
        with_stream = {"stream": True}
        try:
            response = self._post(marker, with_stream)
            last = time.monotonic()
            while not self.is_over.is_set():
                line = response.readline()
                now = time.monotonic()
                self.met.gap_ms = max(self.met.gap_ms, 1000 * (now - last))
                last = now
                if not line or b'"error"' in line or b"[DONE]" in line:
                    self._fail("stream", line[:200].decode())
                    break
                self.met.frames += line.startswith(b"data: ")
                if self.met.frames > 1:
                    self.flows.set()
        except (OSError, HTTPException) as error:
            self._fail("stream", repr(error))
        self.flows.set()

    def probe(self) -> None:
        """Ask for `/livez`, without a key, each time over a new connection."""
        while not self.is_over.wait(APART_S):
            began = time.monotonic()
            try:
                connection = HTTPConnection("127.0.0.1", self._port, timeout=PATIENCE_S)
                connection.request("GET", "/livez")
                status = connection.getresponse().status
                connection.close()
            except (OSError, HTTPException) as error:
                self._fail("livez", repr(error))
                continue
            self.met.livez_ms = max(self.met.livez_ms, 1000 * (time.monotonic() - began))
            self.met.probes += 1
            if status != 200:
                self._fail("livez", str(status))

    def ask(self, marker: str) -> None:
        """Make small requests, one after the other."""
        while not self.is_over.wait(APART_S):
            began = time.monotonic()
            try:
                response = self._post(marker, {})
                body = response.read()
            except (OSError, HTTPException) as error:
                self._fail("answer", repr(error))
                continue
            self.met.answer_ms = max(self.met.answer_ms, 1000 * (time.monotonic() - began))
            self.met.answers += 1
            if response.status != 200:
                self._fail("answer", f"{response.status} {body[:300].decode()}")

    def _post(self, marker: str, more: dict[str, Any]) -> HTTPResponse:
        connection = HTTPConnection("127.0.0.1", self._port, timeout=PATIENCE_S)
        body = {"model": MODEL, "messages": [{"role": "user", "content": f"[{marker}]"}], **more}
        connection.request("POST", "/v1/chat/completions", json.dumps(body), self._headers)
        return connection.getresponse()

    def _fail(self, what: str, how: str) -> None:
        if not self.is_over.is_set():
            self.met.failures.append(f"{what}: {how}")


def main() -> None:
    """Run until standard input closes."""
    port, key, stream_marker, text_marker = sys.argv[1:]
    bystander = Bystander(int(port), key)
    stream = threading.Thread(target=bystander.stream, args=(stream_marker,), daemon=True)
    others = [
        threading.Thread(target=bystander.probe, daemon=True),
        threading.Thread(target=bystander.ask, args=(text_marker,), daemon=True),
    ]
    stream.start()
    bystander.flows.wait(PATIENCE_S)
    for other in others:
        other.start()
    _say("flows")
    sys.stdin.read()
    bystander.is_over.set()
    for thread in (stream, *others):
        thread.join(PATIENCE_S)
    _say(json.dumps(asdict(bystander.met)))


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
