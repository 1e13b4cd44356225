"""What is kept of a request's items, and the ids under which they are listed."""

from __future__ import annotations

from typing import Any

from app.api.responses.input_list import with_distinct_ids, with_ids

KEPT = {"type": "message", "id": "a", "role": "assistant", "content": "kept"}


def said(content: str, item_id: Any) -> dict[str, Any]:
    return {"type": "message", "id": item_id, "role": "user", "content": content}


def test_only_what_refers_to_an_item_is_replaced_by_it() -> None:
    own = said("own words", "a")
    given = with_ids([{"id": "a"}, own, {"type": "item_reference", "id": "a"}], "s", {"a": KEPT})
    assert given == [KEPT, own, KEPT]


def test_every_listed_item_has_an_id_of_its_own() -> None:
    odd = [said("x", item_id) for item_id in ("a", "a", 5, [1], True, {"a": 1}, "b", "a")]
    listed = with_distinct_ids(odd, "s")
    ids = [item["id"] for item in listed]
    assert all(isinstance(item_id, str) for item_id in ids)
    assert len(set(ids)) == len(ids)
    assert (ids[0], ids[6]) == ("a", "b")
    longer = with_distinct_ids([*odd, said("y", 5)], "s")
    assert longer[: len(listed)] == listed, "the same in every list that begins with them"
