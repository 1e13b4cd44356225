"""Long work of a request: done off the loop, in the turn of the request's key."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

from app.http.request_context import current_record
from app.http.services import services

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

_SMALL_BYTES = 32 * 1024
"""A body of this size is parsed and translated within some milliseconds, whatever it holds."""


def run(
    function: Callable[Arguments, Result], *args: Arguments.args, **kwargs: Arguments.kwargs
) -> Result:
    """Call a function whose work grows with the request, here if that is small, else in a thread. Blocks.

    The function must not need the request that is being served.
    """
    record = current_record()
    if (record.request_bytes or 0) <= _SMALL_BYTES:
        return function(*args, **kwargs)
    return services().off_loop.run(record.key_name or "", function, *args, **kwargs)
