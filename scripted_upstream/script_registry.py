"""Registry of scripts: a request gets the script whose marker stands last in its body."""

import re
from dataclasses import dataclass

from scripted_upstream.fields import ScriptError
from scripted_upstream.script import Response, Script

_MARKER = re.compile(r"[A-Za-z0-9._:-]{1,128}")


@dataclass(slots=True)
class _Entry:
    script: Script
    calls: int = 0


class ScriptRegistry:
    """The scripts by marker, and how often each was asked."""

    def __init__(self) -> None:
        self._entries: dict[str, _Entry] = {}

    def __repr__(self) -> str:
        return f"<ScriptRegistry {len(self._entries)} scripts>"

    def put(self, marker: str, script: Script) -> None:
        """Let this script answer the requests that contain the marker, from its first response on.

        Raises `ScriptError` for a marker that JSON might write in another way than the test does.
        """
        if not _MARKER.fullmatch(marker):
            raise ScriptError("marker: expected 1 to 128 of A-Z a-z 0-9 . _ : -")
        self._entries[marker] = _Entry(script)

    def drop(self, marker: str) -> bool:
        """Forget a script; return whether there was one."""
        return self._entries.pop(marker, None) is not None

    def clear(self) -> None:
        """Forget every script."""
        self._entries.clear()

    def take(self, body: bytes) -> Response | None:
        """Return the next response for this request body, or None when no marker is in it.

        A conversation may hold the markers of earlier turns: the last one wins, and of two that
        begin at the same place the longer one.
        """
        found = [(body.rfind(marker.encode()), len(marker), marker) for marker in self._entries]
        place, _, marker = max(found, default=(-1, 0, ""))
        if place < 0:
            return None
        entry = self._entries[marker]
        entry.calls += 1
        return entry.script.response(entry.calls - 1)
