"""Shielded work: what was begun with the child is finished, also where the caller is cut short."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

from gevent import Greenlet
from gevent.pool import Group

T = TypeVar("T")


def run_shielded(group: Group, work: Callable[[], T], undo: Callable[[T], None]) -> T:
    """Run `work` in a greenlet of `group` and return its result, or raise what it raises. Blocks.

    A call to the child cannot be taken back: what it was about to begin comes into being all the same. If the caller is
    cut short, the work goes on, and `undo` is called with what comes of it; it must not block.
    """

    def shielded() -> T | BaseException:
        try:
            return work()
        except BaseException as error:  # noqa: BLE001  (raised where the result is waited for)
            return error

    working = group.spawn(shielded)

    def take_back(done: Greenlet[[], T | BaseException]) -> None:
        if not isinstance(done.value, BaseException):
            undo(cast("T", done.value))

    try:
        result = working.get()
    except BaseException:
        working.rawlink(take_back)
        raise
    try:
        if isinstance(result, BaseException):
            raise result
        return result
    finally:
        del (
            result,
            working,
        )  # an error holds this frame: it must not hold the error and the request in turn
