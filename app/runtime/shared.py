"""The memory that the master and its workers share: one truth for old and new worker, also after a crash of one.

Anonymous, so nothing of it is on disk, and it ends with the master (a restart, and USR2, which begins another master).
The master makes it before it forks. Reading and writing never blocks and takes no lock: see `app.runtime.layout`.
Loaded by the master, too, which must not load the application.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable
from typing import TypeVar

from app.http.maintenance_flag import Maintenance
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


Record = TypeVar("Record", ReloadRecord, Maintenance)
Decode = Callable[[bytes], Record | None]


def new_memory() -> mmap.mmap:
    """Return fresh memory with this layout's header. Raises `OSError`."""
    memory = mmap.mmap(-1, SIZE)  # anonymous and shared: a fork sees the same bytes
    memory[: len(MAGIC)] = MAGIC
    SharedState(memory).set_word(WordOffset.LAYOUT, LAYOUT)
    return memory


class SharedState:
    """A view of `memory`; any number of them, in any process that inherited it."""

    def __init__(self, memory: mmap.mmap) -> None:
        self.memory = memory
        self._words = memoryview(memory).cast("I")

    @classmethod
    def private(cls) -> SharedState:
        """Return a view of memory of its own, for an application that no master started."""
        return cls(new_memory())

    # Words

    def word(self, word: WordOffset) -> int:
        """Return a word."""
        return self._words[word // 4]

    def set_word(self, word: WordOffset, value: int) -> None:
        """Set a word, in one store."""
        self._words[word // 4] = value

    @property
    def serving(self) -> int:
        """The worker generation that accepts connections; 0 for none yet, `ELSEWHERE` for another master's."""
        return self.word(WordOffset.SERVING)

    @property
    def is_served_elsewhere(self) -> bool:
        """True while another master's worker serves: after USR2, until a worker of ours takes over."""
        return self.serving == ELSEWHERE

    def begin_stop(self, grace_ms: int) -> None:
        """Tell every worker to end within the grace; the master is about to stop."""
        self.set_word(WordOffset.STOPPING, grace_ms + 1)

    @property
    def stop_grace_ms(self) -> int | None:
        """How long a worker may still take; None while nobody stops."""
        word = self.word(WordOffset.STOPPING)
        return word - 1 if word else None

    # Records

    @property
    def reload(self) -> ReloadRecord | None:
        """The last HUP and what became of it. The master writes."""
        return self._read(RecordOffset.RELOAD, ReloadRecord.decode)

    @reload.setter
    def reload(self, record: ReloadRecord) -> None:
        """Write it."""
        self._write(RecordOffset.RELOAD, record.encode(), ReloadRecord.decode)

    @property
    def successor(self) -> ReloadRecord | None:
        """What the new worker waits for. That worker writes."""
        return self._read(RecordOffset.SUCCESSOR, ReloadRecord.decode)

    @successor.setter
    def successor(self, record: ReloadRecord) -> None:
        """Write it."""
        self._write(RecordOffset.SUCCESSOR, record.encode(), ReloadRecord.decode)

    @property
    def maintenance(self) -> Maintenance | None:
        """The maintenance flag; None before the first worker has settled it. Any worker writes: the last one wins."""
        return self._read(RecordOffset.MAINTENANCE, decode_maintenance)

    @maintenance.setter
    def maintenance(self, record: Maintenance) -> None:
        """Write it."""
        self._write(RecordOffset.MAINTENANCE, encode_maintenance(record), decode_maintenance)

    def _read(self, place: RecordOffset, decode: Decode[Record]) -> Record | None:
        for _ in range(_ATTEMPTS):
            found = decode(self.memory[place : place + _RECORD_BYTES])
            if found is not None:
                return found
            if not any(self.memory[place : place + 4]):
                return None  # never written
        return None

    def _write(self, place: RecordOffset, data: bytes, decode: Decode[Record]) -> None:
        for _ in range(_ATTEMPTS):
            self.memory[place : place + len(data)] = data
            # Another process may have written at the same moment: whichever record is whole now is the last one.
            if decode(self.memory[place : place + len(data)]) is not None:
                return
