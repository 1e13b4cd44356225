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
    """Call a function whose work grows with the request and what was looked up for it. Blocks.

    It is called here if these are small, else in a thread.

    The function must not need the request that is being served.
    """
    record = current_record()
    is_long = (record.request_bytes or 0) + record.looked_up_bytes > _SMALL_BYTES
    return run_if(is_long, function, *args, **kwargs)


def run_if(
    is_long: bool,  # noqa: FBT001  (what follows is the call)
    function: Callable[Arguments, Result],
    *args: Arguments.args,
    **kwargs: Arguments.kwargs,
) -> Result:
    """Call a function in a thread if it takes long, else here. Blocks; the same holds for the function."""
    if not is_long:
        return function(*args, **kwargs)
    owner = current_record().key_name or ""
    return services().off_loop.run(owner, function, *args, **kwargs)
