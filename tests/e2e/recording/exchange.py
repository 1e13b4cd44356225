"""One request to a gateway, byte by byte, and what is recorded of its answer."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.client import HTTPResponse
from typing import Any

from tests.e2e.harness import DEADLINE_S, Gateway, Upstream
from tests.e2e.recording.case import Case
from tests.e2e.recording.volatile import Names, quoted

_LONG_WAIT_S = 60
"""Beyond that a `Retry-After` counts down to a moment; below it is one of the gateway's own numbers."""

_HEADERS = {
    "date": re.compile(r"[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT"),
    "openai-processing-ms": re.compile(r"\d+"),
    "x-ratelimit-reset-requests": re.compile(r"1h0m0s|59m[0-9.]+s"),
}
"""Headers whose value is volatile, and the form that it must have."""

_SIGN_OF_LIFE = re.compile(r'"(delta":\{\}|text":""),"logprobs":null,"finish_reason":null\}\]')
"""In a frame that says how long nothing has come, and so is no part of an answer."""

_ROLE = re.compile(r'(?<="role":"assistant")(,"content":(""|null))?')
"""What a role frame knows of the content, which is more if the upstream is fast."""

_ALL = "all"
"""In place of a choice, for the frames that belong to none."""

_OF_CODEX = ("client_metadata", "prompt_cache_key")
"""Members of a request to the upstream that codex makes up by itself, mostly ids."""


@dataclass(frozen=True)
class Answer:
    """An answer as it came, unchunked."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    @property
    def request_id(self) -> str:
        """The id under which the log has the request; empty without one."""
        return self.header("X-Request-Id")

    def header(self, name: str) -> str:
        """Return the value of a header, empty where there is none."""
        return next((value for found, value in self.headers if found.lower() == name.lower()), "")

    def json(self) -> Any:
        """Return the body, read."""
        return json.loads(self.body)


def play(case: Case, upstream: Upstream) -> None:
    """Give the scripts of a case to the upstream."""
    for marker, script in zip(case.markers, case.plays, strict=True):
        upstream.control.script(marker, script)


def send(
    case: Case, gateway: Gateway, upstream: Upstream, meanwhile: Callable[[], None] = lambda: None
) -> Answer:
    """Send a request and read its answer to the end.

    Where the upstream holds, it may go on at the right moment, after `meanwhile` was called.
    """
    with socket.create_connection(("127.0.0.1", gateway.port), DEADLINE_S) as connection:
        connection.sendall(case.to_bytes())
        response = HTTPResponse(connection, method=case.method)
        try:
            response.begin()
            body = b"".join(_pieces(response, case, upstream, meanwhile))
            return Answer(response.status, response.getheaders(), body)
        finally:
            response.close()


def _pieces(
    response: HTTPResponse, case: Case, upstream: Upstream, meanwhile: Callable[[], None]
) -> Iterator[bytes]:
    awaited, come = case.lets_go_at.encode(), b""
    while piece := response.read1(65536):
        yield piece
        come += piece
        if awaited and awaited in come:
            awaited = b""
            (marker,) = case.markers
            upstream.control.wait("held", marker)
            meanwhile()
            upstream.control.release(marker)


def describe(case: Case, answer: Answer, names: Names) -> dict[str, Any]:
    """Return what is recorded of an answer."""
    shown: dict[str, Any] = {
        "status": answer.status,
        "headers": _headers(case, answer, names),
    }
    text = answer.body.decode()
    if answer.header("Content-Type").startswith("text/event-stream"):
        shown["frames"] = _frames(text, names)
    elif case.path == "/metrics" and answer.status == 200:
        shown["body"] = "<metrics>"
    else:
        shown["body"] = names.hide(text)
    return shown


def asked(case: Case, upstream: Upstream, names: Names) -> list[str]:
    """Return what reached the upstream, through codex, as JSON, in the order of the scripts."""
    return [
        names.hide(_without_codex(request["body"]))
        for marker in case.markers
        for request in upstream.control.requests(marker)
    ]


def _without_codex(body: dict[str, Any]) -> str:
    kept = {name: value for name, value in body.items() if name not in _OF_CODEX}
    return json.dumps(kept, sort_keys=True, ensure_ascii=False)


def _headers(case: Case, answer: Answer, names: Names) -> dict[str, str]:
    shown: dict[str, str] = {}
    for name, value in answer.headers:
        hidden = _hide_header(case, name.lower(), value, len(answer.body))
        before = f"{shown[name]}\n" if name in shown else ""
        shown[name] = before + names.hide(hidden)
    return shown


def _hide_header(case: Case, name: str, value: str, body_size: int) -> str:
    form = _HEADERS.get(name)
    is_volatile = form is not None and form.fullmatch(value)
    is_countdown = name == "retry-after" and (name in case.loose or int(value) > _LONG_WAIT_S)
    if is_volatile or is_countdown:
        return f"<{name}>"
    if name == "allow":
        return ", ".join(sorted(value.split(", ")))  # a set, in the order of hashes
    if name == "content-length" and case.method != "HEAD" and int(value) == body_size:
        return "<length of the body>"
    return value


def _frames(text: str, names: Names) -> list[str] | dict[str, list[str]]:
    """Return the frames as they stand; those of several choices by choice, for how they mix is up to the upstream."""
    *blocks, rest = names.hide(_ROLE.sub("", text)).split("\n\n")
    frames = [block for block in blocks if not _SIGN_OF_LIFE.search(block)]
    if rest:
        frames.append(f"<cut off> {rest}")
    by_choice: dict[str, list[str]] = {}
    for frame in frames:
        by_choice.setdefault(_choice_of(frame), []).append(frame)
    return by_choice if len(by_choice.keys() - {_ALL}) > 1 else frames


def _choice_of(block: str) -> str:
    if not block.startswith("data: {"):
        return _ALL
    choices = json.loads(quoted(block.removeprefix("data: "))).get("choices")
    return f"choice {choices[0]['index']}" if choices else _ALL
