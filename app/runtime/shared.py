"""Shared memory of the master and its workers: one truth for old and new worker, also after a crash of one.

Anonymous, so nothing of it is on disk, and it ends with the master (a restart, and USR2, which begins another master).
The master makes it before it forks. Reading and writing never blocks and takes no lock: see `app.runtime.layout`.
Loaded by the master, too, which must not load the application.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable
from typing import Generic, TypeVar

from app.runtime.layout import (
    ELSEWHERE,
    LAYOUT,
    MAGIC,
    SIZE,
    RecordOffset,
    ReloadRecord,
    WordOffset,
    decode_maintenance,
    encode_maintenance,
)

_ATTEMPTS = 100
_RECORD_BYTES = 640

Record = TypeVar("Record")


def new_memory() -> mmap.mmap:
    """Return fresh memory with this layout's header. Raises `OSError`."""
    memory = mmap.mmap(-1, SIZE)  # anonymous and shared: a fork sees the same bytes
    memory[: len(MAGIC)] = MAGIC
    SharedState(memory).layout = LAYOUT
    return memory


class _Word:
    """Word of the shared memory as an attribute; set in one store."""

    def __init__(self, offset: WordOffset) -> None:
        self._index = offset // 4

    def __get__(self, shared: SharedState, owner: object) -> int:
        return shared.words[self._index]

    def __set__(self, shared: SharedState, value: int) -> None:
        shared.words[self._index] = value


class _Record(Generic[Record]):
    """Record of the shared memory as an attribute; None before it is first set, and where a writer died half-way."""

    def __init__(
        self,
        offset: RecordOffset,
        encode: Callable[[Record], bytes],
        decode: Callable[[bytes], Record | None],
    ) -> None:
        self._offset = offset
        self._encode = encode
        self._decode = decode

    def __get__(self, shared: SharedState, owner: object) -> Record | None:
        for _ in range(_ATTEMPTS):
            data = shared.memory[self._offset : self._offset + _RECORD_BYTES]
            found = self._decode(data)
            if found is not None or not any(data[:4]):
                return found
        return None

    def __set__(self, shared: SharedState, record: Record) -> None:
        data = self._encode(record)
        place = slice(self._offset, self._offset + len(data))
        for _ in range(_ATTEMPTS):
            shared.memory[place] = data
            # Another process may have written at the same moment: whichever record is whole now is the last one.
            if self._decode(shared.memory[place]) is not None:
                return


class SharedState:
    """View of `memory`; any number of them, in any process that inherited it.

    The master writes `serving` (the worker generation that accepts; 0 for none yet, `ELSEWHERE` for another master's)
    and `reload` (the last HUP and what became of it). Workers write `ready` and `booted` (see `app.runtime.layout`),
    `successor` (what the new worker waits for), and `maintenance`: the last one wins.
    """

    layout = _Word(WordOffset.LAYOUT)
    serving = _Word(WordOffset.SERVING)
    ready = _Word(WordOffset.READY)
    booted = _Word(WordOffset.BOOTED)
    _stopping = _Word(WordOffset.STOPPING)
    reload = _Record(RecordOffset.RELOAD, ReloadRecord.encode, ReloadRecord.decode)
    successor = _Record(RecordOffset.SUCCESSOR, ReloadRecord.encode, ReloadRecord.decode)
    maintenance = _Record(RecordOffset.MAINTENANCE, encode_maintenance, decode_maintenance)

    def __init__(self, memory: mmap.mmap) -> None:
        self.memory = memory
        self.words = memoryview(memory).cast("I")

    @classmethod
    def private(cls) -> SharedState:
        """Return a view of memory of its own, for an application that no master started."""
        return cls(new_memory())

    @property
    def is_served_elsewhere(self) -> bool:
        """True while another master's worker serves: after USR2, until a worker of ours takes over."""
        return self.serving == ELSEWHERE

    def begin_stop(self, grace_ms: int) -> None:
        """Tell every worker to end within the grace; the master is about to stop."""
        self._stopping = grace_ms + 1

    @property
    def stop_grace_ms(self) -> int | None:
        """Time that a worker may still take; None while nobody stops."""
        word = self._stopping
        return word - 1 if word else None
