"""JSON lines on stdout: one object a line, the event's name static, the data in fields; text at a terminal.

Logging blocks nobody: a native thread writes (`app.observability.log_writer`).

Used by the application and by gunicorn's master, which must not load the application: so this module imports nothing
from `app` but the writer and the text.
"""

from __future__ import annotations

import atexit
import json
import logging
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from app.observability.log_writer import LineStream, LineWriter
from app.observability.text_log import QuietHealth, TextFormatter, component_of

_STANDARD = frozenset(
    vars(logging.LogRecord("", 0, "", 0, "", (), None)) | {"message": "", "asctime": ""}
)

_SHORT = {"WARNING": "warn"}

_encode = json.JSONEncoder(default=repr, skipkeys=True).encode
"""`json.dumps` would make an encoder for each line."""

_STDOUT, _STDERR = 1, 2

LEVELS = ("debug", "info", "warning", "error")
"""What can be set, from the most to the least that is logged."""

FORMATS = ("auto", "json", "text")
"""What lines can look like; `auto` is text where standard output is a terminal."""

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
            "component": component_of(record.name),
            "event": record.getMessage(),
            "worker_pid": os.getpid(),
        }
        entry |= {name: value for name, value in vars(record).items() if name not in _STANDARD}
        if record.exc_info and record.exc_info[0] is not None:
            entry["exception"] = _describe(record.exc_info)
        return _encode(entry)


_GIVEN_UP = "codex_api_lines_given_up"
"""Attribute of the root logger, which outlives this module where the master takes another configuration."""


class StdoutHandler(logging.Handler):
    """Hands each line to a `LineWriter` of standard output. One goes on with what the one before it has lost."""

    def __init__(self) -> None:
        super().__init__()
        given_up = vars(logging.getLogger()).pop(_GIVEN_UP, 0)
        self.writer = LineWriter(_STDOUT, given_up=given_up)

    def emit(self, record: logging.LogRecord) -> None:
        """Log one record. Does not block."""
        try:
            line = self.format(record).encode() + b"\n"
        # The repr of a field may raise anything.
        except Exception:  # noqa: BLE001
            self.handleError(record)
        else:
            self.writer.put(line, is_important=record.levelno >= logging.WARNING)

    def flush(self) -> None:
        """See `LineWriter.flush`."""
        self.writer.flush()

    def close(self) -> None:
        """See `LineWriter.close`."""
        setattr(logging.getLogger(), _GIVEN_UP, self.writer.close())
        super().close()


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


def _writers() -> Iterator[LineWriter]:
    """Return what writes this process's log; there is none outside of the service."""
    for handler in logging.getLogger(_ROOT).handlers:
        # Not by its class: the master loaded one of its own, and forgot it.
        if (writer := getattr(handler, "writer", None)) is not None:
            yield writer


def lines_lost() -> int:
    """Return how many lines of this process were not written: too many waited, or standard output refused them."""
    return sum(writer.lost for writer in _writers())


def tell_of_lost_lines() -> None:
    """Log how many lines were lost, once lines get through again. Called now and then; does not block."""
    for writer in _writers():
        if lost := writer.take_lost():
            log.warning("log_lines_dropped", extra={"lines": lost})


def hold_standard_descriptors() -> None:
    """Open `/dev/null` in place of standard streams that are closed.

    Else the next file that is opened gets the number of one of them, a connection or a database, and the log with it.
    """
    for descriptor in range(_STDERR + 1):
        try:
            os.fstat(descriptor)
        except OSError:
            null = os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free
            os.set_inheritable(null, True)


def queue_stderr() -> None:
    """Let a thread write `sys.stderr`, too, on which Python and gevent print tracebacks."""
    if sys.stderr is not None:  # it is closed
        writer = LineWriter(_STDERR)
        sys.stderr = LineStream(writer, _STDERR)
        atexit.register(writer.flush)


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


def _describe(exc_info: Any) -> dict[str, Any]:
    """Type and code positions only: an exception's text can quote a prompt or a path of the upstream."""
    kind, _, traceback = exc_info
    frames = []
    while traceback is not None:
        code = traceback.tb_frame.f_code
        frames.append(f"{os.path.basename(code.co_filename)}:{traceback.tb_lineno} {code.co_name}")  # noqa: PTH119
        traceback = traceback.tb_next
    return {"type": kind.__name__, "frames": frames[-8:]}


def _note_less() -> None:
    """Let records be made without what no line has: a search through the stack, names of threads and processes.

    As the "Optimization" of Python's Logging HOWTO has it.
    """
    logging._srcfile = None  # noqa: SLF001
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False


def log_config(level: str, form: str = "json", *, colours: bool = False) -> dict[str, Any]:
    """Return the `logging.config` dictionary for gunicorn and the application alike; `form` is one of `FORMATS`."""
    _note_less()
    is_text = form == "text" or (form == "auto" and os.isatty(_STDOUT))
    handlers = {"handlers": ["stdout"], "propagate": False}
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "json": {"()": JsonFormatter},
            "text": {"()": TextFormatter, "standard": _STANDARD, "colours": colours},
        },
        "filters": {"gunicorn": {"()": GunicornFilter}, "health": {"()": QuietHealth}},
        "handlers": {
            "stdout": {
                "()": StdoutHandler,
                "formatter": "text" if is_text else "json",
                "filters": ["health"] if is_text else [],
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
