"""Summaries in compaction items: there and back, of others, damaged."""

from __future__ import annotations

import base64
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.api.compaction import packed, unpacked


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_a_summary_comes_back(text: str) -> None:
    found = unpacked(packed(text))
    assert found is not None
    assert found.startswith("Summary of the conversation so far")
    assert found.endswith(text)


@pytest.mark.parametrize("content", ["", "gAAAA", "codex-api-summary-2:x"])
def test_the_item_of_another_maker_is_not_ours(content: str) -> None:
    assert unpacked(content) is None


MARK = packed("").partition(":")[0] + ":"


@pytest.mark.parametrize(
    "content",
    [
        MARK,
        f"{MARK}!",
        packed("text")[:-4],
        MARK + base64.b64encode(b"no zlib").decode(),
        MARK + base64.b64encode(zlib.compress(b"\xff")).decode(),
        packed("x" * (1 << 21)),
    ],
)
def test_what_is_damaged_or_too_long_is_told(content: str) -> None:
    with pytest.raises(ValueError, match=r"damaged|cut off"):
        unpacked(content)
