"""Layout of the memory that the master and its workers share. Pure: bytes in, values out.

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
from functools import lru_cache

from app.http.maintenance_flag import Maintenance, Source

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


def encode_maintenance(flag: Maintenance) -> bytes:
    """Return the bytes of the flag, checksum first. A time or a wait of 0 stands for none; the reason has 256 bytes."""
    body = _MAINTENANCE.pack(
        flag.is_on,
        flag.configured,
        flag.set_by is Source.ENDPOINT,
        flag.retry_after_s or 0,
        flag.until or 0.0,
        flag.since,
        _text(flag.reason, 256),
    )
    return _CHECKSUM.pack(zlib.crc32(body)) + body


@lru_cache(maxsize=4)  # each request asks for it, and it hardly ever changes
def decode_maintenance(data: bytes) -> Maintenance | None:
    """Return the flag that `data` begins with; None if there is none, or only a part of one."""
    body = _checked(data, _MAINTENANCE.size)
    if body is None:
        return None
    is_on, configured, by_endpoint, retry_after_s, until, since, reason = _MAINTENANCE.unpack(body)
    return Maintenance(
        bool(is_on),
        _untext(reason),
        until or None,
        retry_after_s or None,
        Source.ENDPOINT if by_endpoint else Source.SETTING,
        since,
        bool(configured),
    )


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
