"""Which login a file holds, by the rules of codex 0.163 and 0.171, of which each case was tried."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.codex.auth_file import LoginKind, parse

NOW = 1_800_000_000
RECENT = "2027-01-14T00:00:00.123456789Z"  # about a day before
DAY_S = 86_400


def jwt(**claims: Any) -> str:
    parts = [b'{"alg":"none"}', json.dumps(claims).encode(), b"x"]
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


GOOD_TOKENS = {
    "id_token": jwt(email="a@b"),
    "access_token": jwt(exp=NOW + 3600),
    "refresh_token": "r",
    "account_id": "acc",
}
GOOD = {"OPENAI_API_KEY": None, "tokens": GOOD_TOKENS, "last_refresh": RECENT}


def chatgpt(tokens: Mapping[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    return {**GOOD, "tokens": {**GOOD_TOKENS, **(tokens or {})}, **more}


def without(found: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in found.items() if key != name}


USABLE = [
    ({"OPENAI_API_KEY": "sk-x"}, LoginKind.API_KEY),
    ({"OPENAI_API_KEY": "sk-x", "auth_mode": "apikey"}, LoginKind.API_KEY),
    ({"OPENAI_API_KEY": "sk-x", "auth_mode": None, "tokens": None}, LoginKind.API_KEY),
    (chatgpt(OPENAI_API_KEY="sk-x"), LoginKind.API_KEY),
    (GOOD, LoginKind.CHATGPT),
    (without(GOOD, "OPENAI_API_KEY"), LoginKind.CHATGPT),
    (chatgpt(auth_mode="chatgpt"), LoginKind.CHATGPT),
    (chatgpt(auth_mode="chatgpt", OPENAI_API_KEY="sk-x"), LoginKind.CHATGPT),
    (chatgpt(auth_mode="chatgptAuthTokens"), LoginKind.CHATGPT),
    (chatgpt({"refresh_token": "", "account_id": None}), LoginKind.CHATGPT),
    (chatgpt({"access_token": "opaque"}), LoginKind.CHATGPT),
]


@pytest.mark.parametrize(("content", "kind"), USABLE)
def test_a_login(content: Any, kind: LoginKind) -> None:
    found = parse(json.dumps(content).encode())
    assert (found.kind, found.is_usable, found.problem) == (kind, True, "")


TORN = [b"", b"  \n", b'{"OPENAI_API', json.dumps(GOOD).encode()[:-1], b"\x00" * 40, b"\xff\xfe{}"]
USELESS: list[Any] = [
    {},
    None,
    [],
    5,
    "sk-x",
    {"OPENAI_API_KEY": None},
    {"OPENAI_API_KEY": ""},
    {"OPENAI_API_KEY": "  "},
    {"OPENAI_API_KEY": "sk-x\n"},
    {"OPENAI_API_KEY": "schlüssel"},
    {"OPENAI_API_KEY": 5},
    {"auth_mode": "apikey"},
    {"auth_mode": "chatgpt", "OPENAI_API_KEY": "sk-x"},
    {"auth_mode": "weird", "OPENAI_API_KEY": "sk-x"},
    {"auth_mode": 1, "OPENAI_API_KEY": "sk-x"},
    {"tokens": {}},
    {"tokens": []},
    {"tokens": "x", "last_refresh": RECENT},
    {"personal_access_token": "at-x"},
    chatgpt({"access_token": ""}),
    chatgpt({"access_token": None}),
    chatgpt({"refresh_token": None}),
    chatgpt({"id_token": "x"}),
    chatgpt({"id_token": "a.%%%.c"}),
    chatgpt(last_refresh=None),
    chatgpt(last_refresh="yesterday"),
    chatgpt(last_refresh="2027-01-14T00:00:00"),
    without(GOOD, "last_refresh"),
]


@pytest.mark.parametrize("content", USELESS)
def test_no_login(content: Any) -> None:
    found = parse(json.dumps(content, ensure_ascii=False).encode())
    assert not found.is_usable
    assert not found.is_torn
    assert found.problem.endswith((".", ")"))


@pytest.mark.parametrize("content", TORN)
def test_a_torn_file(content: bytes) -> None:
    found = parse(content)
    assert (found.is_usable, found.is_torn) == (False, True)


@given(
    st.binary()
    | st.recursive(
        st.none() | st.text() | st.integers(),
        lambda it: (
            st.lists(it)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "tokens",
                        "OPENAI_API_KEY",
                        "access_token",
                        "id_token",
                        "last_refresh",
                        "auth_mode",
                    ]
                ),
                it,
            )
        ),
    ).map(lambda it: json.dumps(it).encode())
)
def test_any_content_is_a_login_or_has_a_problem(content: bytes) -> None:
    found = parse(content)
    assert found.is_usable != bool(found.problem)


DUE = [
    (GOOD, NOW, False),
    (GOOD, NOW + 3600 - 361, False),
    (GOOD, NOW + 3600 - 360, True),  # codex: from 300 s before the end
    (GOOD, NOW + 9 * DAY_S, True),
    (chatgpt({"access_token": "opaque"}), NOW, False),
    (chatgpt({"access_token": "opaque"}), NOW + 9 * DAY_S, True),
    (chatgpt(last_refresh="2020-01-01T00:00:00Z"), NOW, False),  # the expiry counts
    (
        without(chatgpt({"access_token": jwt(exp=NOW)}), "last_refresh"),
        NOW,
        True,
    ),  # it renews that, too
    (chatgpt(auth_mode="chatgptAuthTokens"), NOW + 9 * DAY_S, False),
    ({"OPENAI_API_KEY": "sk-x"}, NOW, False),
    (chatgpt({"access_token": jwt(exp=NOW)}, OPENAI_API_KEY="sk-x"), NOW, False),
    ({}, NOW, False),
]


@pytest.mark.parametrize(("content", "now", "is_due"), DUE)
def test_when_codex_renews(content: Any, now: float, is_due: bool) -> None:
    assert parse(json.dumps(content).encode()).is_due(now) is is_due


def test_what_is_due_soon_and_what_has_ended() -> None:
    found = parse(json.dumps(GOOD).encode())
    assert found.is_due(NOW + 2700, ahead_s=600)
    assert not found.is_due(NOW + 2600, ahead_s=600)
    assert [found.is_expired(at) for at in (NOW + 3599, NOW + 3600)] == [False, True]
