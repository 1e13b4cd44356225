import struct
from itertools import pairwise

import pytest

from app.http.maintenance_flag import Maintenance, Source
from app.runtime.layout import (
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

RELOAD = ReloadRecord(
    ReloadState.REFUSED, 7, 1_790_000_000.25, "PORT must be a number \N{EN DASH} really."
)
MAINTENANCE = Maintenance(
    True, "moving house", 1_790_000_000.5, 30, Source.ENDPOINT, 1_780_000_000.75
)


@pytest.mark.parametrize("state", ReloadState)
def test_a_reload_record_comes_back_as_it_was(state: ReloadState) -> None:
    record = ReloadRecord(state, 3, 12.5, "why")
    assert ReloadRecord.decode(record.encode()) == record


@pytest.mark.parametrize("is_on", [False, True])
@pytest.mark.parametrize("configured", [False, True])
@pytest.mark.parametrize("set_by", [Source.SETTING, Source.ENDPOINT])
@pytest.mark.parametrize(("until", "retry_after_s"), [(None, None), (6.5, 5)])
def test_a_maintenance_record_comes_back_as_it_was(
    is_on: bool, configured: bool, set_by: Source, until: float | None, retry_after_s: int | None
) -> None:
    flag = Maintenance(is_on, "why", until, retry_after_s, set_by, 7.5, configured)
    assert decode_maintenance(encode_maintenance(flag)) == flag


def test_the_bytes_of_a_maintenance_record_are_those_of_layout_1() -> None:
    data = encode_maintenance(MAINTENANCE)
    assert LAYOUT == 1
    assert struct.unpack("=BBBxIdd256s", data[4:]) == (
        True,
        False,
        True,
        30,
        1_790_000_000.5,
        1_780_000_000.75,
        b"moving house".ljust(256, b"\0"),
    )


def test_every_byte_counts() -> None:
    whole = RELOAD.encode()
    for place in range(len(whole)):
        torn = bytearray(whole)
        torn[place] ^= 0x55
        assert ReloadRecord.decode(bytes(torn)) is None


def test_half_of_each_of_two_records_is_none() -> None:
    other = ReloadRecord(ReloadState.DONE, 8, 1_790_000_001.0, "another sentence altogether")
    for cut in (1, 4, 8, 24, 40):
        assert ReloadRecord.decode(other.encode()[:cut] + RELOAD.encode()[cut:]) is None


@pytest.mark.parametrize("data", [b"", b"\0", bytes(SIZE), RELOAD.encode()[:-1]])
def test_what_was_never_written_or_is_cut_short_is_none(data: bytes) -> None:
    assert ReloadRecord.decode(data) is None
    assert decode_maintenance(data) is None


def test_text_is_cut_between_characters() -> None:
    record = ReloadRecord(ReloadState.FAILED, 1, 0.0, "x" + "é" * 400)
    read = ReloadRecord.decode(record.encode())
    assert read is not None
    assert read.text == "x" + "é" * 299


def test_nothing_overlaps() -> None:
    words = [(0, len(MAGIC)), *((word, word + struct.calcsize("=I")) for word in WordOffset)]
    records = [
        (RecordOffset.RELOAD, RecordOffset.RELOAD + len(RELOAD.encode())),
        (RecordOffset.SUCCESSOR, RecordOffset.SUCCESSOR + len(RELOAD.encode())),
        (RecordOffset.MAINTENANCE, RecordOffset.MAINTENANCE + len(encode_maintenance(MAINTENANCE))),
    ]
    spans = sorted([*words, *records])
    assert all(end <= start for (_, end), (start, _) in pairwise(spans))
    assert spans[-1][1] <= SIZE
    assert all(word % 4 == 0 for word in WordOffset)
