"""Places for streams: exact at the limit, and how long a refused one is told to wait."""

from __future__ import annotations

import pytest

from app.errors import WorkerBusy
from app.http.open_streams import OpenStreams


def test_the_limit_is_exact() -> None:
    streams = OpenStreams(3)
    places = []
    for _ in range(3):
        streams.check()
        places.append(streams.reserve())
    for refuse in (streams.check, streams.reserve):
        with pytest.raises(WorkerBusy, match="has 3 streams open") as refused:
            refuse()
        assert refused.value.retry_after_s == 1
    assert streams.used == 3
    places[1].release()
    streams.reserve()
    assert streams.used == 3


def test_a_place_goes_back_once_however_often_the_request_ends() -> None:
    streams = OpenStreams(2)
    one, other = streams.reserve(), streams.reserve()
    for _ in range(3):
        one.release()
    assert streams.used == 1
    other.release()
    assert streams.used == 0


def test_who_was_refused_a_place_has_taken_none() -> None:
    streams = OpenStreams(1)
    streams.reserve()
    with pytest.raises(WorkerBusy):
        streams.reserve()
    assert streams.used == 1
