"""Calls of a store: each within a time, counted, its failure logged; and none for a while where one was in vain."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

import gevent

from app.answer_store.stored_answer import MOST_CHAIN_ANSWERS, MOST_CHAIN_BYTES, Hooks
from app.errors import ContextLengthExceeded, RequestPart, StoreFailed
from app.log_limiter import LogRateLimiter
from app.outage import Outage

log = logging.getLogger("codex_api.answer_store")

T = TypeVar("T")

CALL_S = 10.0
"""Longest time of a call, with its wait for those of others."""


class Problem(Exception):
    """A call failed: `reason` in one word, `detail` for the log. `is_outage` where the next would only wait, too."""

    def __init__(self, reason: str, detail: str, *, is_outage: bool = False) -> None:
        super().__init__(reason)
        self.reason, self.detail, self.is_outage = reason, detail, is_outage


class TooLong(Exception):
    """A chain is longer than what is read of one."""


_READS = frozenset({"get", "find", "chain", "is_held", "usage"})
"""What can be done where nothing can be written: they have outages of their own."""


class Calls:
    """Makes the calls of one store. `lost` counts the outages that there were."""

    def __init__(self, hooks: Hooks) -> None:
        self.problem: str | None = None
        self.lost = 0
        self._hooks = hooks
        self._reading, self._writing = Outage(), Outage()
        self._limiter = LogRateLimiter()

    def make(self, call: str, work: Callable[[], T], *, is_last: bool = False) -> T:
        """Return what `work` does; it raises `Problem`. Raises `StoreFailed`. Blocks for `CALL_S` at most.

        One that `is_last` waits for no pause of an outage.
        """
        if not is_last and not self._outage(call).may_try():
            self._hooks.on_call(call, "failed")
            raise _failed()
        try:
            with gevent.Timeout(CALL_S, Problem("slow", "no end in time", is_outage=True)):
                result = work()
        except Problem as problem:
            self._hooks.on_call(call, "failed")
            self._note_failure(call, problem)
            raise _failed() from None
        self._note_success(call)
        self._hooks.on_call(call, "missing" if result is None or result is False else "ok")
        return result

    def too_large(self, largest: int) -> StoreFailed:
        """Count a `put` of what is too large, and return its error."""
        self._hooks.on_call("put", "too_large")
        return StoreFailed(f"The answer is too large to be stored: {largest} bytes are the most.")

    def too_long(self) -> ContextLengthExceeded:
        """Count a chain that is longer than what is read, and return its error."""
        self._hooks.on_call("chain", "too_large")
        return ContextLengthExceeded(
            f"The conversation is too long to be continued: {MOST_CHAIN_ANSWERS} answers or "
            f"{MOST_CHAIN_BYTES} bytes are the most.",
            part=RequestPart.PROMPT,
        )

    def _outage(self, call: str) -> Outage:
        return self._reading if call in _READS else self._writing

    def _note_failure(self, call: str, problem: Problem) -> None:
        self.problem = problem.reason
        if problem.is_outage and self._outage(call).note_failure():
            self.lost += 1
        withheld = self._limiter.allow(problem.reason)
        if withheld is not None:
            log.warning(
                "answer_store_failed",
                extra={
                    "call": call,
                    "reason": problem.reason,
                    "detail": problem.detail,
                    "withheld": withheld,
                },
            )

    def _note_success(self, call: str) -> None:
        self._outage(call).note_success()
        if self.problem is not None:
            self.problem = None
            log.info("answer_store_back")


def _failed() -> StoreFailed:
    return StoreFailed("The store of answers cannot be used at the moment; try again later.")
