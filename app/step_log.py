"""Step log: a request's way through the layers, one debug line for each step, from the view to the pipe and back.

Names, sizes and ids only, never a word that a client or a model said. Costs one comparison a step where the level of
the log is above debug. `docs/debugging.md` shows how to read it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial

log = logging.getLogger("codex_api.steps")


is_logged: Callable[[], bool] = partial(log.isEnabledFor, logging.DEBUG)
"""Return whether steps are logged: for a step that is passed very often, whose fields would cost something."""


_UNLOGGED = nullcontext()


def step(name: str, **fields: object) -> AbstractContextManager[None]:
    """Log what happens inside when it is over: how long it took, and the class of the exception that ended it."""
    return _step(name, fields) if log.isEnabledFor(logging.DEBUG) else _UNLOGGED


@contextmanager
def _step(name: str, fields: dict[str, object]) -> Iterator[None]:
    began, outcome = time.monotonic(), "complete"
    try:
        yield
    except BaseException as error:
        outcome = type(error).__name__
        raise
    finally:
        took = round((time.monotonic() - began) * 1000, 3)
        log.debug("step", extra={"step": name, "outcome": outcome, "took_ms": took, **fields})


def passed(name: str, **fields: object) -> None:
    """Log a step that takes no time."""
    if log.isEnabledFor(logging.DEBUG):
        log.debug("step", extra={"step": name, **fields})
