"""Sentences of others: without keys, colours and control characters, in one line, and not for ever."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.scrub import MOST, one_line, without_secrets


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("no https://me:hunter2@host:1/v1 there", "no https://host:1/v1 there"),
        ("url (https://host/v1?api-key=abc#x)", "url (https://host/v1)"),
        ('{"api_key": "abc", "n": 1}', '{"api_key": "[hidden]", "n": 1}'),
        ("password=abc refresh_token: def", "password=[hidden] refresh_token: [hidden]"),
        ("no http://me:hun@ter2@host:1/v1 there", "no http://host:1/v1 there"),
        ("Authorization: Basic bWU6aHVudGVy is sent", "Authorization: [hidden] is sent"),
        ("Bearer abc.def and sk-12345678", "[hidden] and [hidden]"),
        ("failed to open /home/me/state_5.sqlite", "failed to open /home/me/state_5.sqlite"),
        ("the token is due", "the token is due"),
    ],
)
def test_secrets_are_hidden(text: str, shown: str) -> None:
    assert without_secrets(text) == shown


def test_one_line() -> None:
    assert one_line("\x1b[31mERROR\x1b[0m  it\n failed\t\x07") == "ERROR it failed"


@given(st.text())
def test_whatever_comes_is_one_short_line(text: str) -> None:
    line = one_line(text, 50)
    assert len(line) <= 50
    assert line.isprintable() or not line.isascii()


def test_what_is_long_is_cut() -> None:
    assert len(one_line("x" * 100_000)) == MOST
