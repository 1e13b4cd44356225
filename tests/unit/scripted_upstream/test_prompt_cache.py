"""The model of OpenAI's prompt cache, from tables of requests."""

from __future__ import annotations

from typing import Any

import pytest

from scripted_upstream.prompt_cache import LEAST_TOKENS, STEP_TOKENS, PromptCache

LIFETIME_S = 300.0
TOKEN = 4  # characters


def user(text: str, **more: Any) -> dict[str, Any]:
    part = {"type": "input_text", "text": text}
    return {**more, "type": "message", "role": "user", "content": [part]}


def request(*items: Any, key: str = "k", **more: Any) -> dict[str, Any]:
    return {"model": "m", "prompt_cache_key": key, "input": list(items), **more}


@pytest.fixture
def cache() -> PromptCache:
    return PromptCache(LIFETIME_S)


LONG = user("a" * TOKEN * 2000)
OTHER = user("b" * TOKEN * 2000)


def test_tokens_are_four_characters_of_everything_that_the_model_is_given(
    cache: PromptCache,
) -> None:
    bare = cache.charge("s", request(user("")), 0).input_tokens
    assert cache.charge("s", request(user("x" * 400)), 0).input_tokens == bare + 100
    with_tools = request(user(""), tools=[{"type": "function", "description": "d" * 4000}])
    assert cache.charge("s", with_tools, 0).input_tokens > bare + 1000
    assert cache.charge("s", request(user("é" * 400)), 0).input_tokens == bare + 100


def test_nothing_is_cached_the_first_time_and_whole_steps_are_the_second(
    cache: PromptCache,
) -> None:
    assert cache.charge("s", request(LONG), 0).cached_tokens == 0
    again = cache.charge("s", request(LONG), 1)
    assert again.cached_tokens == again.input_tokens // STEP_TOKENS * STEP_TOKENS


def test_a_conversation_that_grows_has_its_past_cached(cache: PromptCache) -> None:
    before = cache.charge("s", request(LONG), 0)
    grown = cache.charge("s", request(LONG, OTHER), 1)
    assert 0 <= before.input_tokens - grown.cached_tokens < STEP_TOKENS
    assert grown.input_tokens > before.input_tokens + 2000


@pytest.mark.parametrize(
    ("tokens", "is_cached"), [(LEAST_TOKENS - 200, False), (LEAST_TOKENS + STEP_TOKENS, True)]
)
def test_only_prompts_of_1024_tokens_are_cached(
    cache: PromptCache, tokens: int, *, is_cached: bool
) -> None:
    short = request(user("x" * TOKEN * tokens))
    cache.charge("s", short, 0)
    assert (cache.charge("s", short, 1).cached_tokens > 0) is is_cached


@pytest.mark.parametrize(
    ("session", "second"),
    [
        ("another", request(LONG)),
        ("s", request(LONG, key="another")),
        ("s", {**request(LONG), "model": "another"}),
        ("s", request(LONG, tools=[{"type": "function", "name": "f"}])),
        ("s", request(user("at first"), LONG)),
    ],
    ids=["session", "key", "model", "tools", "beginning"],
)
def test_a_prompt_that_differs_in_the_beginning_or_in_who_sends_it_is_not_cached(
    cache: PromptCache, session: str, second: dict[str, Any]
) -> None:
    cache.charge("s", request(LONG), 0)
    assert cache.charge(session, second, 1).cached_tokens == 0


def test_what_differs_in_the_middle_is_cached_up_to_there(cache: PromptCache) -> None:
    cache.charge("s", request(LONG, LONG), 0)
    forked = cache.charge("s", request(LONG, OTHER), 1)
    assert 2000 - STEP_TOKENS < forked.cached_tokens < 2100


def test_ids_and_states_of_items_are_no_part_of_a_prompt(cache: PromptCache) -> None:
    cache.charge("s", request(user("a" * 8000, id="msg_1", status="completed")), 0)
    assert cache.charge("s", request(user("a" * 8000, id="msg_2")), 1).cached_tokens > LEAST_TOKENS


def test_a_prefix_is_forgotten_once_it_was_not_used_for_its_lifetime(cache: PromptCache) -> None:
    cache.charge("s", request(LONG), 0)
    assert cache.charge("s", request(LONG), LIFETIME_S).cached_tokens > 0
    # That was a use: the lifetime begins again.
    assert cache.charge("s", request(LONG), 2 * LIFETIME_S).cached_tokens > 0
    assert cache.charge("s", request(LONG), 3 * LIFETIME_S + 1).cached_tokens == 0


def test_memory_is_bounded_and_the_latest_stay(
    cache: PromptCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scripted_upstream.prompt_cache.MAX_STEPS", 20)
    for number in range(10):
        cache.charge("s", request(user(f"{number}" * 8000)), number)
    assert repr(cache) == "<PromptCache 20 steps>"
    assert cache.charge("s", request(user("9" * 8000)), 10).cached_tokens > 0
    assert cache.charge("s", request(user("0" * 8000)), 10).cached_tokens == 0


def test_an_input_that_is_a_text_counts_too(cache: PromptCache) -> None:
    plain = {"model": "m", "input": "x" * 8000}
    assert cache.charge("", plain, 0).input_tokens == pytest.approx(2000, abs=2)
    assert cache.charge("", plain, 1).cached_tokens >= LEAST_TOKENS
