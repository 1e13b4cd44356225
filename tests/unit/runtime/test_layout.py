import struct
from itertools import pairwise

import pytest

from app.runtime.layout import (
    MAGIC,
    SIZE,
    Maintenance,
    RecordOffset,
    ReloadRecord,
    ReloadState,
    WordOffset,
    settle,
)

RELOAD = ReloadRecord(
    ReloadState.REFUSED, 7, 1_790_000_000.25, "PORT must be a number \N{EN DASH} really."
)
MAINTENANCE = Maintenance(
    is_on=True,
    env_value=False,
    by_endpoint=True,
    retry_after_s=30,
    until=1_790_000_000.5,
    changed_at=1_780_000_000.75,
    reason="moving house",
)


@pytest.mark.parametrize("state", ReloadState)
def test_a_reload_record_comes_back_as_it_was(state: ReloadState) -> None:
    record = ReloadRecord(state, 3, 12.5, "why")
    assert ReloadRecord.decode(record.encode()) == record


@pytest.mark.parametrize("is_on", [False, True])
@pytest.mark.parametrize("env_value", [False, True])
@pytest.mark.parametrize("by_endpoint", [False, True])
def test_a_maintenance_record_comes_back_as_it_was(
    is_on: bool, env_value: bool, by_endpoint: bool
) -> None:
    record = Maintenance(is_on, env_value, by_endpoint, 5, 6.5, 7.5, "why")
    assert Maintenance.decode(record.encode()) == record


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
    assert Maintenance.decode(data) is None


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
        (RecordOffset.MAINTENANCE, RecordOffset.MAINTENANCE + len(MAINTENANCE.encode())),
    ]
    spans = sorted([*words, *records])
    assert all(end <= start for (_, end), (start, _) in pairwise(spans))
    assert spans[-1][1] <= SIZE
    assert all(word % 4 == 0 for word in WordOffset)


SET_BY_HAND = Maintenance(is_on=True, env_value=False, by_endpoint=True, changed_at=1.0)
SET_OFF_BY_HAND = Maintenance(is_on=False, env_value=True, by_endpoint=True, changed_at=1.0)

SETTLED: list[tuple[str, Maintenance | None, bool, Maintenance]] = [
    ("nothing there", None, True, Maintenance(is_on=True, env_value=True, changed_at=9.0)),
    ("nothing there, off", None, False, Maintenance(False, False, changed_at=9.0)),
    ("the endpoint wins", SET_BY_HAND, False, SET_BY_HAND),
    ("the endpoint wins, off", SET_OFF_BY_HAND, True, SET_OFF_BY_HAND),
    ("a change wins", SET_BY_HAND, True, Maintenance(True, True, changed_at=9.0)),
    ("a change wins, off", SET_OFF_BY_HAND, False, Maintenance(False, False, changed_at=9.0)),
]


@pytest.mark.parametrize(("found", "env_value", "settled"), [row[1:] for row in SETTLED])
def test_only_a_change_of_the_setting_overrides_the_endpoint(
    found: Maintenance | None, env_value: bool, settled: Maintenance
) -> None:
    assert settle(found, env_value, 9.0) == settled


OPEN_END = Maintenance(is_on=True, env_value=False, by_endpoint=True)
ENDS_AT_9 = Maintenance(is_on=True, env_value=False, by_endpoint=True, until=9.0)
OFF = Maintenance(is_on=False, env_value=False, until=9.0)


@pytest.mark.parametrize(
    ("record", "now", "is_over"),
    [
        (OPEN_END, 1e12, False),
        (ENDS_AT_9, 8.999, False),
        (ENDS_AT_9, 9.0, True),
        (ENDS_AT_9, 1e12, True),
        (OFF, 10.0, False),
    ],
)
def test_maintenance_is_over_from_its_end_on(
    record: Maintenance, now: float, is_over: bool
) -> None:
    assert record.is_over(now) is is_over


@pytest.mark.parametrize(
    ("record", "earlier", "now", "ended"),
    [
        (ENDS_AT_9, 8.0, 8.5, False),
        (ENDS_AT_9, 8.5, 9.0, True),
        (ENDS_AT_9, 8.5, 20.0, True),
        (ENDS_AT_9, 9.0, 20.0, False),
        (ENDS_AT_9, 20.0, 8.0, False),
        (OPEN_END, 0.0, 1e12, False),
        (OFF, 8.0, 10.0, False),
    ],
)
def test_an_end_lies_between_two_looks_only_once(
    record: Maintenance, earlier: float, now: float, ended: bool
) -> None:
    assert record.ended_between(earlier, now) is ended
