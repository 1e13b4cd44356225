"""What a master that runs already and the code on disk say to each other: at HUP in shared memory, at USR2 in a pipe.

A change here is one that a running master cannot know of. The memory has a number for that, `LAYOUT`, and a reload onto
another number is refused with a sentence; the pipe has none, so it must stay as it is.
"""

import pytest

from app.runtime import upgrade
from app.runtime.layout import (
    ELSEWHERE,
    LAYOUT,
    MAGIC,
    SIZE,
    Maintenance,
    RecordOffset,
    ReloadRecord,
    ReloadState,
    WordOffset,
)

RELOAD = ReloadRecord(ReloadState.REFUSED, 7, 2.5, "why")
MAINTENANCE = Maintenance(
    is_on=True, env_value=False, by_endpoint=True, retry_after_s=30, until=2.5, changed_at=0.5, reason="why"
)  # fmt: skip


def test_layout_1_has_its_words_and_records_where_they_were() -> None:
    assert (MAGIC, LAYOUT, SIZE, ELSEWHERE) == (b"gway", 1, 4096, 2**32 - 1)
    assert {word.name: int(word) for word in WordOffset} == {
        "LAYOUT": 4,
        "SERVING": 8,
        "READY": 12,
        "STOPPING": 16,
        "BOOTED": 20,
    }
    assert {record.name: int(record) for record in RecordOffset} == {
        "RELOAD": 64,
        "SUCCESSOR": 704,
        "MAINTENANCE": 1344,
    }
    assert [state.value for state in ReloadState] == [
        *("none", "checking", "queued", "starting", "done", "refused", "failed")
    ]


@pytest.mark.parametrize(
    ("record", "size", "begins"),
    [
        (RELOAD, 620, "7597faea 05000000 07000000 00000000 00000440 776879"),
        (MAINTENANCE, 284, "7051fbab 01000100 1e000000 00000000 00000440 00000000 0000e03f 776879"),
    ],
)
def test_layout_1_has_these_bytes_in_its_records(
    record: ReloadRecord | Maintenance, size: int, begins: str
) -> None:
    data = bytes.fromhex(begins).ljust(
        size, b"\0"
    )  # of a little-endian machine, as all that we run on
    assert record.encode() == data
    assert type(record).decode(data) == record


def test_a_new_master_finds_its_pipe_and_says_what_the_old_one_reads() -> None:
    assert upgrade.READY_PIPE == "GATEWAY_READY_PIPE"
    assert (upgrade._READY, upgrade._STOP) == (b"\1", b"\2")
