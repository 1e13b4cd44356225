"""JSON lines on stdout: one object a line, the event's name static, the data in fields.

Used by the application and by gunicorn's master, which must not load the application: so this module imports nothing
from `app`.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

_STANDARD = frozenset(
    vars(logging.LogRecord("", 0, "", 0, "", (), None)) | {"message": "", "asctime": ""}
)

_SHORT = {"WARNING": "warn"}

LEVELS = ("debug", "info", "warning", "error")
"""What can be set, from the most to the least that is logged."""

_ROOT = "codex_api"
_OURS = (_ROOT, "gunicorn.error")

log = logging.getLogger(f"{_ROOT}.logs")


class JsonFormatter(logging.Formatter):
    """`timestamp` (ISO-8601, UTC), `level`, `component`, `event`, then the record's own fields."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line. What is not JSON is shown by its repr; an exception becomes its type and its frames."""
        entry: dict[str, Any] = {
            "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat(
                timespec="milliseconds"
            ),
            "level": _SHORT.get(record.levelname, record.levelname.lower()),
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
        ("Ignored premature client disconnection", "head_cut_off"),  # with all that there is of it
        ("%s %s", "request_read"),  # method and path
    )

    def filter(self, record: logging.LogRecord) -> bool:
        """Give a line that quotes the client a static name instead; let every line pass."""
        text = record.getMessage()
        for start, event in self._QUOTING:
            if record.msg == start or text.startswith(start):
                record.msg, record.args = event, None
        return True


class FieldsFilter(logging.Filter):
    """Adds fields to every line that does not have them by itself. `fields` is asked for each line."""

    def __init__(self, fields: Callable[[], Mapping[str, Any]]) -> None:
        super().__init__()
        self._fields = fields

    def filter(self, record: logging.LogRecord) -> bool:
        """Add the fields; let every line pass."""
        for name, value in self._fields().items():
            vars(record).setdefault(name, value)
        return True


def add_fields(fields: Callable[[], Mapping[str, Any]]) -> None:
    """Give every line of this process more fields, gunicorn's lines included.

    At the handlers, since they alone see the lines of all loggers, and since a worker inherits them from the master.
    """
    for handler in logging.getLogger(_ROOT).handlers:
        handler.addFilter(FieldsFilter(fields))


def level() -> str:
    """Return the least severe level that this process logs."""
    return logging.getLevelName(logging.getLogger(_ROOT).level).lower()


def set_level(name: str) -> None:
    """Log from this level on, one of `LEVELS`, in this process."""
    before = level()
    if name == before:
        return
    # Said while the more talkative of the two levels holds, so that it is always said.
    if LEVELS.index(name) < LEVELS.index(before):
        _apply(name)
    log.warning("log_level_changed", extra={"before": before, "now": name})
    _apply(name)


def _apply(name: str) -> None:
    for logger in _OURS:
        logging.getLogger(logger).setLevel(name.upper())


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
            _ROOT: {"level": level.upper(), **handlers},
            "gunicorn.error": {"level": level.upper(), "filters": ["gunicorn"], **handlers},
            # It quotes addresses and query strings of images that clients name.
            "urllib3": {"level": "CRITICAL", **handlers},
            "gunicorn.access": {"level": "CRITICAL", **handlers},
        },
    }
