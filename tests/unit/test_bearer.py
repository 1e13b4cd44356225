"""Whose key a header has."""

from __future__ import annotations

import pytest

from app.bearer import caller_name, refusal

KEYS = {"default": b"sk-one", "ann": b"sk-two"}


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ("Bearer sk-one", "default"),
        ("Bearer sk-two", "ann"),
        ("bEARER   sk-two ", "ann"),
        ("", None),
        ("Bearer", None),
        ("Bearer ", None),
        ("Basic sk-one", None),
        ("sk-one", None),
        ("Bearer sk-on", None),
        ("Bearer sk-onee", None),
        ("Bearer SK-ONE", None),
        ("Bearer sk-one,Bearer sk-two", None),
        ("Bearer sk\udcffone", None),
        ("Bearer s\N{LATIN SMALL LETTER O WITH DIAERESIS}", None),
    ],
)
def test_a_key_is_found_by_its_exact_spelling(header: str, name: str | None) -> None:
    assert caller_name(KEYS, header) == name


def test_nobody_has_a_key_where_there_is_none() -> None:
    assert caller_name({}, "Bearer ") is None


def test_a_refusal_quotes_nothing() -> None:
    assert "sk-" not in refusal("Bearer sk-wrong")
    assert refusal("") != refusal("Bearer sk-wrong")
