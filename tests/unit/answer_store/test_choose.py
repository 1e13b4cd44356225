"""Which store the settings ask for; none of them opens anything by being made."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.answer_store.choose import choose_store
from app.answer_store.stored_answer import Hooks


@pytest.mark.parametrize(
    ("asked", "kind", "is_on"),
    [
        ("off", "off", False),
        ("sqlite", "sqlite", True),
        ("redis://:canary@127.0.0.1:9/0", "redis", True),
        ("unix:///nowhere/redis.sock", "redis", True),
    ],
)
def test_the_store_that_is_asked_for(tmp_path: Path, asked: str, kind: str, is_on: bool) -> None:
    store = choose_store(asked, tmp_path / "gateway", 1 << 30, 60, Hooks())
    assert (store.kind, store.is_on) == (kind, is_on)
    assert "canary" not in repr(store)
    assert list(tmp_path.iterdir()) == []
    store.close()
