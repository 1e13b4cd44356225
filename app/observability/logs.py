"""JSON lines on stdout: one object a line, the event's name static, the data in fields.

Used by the application and by gunicorn's master, which must not load the application: so this module imports nothing
from `app`.
"""

from __future__ import annotations

import json
import logging
import os
from datetime import UTC, datetime
from typing import Any

_STANDARD = frozenset(
    vars(logging.LogRecord("", 0, "", 0, "", (), None)) | {"message": "", "asctime": ""}
)

_LEVELS = {"WARNING": "warn"}


class JsonFormatter(logging.Formatter):
    """`timestamp` (ISO-8601, UTC), `level`, `component`, `event`, then the record's own fields."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line. What is not JSON is shown by its repr; an exception becomes its type and its frames."""
        entry: dict[str, Any] = {
            "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat(
                timespec="milliseconds"
            ),
            "level": _LEVELS.get(record.levelname, record.levelname.lower()),
            "component": _component(record.name),
            "event": record.getMessage(),
            "worker_pid": os.getpid(),
        }
        entry |= {name: value for name, value in vars(record).items() if name not in _STANDARD}
        if record.exc_info and record.exc_info[0] is not None:
            entry["exception"] = _describe(record.exc_info)
        return json.dumps(entry, default=repr, skipkeys=True)


class GunicornFilter(logging.Filter):
    """Takes what a client sent out of gunicorn's own lines: a broken header can hold a key, a URL anything."""

    _QUOTING = (
        ("Invalid request from ip=", "invalid_http_request"),
        ("Error handling request ", "request_failed"),
    )

    def filter(self, record: logging.LogRecord) -> bool:
        """Give a line that quotes the client a static name instead; let every line pass."""
        text = record.getMessage()
        for start, event in self._QUOTING:
            if text.startswith(start):
                record.msg, record.args = event, None
        return True


def _component(logger: str) -> str:
    """Return the part of us that speaks: `codex_api.rpc` is `rpc`; gunicorn's loggers are all `gunicorn`."""
    package, _, part = logger.partition(".")
    return part if package == "codex_api" else package


def _describe(exc_info: Any) -> dict[str, Any]:
    """Type and code positions only: an exception's text can quote a prompt or a path of the upstream."""
    kind, _, traceback = exc_info
    frames = []
    while traceback is not None:
        code = traceback.tb_frame.f_code
        frames.append(f"{os.path.basename(code.co_filename)}:{traceback.tb_lineno} {code.co_name}")  # noqa: PTH119
        traceback = traceback.tb_next
    return {"type": kind.__name__, "frames": frames[-8:]}


def log_config(level: str) -> dict[str, Any]:
    """Return the `logging.config` dictionary for gunicorn and the application alike."""
    handlers = {"handlers": ["stdout"], "propagate": False}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"json": {"()": JsonFormatter}},
        "filters": {"gunicorn": {"()": GunicornFilter}},
        "handlers": {
            "stdout": {
                "class": "logging.StreamHandler",
                "formatter": "json",
                "stream": "ext://sys.stdout",
            }
        },
        "root": {"level": "WARNING", "handlers": ["stdout"]},
        "loggers": {
            "codex_api": {"level": level.upper(), **handlers},
            "gunicorn.error": {"level": level.upper(), "filters": ["gunicorn"], **handlers},
            # It quotes addresses and query strings of images that clients name.
            "urllib3": {"level": "CRITICAL", **handlers},
            "gunicorn.access": {"level": "CRITICAL", **handlers},
        },
    }
