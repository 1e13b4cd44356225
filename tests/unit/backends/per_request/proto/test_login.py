"""What of a login is lent to a `codex proto`."""

from __future__ import annotations

import json
from typing import Any

import pytest

from app.backends.per_request.proto.login import lent

NOW = 1_790_000_000.0
TOKENS = {"id_token": "i", "access_token": "a", "refresh_token": "r", "account_id": "acc"}
LENT = {
    "OPENAI_API_KEY": None,
    "tokens": TOKENS | {"refresh_token": ""},
    "last_refresh": "2026-09-21T14:13:20+00:00",
}
KEY = {"OPENAI_API_KEY": "sk-1"}


@pytest.mark.parametrize(
    ("stored", "copy"),
    [
        (KEY, KEY),
        (KEY | {"auth_mode": "apikey", "tokens": TOKENS}, KEY),
        ({"OPENAI_API_KEY": None, "tokens": TOKENS, "last_refresh": "2020-01-01T00:00:00Z"}, LENT),
        (KEY | {"auth_mode": "chatgpt", "tokens": TOKENS}, LENT),
        ({"auth_mode": "chatgpt", "tokens": None}, {"OPENAI_API_KEY": None}),
    ],
)
def test_what_renews_it_stays_here(stored: Any, copy: Any) -> None:
    assert json.loads(lent(json.dumps(stored).encode(), NOW)) == copy


@pytest.mark.parametrize("content", [b"", b"{", b"[]"])
def test_what_is_no_login_is_not_lent(content: bytes) -> None:
    with pytest.raises(OSError, match="perhaps it is being written"):
        lent(content, NOW)
