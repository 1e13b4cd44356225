"""Places for streams: exact at the limit, and given back with the request."""

from __future__ import annotations

from collections import Counter

import pytest

from app.errors import WorkerBusy
from app.http.disconnect import DisconnectWatcher
from app.http.open_streams import OpenStreams
from app.http.request_lifetime import RequestLifetime
from app.observability.requests import RequestRecord


def life() -> RequestLifetime:
    return RequestLifetime({}, DisconnectWatcher(), Counter())


def record() -> RequestRecord:
    return RequestRecord("req_1", "POST")


def test_the_limit_is_exact() -> None:
    streams, lives = OpenStreams(3), [life() for _ in range(3)]
    for each in lives:
        streams.check(record())
        streams.take(record(), each)
    one_more = record()
    for refuse in (streams.check, lambda r: streams.take(r, life())):
        with pytest.raises(WorkerBusy, match="has 3 streams open") as refused:
            refuse(one_more)
        assert refused.value.retry_after_s == 1
    assert one_more.full_queue == "streams"
    assert streams.count == 3
    lives[1].end()
    streams.take(record(), life())
    assert streams.count == 3


def test_a_place_goes_back_once_however_often_the_request_ends() -> None:
    streams, one, other = OpenStreams(2), life(), life()
    streams.take(record(), one)
    streams.take(record(), other)
    for _ in range(3):
        one.end()
    assert streams.count == 1
    other.end()
    assert streams.count == 0


def test_who_was_refused_a_place_gives_none_back() -> None:
    streams, one, refused = OpenStreams(1), life(), life()
    streams.take(record(), one)
    with pytest.raises(WorkerBusy):
        streams.take(record(), refused)
    refused.end()
    assert streams.count == 1
