"""What lies where in the memory that the master and its workers share. Pure: bytes in, values out.

    offset  size
       0      4   magic, "gway"
       4      4   LAYOUT, counted up with every change here
       8      4   serving: the worker generation that accepts; 0 none yet, ELSEWHERE one of another master
      12      4   ready: the newest generation whose child has shaken hands
      16      4   stopping: 0, or the grace in ms plus one once the master was told to stop
      20      4   booted: the newest generation that loaded the application
      64    640   ReloadRecord: the last HUP and what became of it; the master writes
     704    640   ReloadRecord: the new worker that waits for its child, and why; that worker writes
    1344    320   Maintenance; any worker writes

Words are native and aligned: one store each, never half seen. A record can be seen half written, or be left so by a
process that was killed: so each begins with a checksum of the rest, and `decode` gives None where it does not fit.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from enum import Enum, IntEnum

MAGIC = b"gway"
LAYOUT = 1
SIZE = 4096
ELSEWHERE = 0xFFFF_FFFF


class WordOffset(IntEnum):
    """Offsets of the words, in bytes."""

    LAYOUT = 4
    SERVING = 8
    READY = 12
    STOPPING = 16
    BOOTED = 20


class RecordOffset(IntEnum):
    """Offsets of the records, in bytes."""

    RELOAD = 64
    SUCCESSOR = 704
    MAINTENANCE = 1344


class ReloadState(Enum):
    """What became of the last HUP."""

    NONE = "none"
    CHECKING = "checking"
    QUEUED = "queued"
    STARTING = "starting"
    DONE = "done"
    REFUSED = "refused"
    FAILED = "failed"


_STATES = tuple(ReloadState)
_CHECKSUM = struct.Struct("=I")
_RELOAD = struct.Struct("=BxxxId600s")
_MAINTENANCE = struct.Struct("=BBBxIdd256s")


@dataclass(frozen=True, slots=True)
class ReloadRecord:
    """`at` is Unix time in seconds; `text` is a sentence for operators, cut at 600 bytes."""

    state: ReloadState
    generation: int
    at: float
    text: str = ""

    def encode(self) -> bytes:
        """Return the bytes of the record, checksum first."""
        body = _RELOAD.pack(
            _STATES.index(self.state), self.generation, self.at, _text(self.text, 600)
        )
        return _CHECKSUM.pack(zlib.crc32(body)) + body

    @classmethod
    def decode(cls, data: bytes) -> ReloadRecord | None:
        """Return the record that `data` begins with; None if there is none, or only a part of one."""
        body = _checked(data, _RELOAD.size)
        if body is None:
            return None
        state, generation, at, text = _RELOAD.unpack(body)
        return cls(_STATES[state], generation, at, _untext(text))


@dataclass(frozen=True, slots=True)
class Maintenance:
    """The maintenance flag. Times are Unix time in seconds, 0 for none; `reason` is cut at 256 bytes.

    `env_value` is the value of PROXY_MAINTENANCE_MODE that was current when this was written: only a *change* of it
    overrides what the endpoint has set. `by_endpoint` says who set it.
    """

    is_on: bool
    env_value: bool
    by_endpoint: bool = False
    retry_after_s: int = 0
    until: float = 0.0
    changed_at: float = 0.0
    reason: str = ""

    def is_over(self, now: float) -> bool:
        """True from the moment on that `until` names. The record stays as it was written."""
        return self.is_on and 0 < self.until <= now

    def ended_between(self, earlier: float, now: float) -> bool:
        """True if `until` came after `earlier` and not after `now`."""
        return self.is_over(now) and not self.is_over(earlier)

    def encode(self) -> bytes:
        """Return the bytes of the record, checksum first."""
        body = _MAINTENANCE.pack(
            self.is_on,
            self.env_value,
            self.by_endpoint,
            self.retry_after_s,
            self.until,
            self.changed_at,
            _text(self.reason, 256),
        )
        return _CHECKSUM.pack(zlib.crc32(body)) + body

    @classmethod
    def decode(cls, data: bytes) -> Maintenance | None:
        """Return the record that `data` begins with; None if there is none, or only a part of one."""
        body = _checked(data, _MAINTENANCE.size)
        if body is None:
            return None
        is_on, env_value, by_endpoint, retry_after_s, until, changed_at, reason = (
            _MAINTENANCE.unpack(body)
        )
        return cls(
            bool(is_on),
            bool(env_value),
            bool(by_endpoint),
            retry_after_s,
            until,
            changed_at,
            _untext(reason),
        )


def settle(found: Maintenance | None, env_value: bool, now: float) -> Maintenance:  # noqa: FBT001
    """Return the flag that a worker begins to serve with: what is there, unless the setting has a new value."""
    if found is not None and found.env_value == env_value:
        return found
    return Maintenance(is_on=env_value, env_value=env_value, changed_at=now)


def _text(text: str, size: int) -> bytes:
    """As many whole characters as fit."""
    return text.encode()[:size].decode(errors="ignore").encode()


def _untext(data: bytes) -> str:
    return data.rstrip(b"\0").decode(errors="replace")


def _checked(data: bytes, size: int) -> bytes | None:
    body = data[_CHECKSUM.size : _CHECKSUM.size + size]
    if len(body) != size or _CHECKSUM.unpack_from(data)[0] != zlib.crc32(body):
        return None
    return body
