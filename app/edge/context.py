"""The request's id and its record: made first, sent back on every response, written last."""

from __future__ import annotations

import re
import secrets

from flask import Flask, Response, g, request

from app.observability.requests import RequestRecord

_ACCEPTED_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")


def init_app(app: Flask) -> None:
    """Give every request a record, every response `X-Request-Id`, and write the canonical line at the very end."""
    app.before_request(_begin)
    app.after_request(_finish)


def current_record() -> RequestRecord:
    """Return the record of the request being served."""
    if "record" not in g:
        _begin()
    record: RequestRecord = g.record
    return record


def _begin() -> None:
    offered = request.headers.get("X-Request-Id", "")
    request_id = offered if _ACCEPTED_ID.fullmatch(offered) else f"req_{secrets.token_hex(16)}"
    rule = request.url_rule
    g.record = RequestRecord(
        request_id, request.method, route=rule.rule if rule is not None else "unmatched"
    )


def _finish(response: Response) -> Response:
    record = current_record()
    record.status = response.status_code
    response.headers["X-Request-Id"] = record.request_id
    # Not here but at close: a stream has only begun when this function runs.
    response.call_on_close(record.write)
    return response
