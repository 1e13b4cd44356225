"""Places of connections where room runs out: 100 of them, of which 25 are kept free."""

from __future__ import annotations

import pytest

from app.runtime.first_bytes import FirstBytes
from app.runtime.places import Places

PROBE, REQUEST = FirstBytes(True, True, ""), FirstBytes(True, False, "")
MANY = 50
FOREVER, JUST_NOW = 9, 0


@pytest.mark.parametrize(("count", "kept_free"), [(3000, 32), (128, 32), (100, 25), (32, 8)])
def test_how_many_are_kept_free(count: int, kept_free: int) -> None:
    assert Places(count).kept_free == kept_free


@pytest.mark.parametrize(
    ("first", "caller", "held", "free", "waited", "finds"),
    [
        pytest.param(PROBE, None, 0, 1, JUST_NOW, True, id="a probe, always"),
        pytest.param(REQUEST, None, 0, 24, 2, True, id="a stranger for who has waited long"),
        pytest.param(REQUEST, None, 0, 24, 1, False, id="a stranger for who has waited less"),
        pytest.param(REQUEST, None, 0, 18, FOREVER, False, id="too many strangers at once"),
        pytest.param(REQUEST, "key", 0, 1, 1, True, id="a key for who has waited less"),
        pytest.param(REQUEST, "key", 49, 7, JUST_NOW, True, id="a key on what is kept free"),
        pytest.param(REQUEST, "key", 49, 6, JUST_NOW, False, id="but for the last quarter"),
        pytest.param(REQUEST, "key", MANY, 24, 1, False, id="a key that has many, as a stranger"),
        pytest.param(REQUEST, "key", MANY, 24, 2, True, id="the same"),
        pytest.param(REQUEST, "key", MANY, 18, FOREVER, False, id="the same, too many at once"),
    ],
)
def test_who_finds_room(
    first: FirstBytes, caller: str | None, held: int, free: int, waited: int, finds: bool
) -> None:
    places = Places(100)
    places.enter("another key")
    for _ in range(held + 1):
        places.enter(caller)
    places.leave(caller)
    assert places.finds_room(first, caller, free, lambda moments: moments <= waited) is finds


@pytest.mark.parametrize(("free", "waited", "finds"), [(7, 0, True), (6, 0, False), (6, 1, True)])
def test_a_key_that_is_the_only_one_is_in_nobodys_way(free: int, waited: int, finds: bool) -> None:
    places = Places(100)
    for caller in [None, *["key"] * 99]:
        places.enter(caller)
    places.enter("another key")
    places.leave("another key")
    assert places.finds_room(REQUEST, "key", free, lambda moments: moments <= waited) is finds


def test_nobody_ends_for_one_that_is_not_let_in() -> None:
    asked: list[int] = []

    def make_room(moments: int) -> bool:
        asked.append(moments)
        return True

    assert not Places(100).finds_room(REQUEST, None, 18, make_room)
    assert asked == []
