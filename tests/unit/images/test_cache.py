from __future__ import annotations

import pytest

from app.images.cache import KEPT_S, Image, ImageCache, may_be_kept

URL = "https://a.test/x.png"


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def image(size: int = 3, *, kept: bool = True) -> Image:
    return Image("x" * size, size, 1, kept)


def test_an_owner_gets_back_its_own_and_nobody_elses() -> None:
    cache = ImageCache()
    cache.put("one", URL, image())
    assert cache.get("one", URL) == image()
    assert cache.get("two", URL) is None
    assert cache.get("one", URL + "?") is None


def test_nothing_lives_longer_than_it_may_however_often_it_is_used() -> None:
    clock = Clock()
    cache = ImageCache(clock=clock)
    cache.put("one", URL, image())
    for _ in range(3):
        clock.now += KEPT_S / 3 - 0.1
        assert cache.get("one", URL) is not None
    clock.now += 0.3
    assert cache.get("one", URL) is None
    assert repr(cache).startswith("<ImageCache 0 images, 0 of ")


def test_what_is_stale_goes_whatever_is_asked_for() -> None:
    clock = Clock()
    cache = ImageCache(clock=clock)
    cache.put("one", URL, image())
    clock.now += KEPT_S
    assert cache.get("one", "another") is None
    assert repr(cache).startswith("<ImageCache 0 images, 0 of ")


def test_what_must_not_be_kept_is_not_and_replaces_what_was() -> None:
    cache = ImageCache()
    cache.put("one", URL, image())
    cache.put("one", URL, image(kept=False))
    assert cache.get("one", URL) is None


def test_the_one_used_longest_ago_makes_room() -> None:
    cache = ImageCache(3 * 2000)
    for url in "abc":
        cache.put("one", url, image(1000))
    assert cache.get("one", "a")
    cache.put("one", "d", image(2000))
    assert [url for url in "abcd" if cache.get("one", url)] == ["a", "c", "d"]


def test_who_has_most_makes_room_and_it_is_counted() -> None:
    evicted: list[str] = []
    cache = ImageCache(3 * 2000, on_evicted=lambda: evicted.append("x"))
    cache.put("modest", URL, image(1000))
    for number in range(9):
        cache.put("greedy", str(number), image(1000))
    assert cache.get("modest", URL)
    assert len(evicted) == 7


def test_the_bytes_are_bounded_however_small_the_images() -> None:
    cache = ImageCache(10_000)
    cache.put("one", URL, image(10_000))
    assert cache.get("one", URL) is None, "larger than everything"
    for number in range(100):
        cache.put("one", str(number), image())
    assert cache.get("one", "0") is None
    assert cache.get("one", "99")
    assert repr(cache) == "<ImageCache 19 images, 9785 of 10000 bytes>"


def test_the_same_again_takes_no_more_room() -> None:
    cache = ImageCache()
    cache.put("one", URL, image())
    before = repr(cache)
    cache.put("one", URL, image())
    assert repr(cache) == before


def test_no_bytes_keep_nothing() -> None:
    cache = ImageCache(0)
    cache.put("one", URL, image())
    assert cache.get("one", URL) is None


@pytest.mark.parametrize(
    ("headers", "kept"),
    [
        ({}, True),
        ({"Cache-Control": ""}, True),
        ({"Cache-Control": "public, immutable"}, True),
        ({"Cache-Control": "private, immutable"}, False),
        ({"Cache-Control": "no-store"}, False),
        ({"Cache-Control": "public, No-Store , max-age=60"}, False),
        ({"Cache-Control": 'no-cache="set-cookie"'}, False),
        ({"Cache-Control": "max-age=60"}, True),
        ({"Cache-Control": 'public,MAX-AGE="60"'}, True),
        ({"Cache-Control": "max-age=0"}, False),
        ({"Cache-Control": "max-age=60, s-maxage=0"}, False),
        ({"Cache-Control": "max-age=soon"}, True),
        ({"Vary": "Accept"}, True),
        ({"Vary": "*"}, False),
    ],
)
def test_the_server_says_whether(headers: dict[str, str], kept: bool) -> None:
    assert may_be_kept(headers) is kept
