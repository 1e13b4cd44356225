"""Work off the loop: calls that take long, in a native thread, so that other greenlets go on meanwhile.

One at a time: two would only take the interpreter from each other, and from the loop. Owners (keys) take turns, so that
nobody waits for more than one call of each other owner. Python code leaves the loop its share; a single call of C
does not, so that what is called must not make long ones.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from functools import partial
from typing import Any, ParamSpec, Protocol, TypeVar, cast

from gevent.event import AsyncResult, Event
from gevent.threadpool import ThreadPool
from gevent.util import wrap_errors

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


class Run(Protocol):
    """`OffLoop.run` in the name of one owner."""

    def __call__(
        self,
        function: Callable[Arguments, Result],
        *args: Arguments.args,
        **kwargs: Arguments.kwargs,
    ) -> Result:
        """Call a function in the thread, and return or raise what it does. Blocks."""


class OffLoop:
    """A thread, and the owners that wait for it. No lock: one loop's greenlets use it, and nothing yields between."""

    def __init__(self) -> None:
        self._waiting: OrderedDict[str, deque[Event]] = (
            OrderedDict()
        )  # the owner that is next comes first
        self._runs: dict[str, Run] = {}
        self._is_taken = False
        self._pool: ThreadPool | None = None

    def run_of(self, owner: str) -> Run:
        """Return `run` in the name of an owner: one object for all of its requests."""
        return self._runs.setdefault(owner, partial(self.run, owner))

    def run(
        self,
        owner: str,
        function: Callable[Arguments, Result],
        *args: Arguments.args,
        **kwargs: Arguments.kwargs,
    ) -> Result:
        """Call a function in the thread, and return or raise what it does. Blocks.

        A greenlet that is interrupted meanwhile leaves the call to its end, and the thread with it. The function must
        not need a greenlet's context: no request, no hub.
        """
        self._take(owner)
        try:
            # gevent prints what a thread raises, with all that belongs to it: here a caller's words.
            guarded: Callable[..., Result | Exception] = wrap_errors((Exception,), function)
            job: AsyncResult[Any] = self._thread().spawn(guarded, *args, **kwargs)
        except BaseException:
            self._give_back()
            raise
        job.rawlink(lambda _: self._give_back())
        result = cast("Result | Exception", job.get())
        if not isinstance(result, Exception):
            return result
        try:
            raise result
        finally:
            del (
                result,
                job,
            )  # else it and this frame would hold each other, and a whole body, until a collection

    def _thread(self) -> ThreadPool:
        # Not at once: the hub is that of the worker, and most need none.
        if self._pool is None:
            self._pool = ThreadPool(1)
        return self._pool

    def _take(self, owner: str) -> None:
        if not self._is_taken:
            self._is_taken = True
            return
        mine = Event()
        self._waiting.setdefault(owner, deque()).append(mine)
        try:
            mine.wait()
        except BaseException:
            if mine.is_set():
                self._give_back()
            else:
                self._waiting[owner].remove(mine)
                if not self._waiting[owner]:
                    del self._waiting[owner]
            raise

    def _give_back(self) -> None:
        if not self._waiting:
            self._is_taken = False
            return
        owner, line = self._waiting.popitem(last=False)
        line.popleft().set()
        if line:
            self._waiting[owner] = line  # behind all others

    def __repr__(self) -> str:
        waiting = sum(map(len, self._waiting.values()))
        return f"<OffLoop {'BUSY' if self._is_taken else 'IDLE'} waiting={waiting}>"
