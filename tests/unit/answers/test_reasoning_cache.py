from typing import Any

from app.answers.reasoning_cache import ReasoningCache


def thought(text: str) -> dict[str, Any]:
    return {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": text}


def calls(*ids: str) -> list[dict[str, Any]]:
    return [{"type": "function_call", "call_id": call_id} for call_id in ids]


def texts(items: Any) -> list[str]:
    return [item.get("encrypted_content") or item["call_id"] for item in items]


def test_a_thought_stands_before_the_call_that_it_led_to() -> None:
    store = ReasoningCache()
    store.keep("ann", "b", [thought("1"), thought("2")])
    assert texts(store.with_reasoning("ann", calls("a", "b", "c"))) == ["a", "1", "2", "b", "c"]


def test_a_thought_belongs_to_the_key_that_paid_for_it() -> None:
    store = ReasoningCache()
    store.keep("ann", "a", [thought("1")])
    assert texts(store.with_reasoning("bob", calls("a"))) == ["a"]


def test_nothing_is_kept_of_a_call_without_a_thought() -> None:
    store = ReasoningCache()
    store.keep("ann", "a", [])
    assert repr(store) == "<ReasoningCache 0 calls, 0 bytes>"


def test_the_same_call_is_kept_once_and_the_upstreams_id_not_at_all() -> None:
    store = ReasoningCache()
    store.keep("ann", "a", [thought("old")])
    store.keep("ann", "a", [thought("new")])
    (item, _) = store.with_reasoning("ann", calls("a"))
    assert item == {"type": "reasoning", "summary": [], "encrypted_content": "new"}


def test_the_oldest_goes_first_when_the_room_is_used_up() -> None:
    store = ReasoningCache(max_bytes=25_000)
    for name in "abc":
        store.keep("ann", name, [thought(name * 10_000)])
    kept = [text[0] for text in texts(store.with_reasoning("ann", calls("a", "b", "c")))]
    assert kept == ["a", "b", "b", "c", "c"]


def test_small_thoughts_cost_something_too() -> None:
    store = ReasoningCache(max_bytes=25_000)
    for number in range(1000):
        store.keep("ann", str(number), [thought("x")])
    assert len(store.with_reasoning("ann", calls(*map(str, range(1000))))) < 1100
