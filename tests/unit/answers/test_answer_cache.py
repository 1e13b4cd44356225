"""What is kept of an answer, and when it takes the place of what a client echoes."""

from typing import Any

import pytest

from app.answers.answer_cache import AnswerCache, Owner, without_reasoning
from app.backend.request import Item

ANN = Owner("ann", "login", "gpt")
HI: Item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]}
DEEP = '{"a":' * 2000 + "1" + "}" * 2000
OUTPUT: Item = {"type": "function_call_output", "call_id": "c0", "output": "42"}


def thought(text: str = "opaque", item_id: str = "rs_1") -> Item:
    return {"type": "reasoning", "id": item_id, "summary": [], "encrypted_content": text}


def call(call_id: str = "c0", name: str = "f", arguments: str = "{}") -> Item:
    return {"type": "function_call", "call_id": call_id, "name": name, "arguments": arguments}


def said(text: str, phase: str | None = None, item_id: str = "msg_1") -> Item:
    item = {"type": "message", "id": item_id, "role": "assistant"}
    content = [{"type": "output_text", "text": text}]
    return {**item, "content": content} | ({"phase": phase} if phase else {})


def echoed(text: str) -> Item:
    content = [{"type": "output_text", "text": text}]
    return {"type": "message", "role": "assistant", "content": content}


def after(cache: AnswerCache, answer: list[Item], *before: Item, owner: Owner = ANN) -> None:
    """Keep an answer to a conversation."""
    cache.keep(owner, cache.recall(owner, before or (HI,)).mark, answer)


LOOK, FOUR = said("Let me look.", "commentary"), said("It is four.", "final_answer", "msg_2")

RECALLED: list[tuple[str, list[Item], list[Item], list[Item] | None]] = [
    ("a thought before its call", [thought(), call()], [call()], [thought(), call()]),
    (
        "each thought before what it led to",
        [thought("1", "rs_1"), LOOK, thought("2", "rs_2"), call("a"), call("b", "g")],
        [echoed("Let me look."), call("a"), call("b", "g")],
        [thought("1", "rs_1"), LOOK, thought("2", "rs_2"), call("a"), call("b", "g")],
    ),
    ("phases", [LOOK, FOUR], [echoed("Let me look.\n\nIt is four.")], [LOOK, FOUR]),
    ("what was shown as reasoning", [LOOK, FOUR], [echoed("It is four.")], [LOOK, FOUR]),
    ("text that a client trimmed", [FOUR], [echoed(" It is four.\n")], [FOUR]),
    ("text that a client left out", [LOOK, thought(), call()], [call()], [LOOK, thought(), call()]),
    (
        "text of the client's own",
        [LOOK, thought(), call()],
        [echoed("Hm."), call()],
        [echoed("Hm."), thought(), call()],
    ),
    (
        "text where there was none",
        [thought(), call()],
        [echoed("Hm."), call()],
        [echoed("Hm."), thought(), call()],
    ),
    (
        "a call under another id",
        [thought(), call("call_0")],
        [call("call_7")],
        [thought(), call("call_7")],
    ),
    (
        "a call under another id, with arguments that the client wrote anew",
        [thought(), call("call_0", arguments='{"a": 1, "b": "\\u00e9"}')],
        [call("call_7", arguments='{"b":"\u00e9","a":1}')],
        [thought(), call("call_7", arguments='{"b":"\u00e9","a":1}')],
    ),
    (
        "a structured answer, which is the last message alone",
        [said("Look.", "partial_answer"), said('{"a":1}', "final_answer", "msg_2")],
        [echoed('{"a": 1}')],
        [said("Look.", "partial_answer"), said('{"a":1}', "final_answer", "msg_2")],
    ),
    (
        "arguments that were edited",
        [thought(), call(arguments='{"a":1}')],
        [call(arguments='{"a":2}')],
        [thought(), call(arguments='{"a":2}')],
    ),
    (
        "arguments too deep to be compared",
        [thought(), call("a", arguments=DEEP)],
        [call("b", arguments=f" {DEEP}")],
        None,
    ),
    ("another answer", [LOOK, FOUR], [echoed("It is five.")], None),
    ("another call", [thought(), call("a", "f")], [call("b", "f", "[]")], None),
    ("another function", [thought(), call()], [call(name="g")], None),
    ("fewer calls", [thought(), call("a"), call("b")], [call("a")], None),
    ("more calls", [thought(), call("a")], [call("a"), call("b")], None),
    ("text for a call", [thought(), call()], [echoed("Hm.")], None),
    (
        "an answer that the client gives back whole",
        [said("It is four.")],
        [echoed("It is four.")],
        None,
    ),
    ("a thought that is not encrypted", [{"type": "reasoning", "id": "x"}, call()], [call()], None),
]


@pytest.mark.parametrize(
    ("kept", "echo", "expected"), [row[1:] for row in RECALLED], ids=[row[0] for row in RECALLED]
)
def test_what_takes_the_place_of_an_echo(
    kept: list[Item], echo: list[Item], expected: list[Item] | None
) -> None:
    cache = AnswerCache()
    after(cache, kept)
    recalled = cache.recall(ANN, [HI, *echo, OUTPUT])
    assert recalled.items == (HI, *(expected or echo), OUTPUT)
    assert recalled.is_changed is (expected is not None)


STRANGERS = [
    ("another key", Owner("bob", "login", "gpt"), [HI]),
    ("another login", Owner("ann", "other", "gpt"), [HI]),
    ("another model", Owner("ann", "login", "mini"), [HI]),
    ("another conversation", ANN, [{**HI, "role": "developer"}, HI]),
    ("no conversation", ANN, []),
]


@pytest.mark.parametrize(
    ("owner", "before"), [row[1:] for row in STRANGERS], ids=[row[0] for row in STRANGERS]
)
def test_a_thought_never_reaches(owner: Owner, before: list[Item]) -> None:
    cache = AnswerCache()
    after(cache, [thought(), call("call_0")])
    assert not cache.recall(owner, [*before, call("call_0"), OUTPUT]).is_changed


def test_every_round_of_a_conversation_is_found() -> None:
    cache = AnswerCache()
    after(cache, [thought("1"), call()])
    after(cache, [thought("2"), call("c1")], HI, call(), OUTPUT)
    (first, second) = (thought("1"), thought("2"))
    later = cache.recall(ANN, [HI, call(), OUTPUT, call("c1"), {**OUTPUT, "call_id": "c1"}, HI])
    assert [item for item in later.items if item["type"] == "reasoning"] == [first, second]


def test_the_same_question_may_have_several_answers() -> None:
    cache = AnswerCache()
    for name in "abc":
        after(cache, [thought(name), call(name)])
    for name in "abc":
        items = cache.recall(ANN, [HI, call(name)]).items
        assert items == (HI, thought(name), call(name))


def test_a_mark_is_that_of_what_the_client_sent() -> None:
    cache = AnswerCache()
    conversation = [HI, call(), OUTPUT]
    before = cache.recall(ANN, conversation)
    after(cache, [thought(), call()])
    changed = cache.recall(ANN, conversation)
    assert changed.is_changed
    assert changed.mark == before.mark
    assert cache.recall(ANN, [HI]).mark != before.mark


def test_what_codex_adds_to_an_item_is_not_given_back() -> None:
    cache = AnswerCache()
    internal = {"internal_chat_message_metadata_passthrough": {}, "status": "completed"}
    after(cache, [{**thought(), **internal}, {**LOOK, **internal}, {**call(), **internal}])
    assert cache.recall(ANN, [HI, call()]).items == (HI, thought(), LOOK, call())


def test_an_owner_can_be_forgotten() -> None:
    cache, bob = AnswerCache(), Owner("bob", "login", "gpt")
    for owner in (ANN, bob):
        after(cache, [thought(), call()], owner=owner)
    cache.forget(ANN)
    assert not cache.recall(ANN, [HI, call()]).is_changed
    assert cache.recall(bob, [HI, call()]).is_changed


def test_the_oldest_goes_first_when_the_room_is_used_up() -> None:
    cache = AnswerCache(max_bytes=25_000)
    questions: list[Item] = [{**HI, "id": name} for name in "abc"]
    for question in questions:
        after(cache, [thought("x" * 10_000), call()], question)
    found = [cache.recall(ANN, [question, call()]).is_changed for question in questions]
    assert found == [False, True, True]


def test_what_was_asked_for_lately_is_not_the_oldest() -> None:
    cache = AnswerCache(max_bytes=25_000)
    questions: list[Item] = [{**HI, "id": name} for name in "abc"]
    for question in questions[:2]:
        after(cache, [thought("x" * 10_000), call()], question)
    cache.recall(ANN, [questions[0], call()])
    after(cache, [thought("x" * 10_000), call()], questions[2])
    found = [cache.recall(ANN, [question, call()]).is_changed for question in questions]
    assert found == [True, False, True]


def test_a_key_that_has_most_makes_room_whichever_models_it_asks() -> None:
    evicted: list[str] = []
    cache = AnswerCache(max_bytes=35_000, on_evicted=lambda: evicted.append("x"))
    bob = Owner("bob", "login", "gpt")
    cache.keep(bob, cache.recall(bob, [HI]).mark, [thought("x" * 10_000), call()])
    for number in range(9):
        ann = Owner("ann", "login", f"gpt-{number}")
        cache.keep(ann, cache.recall(ann, [HI]).mark, [thought("x" * 10_000), call()])
    assert cache.recall(bob, [HI, call()]).is_changed
    assert len(evicted) == 7


def test_small_answers_and_many_to_one_question_cost_something_too() -> None:
    cache = AnswerCache(max_bytes=25_000)
    for number in range(1000):
        after(cache, [thought(str(number)), call()], {**HI, "id": str(number)})
        after(cache, [thought(str(number)), call()])
    assert len(str(cache)) < 60
    kept: Any = cache.recall(ANN, [HI, call()]).items
    assert kept == (HI, thought("999"), call())


def test_a_conversation_without_thoughts_has_all_else() -> None:
    assert without_reasoning([HI, thought(), call()]) == (HI, call())


def test_a_very_long_answer_is_not_kept() -> None:
    cache = AnswerCache()
    after(cache, [thought("x" * (1 << 20)), call()])
    assert not cache.recall(ANN, [HI, call()]).is_changed


def test_long_arguments_that_were_written_anew_are_not_read() -> None:
    cache = AnswerCache()
    arguments = '{"a":' + "[" * 9 + "1," * 40_000 + "1" + "]" * 9 + "}"
    after(cache, [thought(), call(arguments=arguments)])
    assert cache.recall(ANN, [HI, call(arguments=arguments)]).is_changed
    assert not cache.recall(ANN, [HI, call("c9", arguments=f" {arguments}")]).is_changed


def test_others_can_go_on_while_a_long_conversation_is_read() -> None:
    pauses: list[None] = []
    long: Item = {**HI, "content": [{"type": "input_text", "text": "x" * 3_000_000}]}
    marks = {
        AnswerCache().recall(ANN, items, lambda: pauses.append(None)).mark
        for items in ([long], [long, *[HI] * 3_000])
    }
    assert len(pauses) > 20
    assert AnswerCache().recall(ANN, [long]).mark in marks
    pauses.clear()
    AnswerCache().recall(ANN, [HI] * 20, lambda: pauses.append(None))
    assert not pauses
