"""A child in conversation: what the supervisor holds of one child, from its handshake to its end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from app.process.child import Child, StopLadder


class SessionHandler(Protocol):
    """What the handshake returns: the conversation with one child."""

    def retire(self) -> None:
        """Another child has taken over: block until nothing runs on this one any more, or it is gone."""

    def detach(self) -> None:
        """The child is gone: fail whoever still waits. Must not block for long, must not raise."""


@dataclass(frozen=True, slots=True)
class ChildSession:
    """One child and the conversation with it."""

    child: Child
    attachment: SessionHandler

    def end(self, ladder: StopLadder) -> int | None:
        """End the child by the ladder if it still runs, and give everything back. Blocks; returns the exit code."""
        code = self.child.exit_code
        if code is None:
            code = self.child.stop(ladder)
        else:
            self.child.reap()
        self.attachment.detach()
        self.child.close()
        return code


@dataclass(frozen=True, slots=True)
class LastExit:
    """How the previous child ended: a word, and for a start that failed the system's own sentence, for operators."""

    exit_code: int | None
    reason: str
    detail: str = ""
