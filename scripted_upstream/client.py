"""Client of the control endpoints, for tests and the benchmark. Standard library only.

Every call opens a connection of its own, so one Control may be shared by threads.
"""

import json
from http.client import HTTPConnection
from typing import Any
from urllib.parse import quote, urlsplit

_SLACK_S = 30


class ControlError(Exception):
    """The upstream refused a control request; the message is its answer."""


class Control:
    """Scripts the upstream at `url` (as it prints it: with or without the ending `/v1`)."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._host = parts.hostname or ""
        self._port = parts.port

    def __repr__(self) -> str:
        return f"<Control {self._host}:{self._port}>"

    def script(self, marker: str, script: list[dict[str, Any]] | dict[str, Any]) -> None:
        """Let requests that contain the marker be answered by this script. Raises `ControlError`."""
        self._ask("POST", "scripts", {"marker": marker, "script": script})

    def drop(self, marker: str) -> None:
        """Forget a script. Raises `ControlError` when there is none."""
        self._ask("DELETE", f"scripts/{quote(marker, safe='')}")

    def requests(self, marker: str | None = None) -> list[dict[str, Any]]:
        """Return the recorded requests that contain the marker, oldest first; all without one."""
        query = "" if marker is None else f"?marker={quote(marker, safe='')}"
        recorded: list[dict[str, Any]] = self._ask("GET", f"requests{query}")["requests"]
        return recorded

    def wait(
        self,
        condition: str,
        marker: str | None = None,
        *,
        count: int = 1,
        timeout_ms: int = 10_000,
    ) -> int:
        """Block until `count` requests with the marker fulfil the condition; return how many do.

        The condition is arrived, headers_sent, finished, peer_closed or held. Raises `TimeoutError`.
        """
        question: dict[str, Any] = {
            "condition": condition,
            "count": count,
            "timeout_ms": timeout_ms,
        }
        if marker is not None:
            question["marker"] = marker
        status, answer = self._send("POST", "wait", question, timeout_ms / 1000)
        have = answer.get("count", 0)
        if status == 408:  # noqa: PLR2004 - Request Timeout, the endpoint's own word for it
            raise TimeoutError(f"{have} of {count} requests {condition} after {timeout_ms} ms")
        _checked(status, answer)
        return int(have)

    def release(self, marker: str) -> int:
        """Let the held responses with this marker go on; return how many there were."""
        return int(self._ask("POST", "release", {"marker": marker})["released"])

    def hang_up(self) -> int:
        """End every WebSocket, as one that was idle for long; return how many there were."""
        return int(self._ask("POST", "hang-up")["ended"])

    def state(self) -> dict[str, Any]:
        """Return the counters: connections, requests, bytes of bodies and of answers, tokens, errors."""
        return self._ask("GET", "state")

    def reset(self) -> None:
        """Forget every script, record and error; release what is held."""
        self._ask("POST", "reset")

    def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        return _checked(*self._send(method, path, body, 0))

    def _send(
        self, method: str, path: str, body: dict[str, Any] | None, blocks_s: float
    ) -> tuple[int, dict[str, Any]]:
        connection = HTTPConnection(self._host, self._port, timeout=blocks_s + _SLACK_S)
        try:
            payload = None if body is None else json.dumps(body)
            connection.request(method, f"/control/{path}", payload, {"Connection": "close"})
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()


def _checked(status: int, answer: dict[str, Any]) -> dict[str, Any]:
    if status != 200:  # noqa: PLR2004 - OK
        raise ControlError(answer.get("error") or f"status {status}: {answer}")
    return answer
