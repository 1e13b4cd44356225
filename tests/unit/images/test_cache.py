from __future__ import annotations

import math

import pytest

from app.images.cache import MAX_AGE_S, MAX_ENTRIES, Image, ImageCache, freshness_s

URL = "https://a.test/x.png"


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def image(size: int = 3, fresh_s: float = math.inf) -> Image:
    return Image("x" * size, size, fresh_s)


def test_an_owner_gets_back_its_own_and_nobody_elses() -> None:
    cache = ImageCache()
    cache.put("one", URL, image())
    assert cache.get("one", URL) == image()
    assert cache.get("two", URL) is None
    assert cache.get("one", URL + "?") is None


@pytest.mark.parametrize(("fresh_s", "life_s"), [(math.inf, MAX_AGE_S), (7.0, 7.0), (1e9, 300)])
def test_nothing_lives_longer_than_it_may_however_often_it_is_used(
    fresh_s: float, life_s: float
) -> None:
    clock = Clock()
    cache = ImageCache(clock=clock)
    cache.put("one", URL, image(fresh_s=fresh_s))
    clock.now += life_s - 0.5
    assert cache.get("one", URL) is not None
    clock.now += 0.5
    assert cache.get("one", URL) is None
    assert repr(cache).startswith("<ImageCache 0 images, 0 of ")


def test_what_is_stale_goes_whatever_is_asked_for() -> None:
    clock = Clock()
    cache = ImageCache(clock=clock)
    cache.put("one", URL, image())
    clock.now += MAX_AGE_S
    assert cache.get("one", "another") is None
    assert repr(cache).startswith("<ImageCache 0 images, 0 of ")


def test_what_must_not_be_kept_is_not_and_replaces_what_was() -> None:
    cache = ImageCache()
    cache.put("one", URL, image())
    cache.put("one", URL, image(fresh_s=0))
    assert cache.get("one", URL) is None


def test_the_one_used_longest_ago_makes_room() -> None:
    cache = ImageCache(3 * 2000)
    for url in "abc":
        cache.put("one", url, image(1000))
    assert cache.get("one", "a")
    cache.put("one", "d", image(2000))
    assert [url for url in "abcd" if cache.get("one", url)] == ["a", "c", "d"]


def test_the_bytes_are_bounded_and_the_number_is() -> None:
    cache = ImageCache(10_000)
    cache.put("one", URL, image(10_000))
    assert cache.get("one", URL) is None, "larger than everything"
    many = ImageCache()
    for number in range(MAX_ENTRIES + 1):
        many.put("one", str(number), image())
    assert many.get("one", "0") is None
    assert many.get("one", "1")
    assert repr(many).startswith(f"<ImageCache {MAX_ENTRIES} images, ")


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
    ("headers", "seconds"),
    [
        ({}, MAX_AGE_S),
        ({"Cache-Control": ""}, MAX_AGE_S),
        ({"Cache-Control": "private, immutable"}, MAX_AGE_S),
        ({"Cache-Control": "no-store"}, 0),
        ({"Cache-Control": "public, No-Store , max-age=60"}, 0),
        ({"Cache-Control": 'no-cache="set-cookie"'}, 0),
        ({"Cache-Control": "max-age=60"}, 60),
        ({"Cache-Control": 'public,MAX-AGE="60"'}, 60),
        ({"Cache-Control": "max-age=60, s-maxage=20"}, 20),
        ({"Cache-Control": "max-age=60", "Age": "50"}, 10),
        ({"Cache-Control": "max-age=60", "Age": "70"}, 0),
        ({"Cache-Control": "max-age=60", "Age": "x"}, 60),
        ({"Cache-Control": "max-age=0"}, 0),
        ({"Cache-Control": "max-age=-1"}, 0),
        ({"Cache-Control": "max-age"}, 0),
        ({"Cache-Control": "max-age=soon"}, 0),
        ({"Vary": "Accept"}, MAX_AGE_S),
        ({"Vary": "*"}, 0),
    ],
)
def test_the_server_says_how_long(headers: dict[str, str], seconds: float) -> None:
    assert freshness_s(headers) == seconds
