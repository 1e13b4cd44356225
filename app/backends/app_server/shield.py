"""Work that is done to its end, whatever becomes of the greenlet that asked for it.

A call to the child cannot be taken back: where its caller is cut short (a client left), the thread or the turn that it
was about to begin comes into being all the same, and nobody would know of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

from gevent.event import AsyncResult
from gevent.pool import Group

T = TypeVar("T")


def run_shielded(group: Group, work: Callable[[], T], undo: Callable[[T], None]) -> T:
    """Run `work` in a greenlet of `group` and return its result, or raise what it raises. Blocks.

    If the caller is cut short, the work goes on, and `undo` is called with what comes of it; it must not block.
    """
    outcome: AsyncResult[T] = AsyncResult()

    def run() -> None:
        try:
            outcome.set(work())
        # Handed over, not handled: the caller raises it in its own greenlet.
        except BaseException as error:  # noqa: BLE001
            outcome.set_exception(error)

    def take_back(done: AsyncResult[T]) -> None:
        if done.successful():
            undo(cast("T", done.get()))

    group.spawn(run)
    try:
        return cast("T", outcome.get())
    except BaseException:
        outcome.rawlink(take_back)
        raise
