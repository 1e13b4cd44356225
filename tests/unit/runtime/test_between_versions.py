"""What a master that runs already and the code on disk say to each other: at HUP in shared memory, at USR2 in a pipe.

A change here is one that a running master cannot know of. The memory has a number for that, `LAYOUT`, and a reload onto
another number is refused with a sentence; the pipe has none, so it must stay as it is.
"""

from app.http.maintenance_flag import Maintenance, Source
from app.runtime import upgrade
from app.runtime.layout import (
    ELSEWHERE,
    LAYOUT,
    MAGIC,
    SIZE,
    RecordOffset,
    ReloadRecord,
    ReloadState,
    WordOffset,
    decode_maintenance,
    encode_maintenance,
)


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


def little_endian(begins: str, size: int) -> bytes:
    """Return the bytes that are written in words, with zeros after them; every machine that we run on has them so."""
    return bytes.fromhex(begins).ljust(size, b"\0")


def test_layout_1_has_a_reload_in_these_bytes() -> None:
    record = ReloadRecord(ReloadState.REFUSED, 7, 2.5, "why")
    data = little_endian("7597faea 05000000 07000000 00000000 00000440 776879", 620)
    assert record.encode() == data
    assert ReloadRecord.decode(data) == record


def test_layout_1_has_maintenance_in_these_bytes() -> None:
    flag = Maintenance(
        True, "why", until=2.5, retry_after_s=30, set_by=Source.ENDPOINT, since=0.5, configured=False
    )  # fmt: skip
    begins = "7051fbab 01000100 1e000000 00000000 00000440 00000000 0000e03f 776879"
    data = little_endian(begins, 284)
    assert encode_maintenance(flag) == data
    assert decode_maintenance(data) == flag


def test_a_new_master_finds_its_pipe_and_says_what_the_old_one_reads() -> None:
    assert upgrade.READY_PIPE == "GATEWAY_READY_PIPE"
    assert (upgrade._READY, upgrade._STOP) == (b"\1", b"\2")
