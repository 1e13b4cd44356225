"""One request of the recording, and what the upstream answers to it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.e2e.harness import KEY, MODEL
from tests.e2e.raw_http import request_bytes

CHAT = "/v1/chat/completions"
COMPLETIONS = "/v1/completions"

MARK = ("@first@", "@second@")
"""Places for the markers of the scripts in a body: markers are made of the case's name, which bodies do not know."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """A request under a name that no other has.

    `plays` has a script of the upstream for each place in `MARK`. A script that holds goes on once `lets_go_at` has
    come. `by_hand` are the bytes to send in place of all the rest. `loose` names headers whose value depends on time.
    """

    name: str
    method: str = "POST"
    path: str = CHAT
    body: Any = None
    key: str = KEY
    headers: Mapping[str, str] = field(default_factory=dict)
    plays: tuple[Any, ...] = ()
    lets_go_at: str = ""
    by_hand: bytes = b""
    loose: frozenset[str] = frozenset()

    @property
    def markers(self) -> list[str]:
        """Markers that say to the upstream which script is meant."""
        slug = re.sub(r"[^a-z0-9]+", "-", self.name.lower())
        return [f"recording.{slug}.{number}" for number in range(len(self.plays))]

    def to_bytes(self) -> bytes:
        """Return the whole request."""
        if self.by_hand:
            return self.by_hand
        headers = {"Authorization": self.key and f"Bearer {self.key}", **self.headers}
        return request_bytes(self.method, self.path, self._body(), **headers)

    def _body(self) -> bytes:
        if self.body is None or isinstance(self.body, bytes):
            return self.body or b""
        text = json.dumps(self.body, ensure_ascii=False)
        for place, marker in zip(MARK, self.markers, strict=False):
            text = text.replace(place, marker)
        return text.encode()


def say(*deltas: str, **more: Any) -> dict[str, Any]:
    """Return a script that says this, a delta each."""
    return {"items": [{"type": "message", "deltas": list(deltas)}], **more}


def call(name: str, arguments: str, call_id: str) -> dict[str, Any]:
    """Return an item of a script: the model calls a function."""
    return {"type": "function_call", "name": name, "arguments": arguments, "call_id": call_id}


def chat(name: str, *plays: Any, key: str = KEY, lets_go_at: str = "", **fields: Any) -> Case:
    """Return the smallest chat request with these fields."""
    said = [{"role": "user", "content": f"[{MARK[0]}]"}] if plays else []
    body = {"model": MODEL, "messages": said, **fields}
    return Case(name=name, body=body, key=key, plays=plays, lets_go_at=lets_go_at)


def legacy(name: str, *plays: Any, **fields: Any) -> Case:
    """Return the smallest request to the legacy endpoint with these fields."""
    body = {"model": MODEL, "prompt": f"[{MARK[0]}]", **fields}
    return Case(name=name, path=COMPLETIONS, body=body, plays=plays)


def get(name: str, path: str, **more: Any) -> Case:
    """Return a GET."""
    return Case(**{"name": name, "method": "GET", "path": path, **more})
