"""Text lines of the log, for a person at a terminal: the time, who speaks, what happened; one line a request.

What a value holds cannot steer the terminal. Used by gunicorn's master, too: this module imports nothing from `app`.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping
from typing import Any

HEALTH_ROUTES = frozenset(
    {
        *("/livez", "/readyz", "/healthz", "/metrics"),
        *("/internal/status", "/internal/recent"),  # the console asks for these again and again
    }
)
_BAD_STATUS = 400

_PLAIN = frozenset("-_./:@%+,=*~#")
_UNTOLD = frozenset({"worker_generation", "worker_pid", "exception"})
_TOLD_OF_REQUEST = frozenset(
    {
        *("method", "route", "status", "outcome", "error_code", "finish_reason", "model"),
        *("ttft_ms", "duration_ms", "prompt_tokens", "completion_tokens", "request_id"),
        *("stream", "thread_id", "generation", "request_bytes", "response_bytes", "queue_ms"),
        *("cached_tokens", "reasoning_tokens", "kept_thread"),
    }
)
_COLOURS = {"DEBUG": "2", "WARNING": "33", "ERROR": "31", "CRITICAL": "1;31"}
_DIM = "2"


def component_of(logger: str) -> str:
    """Return the part of us that speaks: `codex_api.rpc` is `rpc`; gunicorn's loggers are all `gunicorn`."""
    package, _, part = logger.partition(".")
    return part if package == "codex_api" else package


class QuietHealth(logging.Filter):
    """Lets the lines of good health checks and scrapes pass only where debug lines are logged."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Return False for such a line."""
        if record.msg != "request" or logging.getLogger(record.name).isEnabledFor(logging.DEBUG):
            return True
        is_good = getattr(record, "status", 0) < _BAD_STATUS
        return not (is_good and getattr(record, "route", "") in HEALTH_ROUTES)


class TextFormatter(logging.Formatter):
    """`standard` are the names of a record's own members."""

    def __init__(self, standard: frozenset[str], *, colours: bool) -> None:
        super().__init__()
        self._standard = standard
        self._has_colours = colours

    def format(self, record: logging.LogRecord) -> str:
        """Return one line."""
        fields = {
            name: value
            for name, value in vars(record).items()
            if name not in self._standard and name not in _UNTOLD and value is not None
        }
        if record.getMessage() == "request":
            told, rest = _request(fields), _pairs(fields, _TOLD_OF_REQUEST)
        else:
            told = f"{component_of(record.name)}: {_text(record.getMessage())}"
            rest = _pairs(fields, frozenset())
        if record.exc_info and record.exc_info[0] is not None:
            rest = f"{rest} exception={record.exc_info[0].__name__}".lstrip()
        clock = time.strftime("%H:%M:%S", time.localtime(record.created))
        parts = [self._painted(clock, _DIM), self._painted(told, self._colour(record, fields))]
        return "  ".join([*parts, self._painted(rest, _DIM)] if rest else parts)

    def _colour(self, record: logging.LogRecord, fields: Mapping[str, Any]) -> str:
        is_bad = "error_code" in fields or fields.get("outcome") == "failed"
        return _COLOURS["WARNING"] if is_bad else _COLOURS.get(record.levelname, "")

    def _painted(self, text: str, colour: str) -> str:
        return f"\x1b[{colour}m{text}\x1b[0m" if self._has_colours and colour else text


def _request(fields: Mapping[str, Any]) -> str:
    """Return what a request was and came to: its line, its end, its model, its times and its tokens."""
    end = fields.get("error_code") or fields.get("finish_reason")
    outcome = fields.get("outcome")
    words = [fields.get("method"), fields.get("route"), fields.get("status"), end]
    words += [outcome] if outcome not in (None, "completed") else []
    words.append(fields.get("model"))
    told = " ".join(_text(str(word)) for word in words if word is not None)
    if "duration_ms" in fields:
        first = f", first token {fields['ttft_ms']} ms" if "ttft_ms" in fields else ""
        told += f" ({fields['duration_ms']:.0f} ms{first})"
    if "completion_tokens" in fields:
        told += f" {fields.get('prompt_tokens')}+{fields['completion_tokens']} tokens"
    return told


def _pairs(fields: Mapping[str, Any], told: frozenset[str]) -> str:
    return " ".join(f"{name}={_value(value)}" for name, value in fields.items() if name not in told)


def _value(value: object) -> str:
    """Return a word as it is, and everything else as JSON, where control characters are escaped."""
    if isinstance(value, str) and value and all(c.isalnum() or c in _PLAIN for c in value):
        return _text(value)
    return json.dumps(value, default=repr, skipkeys=True)


def _text(text: str) -> str:
    """Return the text without what could steer a terminal or begin another line."""
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)
