"""Defects of ours: logged with all that helps to find them, and told to the caller as one error."""

from __future__ import annotations

import logging

from app.errors import GatewayError, InternalError, OutOfMemory
from app.scrub import one_line

log = logging.getLogger("codex_api.http")


def unforeseen(error: Exception, request_id: str, *, is_told: bool) -> GatewayError:
    """Log a defect of ours and return the error for it, which names the request, so that its lines can be found.

    What the exception says is logged only where `is_told`, without secrets: it can quote a prompt.
    """
    told = {"detail": one_line(str(error))} if is_told else {}
    log.error("unforeseen_error", exc_info=error, extra={"request_id": request_id, **told})
    if isinstance(error, MemoryError):
        return OutOfMemory("This gateway has no memory left for this request.")
    return InternalError(f"This gateway made a mistake. Its log has details under {request_id}.")
