"""What an answer costs, and what may be an id."""

from __future__ import annotations

import pytest

from app.answer_store.no_store import NoStore
from app.answer_store.stored_answer import StoredAnswer, Totals, is_id


def test_an_answer_costs_its_json_and_its_row() -> None:
    empty = StoredAnswer("resp_1", "ann", 1, None, b"", b"", b"")
    full = StoredAnswer("resp_1", "ann", 1, None, b"1" * 10, b"2" * 20, b"3" * 30)
    assert (empty.cost, full.cost) == (1024, 1084)


@pytest.mark.parametrize(
    ("text", "may_be"),
    [
        ("resp_0123456789abcdef", True),
        ("x" * 200, True),
        ("with space:and/signs", True),
        ("x" * 201, False),
        ("", False),
        ("\0", False),
        ("a\nb", False),
        ("é", False),
        ("\ud800", False),
    ],
)
def test_what_may_be_an_id(text: str, may_be: bool) -> None:
    assert is_id(text) is may_be


def test_a_store_that_is_off_keeps_and_finds_nothing() -> None:
    store = NoStore()
    answer = StoredAnswer("resp_1", "ann", 1, None, b"{}", b"[]", b"[]")
    store.start()
    store.put(answer)
    assert store.get("ann", "resp_1") is None
    assert store.chain("ann", "resp_1") is None
    assert store.delete("ann", "resp_1") is False
    assert (store.is_on, store.totals, store.problem) == (False, Totals(), None)
    store.close()
