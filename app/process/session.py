"""Session of one child: the process and the code that talks to it, from the handshake to the end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from app.process.child import Child, StopLadder


class SessionHandler(Protocol):
    """Peer of one child, which the handshake returned."""

    def retire(self) -> None:
        """Another child has taken over: block until nothing runs on this one any more, or it is gone."""

    def detach(self) -> None:
        """The child is gone: fail every call that still waits. Must not block for long, must not raise."""


@dataclass(frozen=True, slots=True)
class ChildSession:
    """One child and its handler."""

    child: Child
    handler: SessionHandler

    def end(self, ladder: StopLadder) -> int | None:
        """End the child if it still runs, detach its handler, release everything. Blocks; returns the exit code."""
        return self.child.end(ladder, self.handler.detach)
