"""WebSocket to the upstream: whether threads of the child use one. Pure: the clock is an argument, in seconds.

Over a WebSocket a round of a conversation takes one way to the upstream and back, and brings only what is new; over
HTTP codex opens a connection for each response, and sends everything. But a thread that begins waits for two more ways.

OpenAI speaks it, others may. Where nobody has said so, a handshake of the gateway's own finds out. codex goes back to
HTTP by itself where a WebSocket fails, for the thread and the turn at hand; that is remembered here for the others.
"""

from __future__ import annotations

from app.codex.config import Upstream, UpstreamKind

FIRST_PAUSE_S = 600.0
LONGEST_PAUSE_S = 6 * 3600.0

_WORKED_S = 3600.0
"""After so long without a failure the next one is the first again."""


class WebSocketUse:
    """Whether, and for which threads, one is used now. The same for all children of a worker."""

    def __init__(self, upstream: Upstream) -> None:
        self._is_certain = upstream.websockets is True
        self._can = upstream.websockets is not False
        self._is_found_out = upstream.kind is not UpstreamKind.OPENAI
        self._is_spoken = self._can and (self._is_certain or not self._is_found_out)
        self._pause_s = 0.0
        self._not_before = 0.0

    def is_used(self, now: float) -> bool:
        """Return True if the upstream speaks it, as far as is known."""
        return self._is_spoken and now >= self._not_before

    def is_for(self, now: float, *, has_tools: bool = False, is_ahead: bool = False) -> bool:
        """Return True if a thread should use one.

        Nobody waits for one that is started ahead of requests, and one that is offered tools will have many rounds.
        """
        return self.is_used(now) and (self._is_certain or has_tools or is_ahead)

    def is_probe_due(self, now: float) -> bool:
        """Return True if a handshake should find out."""
        return (
            self._can
            and self._is_found_out
            and not (self._is_certain or self._is_spoken)
            and now >= self._not_before
        )

    def note_probe(self, now: float, *, is_spoken: bool) -> None:
        """Note what the handshake found."""
        self._is_spoken = is_spoken
        if not is_spoken:
            self._pause(now)

    def note_fallback(self, now: float) -> bool:
        """Note that codex went back to HTTP; True if others go without one from now on, which is news."""
        if self._is_certain or not self.is_used(now):
            return False
        if now - self._not_before > _WORKED_S:
            self._pause_s = 0.0
        self._pause(now)
        self._is_spoken = not self._is_found_out
        return True

    def _pause(self, now: float) -> None:
        self._pause_s = min(max(2 * self._pause_s, FIRST_PAUSE_S), LONGEST_PAUSE_S)
        self._not_before = now + self._pause_s

    def __repr__(self) -> str:
        return f"<WebSocketUse spoken={self._is_spoken} not_before={self._not_before:.0f}>"


NO_WEBSOCKETS = WebSocketUse(Upstream(UpstreamKind.DEMO))
"""Where every thread uses HTTP."""
