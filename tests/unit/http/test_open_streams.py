"""Places for streams: exact at the limit, and how long a refused one is told to wait."""

from __future__ import annotations

import pytest

from app.errors import WorkerBusy
from app.http.open_streams import OpenStreams


def test_the_limit_is_exact() -> None:
    streams = OpenStreams(3)
    places = []
    for _ in range(3):
        streams.check("key")
        places.append(streams.reserve("key"))
    for refuse in (streams.check, streams.reserve):
        with pytest.raises(WorkerBusy, match="has 3 streams open") as refused:
            refuse("key")
        assert refused.value.retry_after_s == 1
    assert streams.shares.used == 3
    places[1].release()
    streams.reserve("key")
    assert streams.shares.used == 3


def test_a_place_goes_back_once_however_often_the_request_ends() -> None:
    streams = OpenStreams(2)
    one, other = streams.reserve("key"), streams.reserve("key")
    for _ in range(3):
        one.release()
    assert streams.shares.used == 1
    other.release()
    assert streams.shares.used == 0


def test_who_was_refused_a_place_has_taken_none() -> None:
    streams = OpenStreams(1)
    streams.reserve("key")
    with pytest.raises(WorkerBusy):
        streams.reserve("key")
    assert streams.shares.used == 1


def test_a_key_leaves_places_to_others_and_is_told_that_it_is_its_share() -> None:
    streams = OpenStreams(4, is_split=True)
    for _ in range(3):
        streams.reserve("greedy")
    for refuse in (streams.check, streams.reserve):
        with pytest.raises(WorkerBusy, match="Your key has as many streams open") as refused:
            refuse("greedy")
        assert refused.value.retry_after_s == 1
    streams.check("other")
    streams.reserve("other")
    with pytest.raises(WorkerBusy, match="has 4 streams open"):
        streams.check("third")
