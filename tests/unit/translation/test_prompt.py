import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import InvalidRequest
from app.translation.prompt import ROLES, to_items

Message = dict[str, Any]


def item(role: str, *texts: str) -> Message:
    kind = "output_text" if role == "assistant" else "input_text"
    parts = [{"type": kind, "text": text} for text in texts]
    return {"type": "message", "role": role, "content": parts}


def said(role: Any, content: Any, **members: Any) -> Message:
    return {"role": role, "content": content, **members}


def text(value: Any, **members: Any) -> Message:
    return {"type": "text", "text": value, **members}


ITEMS: list[tuple[Message, Message]] = [
    (said("system", "s"), item("developer", "s")),
    (said("developer", "d"), item("developer", "d")),
    (said("user", "u"), item("user", "u")),
    (said("assistant", "a"), item("assistant", "a")),
    (said("user", ""), item("user", "")),
    (said("user", " \r\n\0 "), item("user", " \r\n\0 ")),
    (said("user", "u", name="ann", brand_new=1), item("user", "u")),
    (said("user", [text("a"), text(""), text("b")]), item("user", "a", "", "b")),
    (said("system", [text("a", cache_control={})]), item("developer", "a")),
    (said("assistant", [text("a"), text("b")]), item("assistant", "a", "b")),
    (said("assistant", [{"type": "refusal", "refusal": "no"}]), item("assistant", "no")),
    # What clients echo back of our own answers.
    (said("assistant", None), item("assistant", "")),
    ({"role": "assistant"}, item("assistant", "")),
    (said("assistant", None, refusal="no"), item("assistant", "no")),
    (said("assistant", None, refusal=None), item("assistant", "")),
    (said("assistant", "a", refusal="no"), item("assistant", "a")),
    (
        said("assistant", "a", refusal=None, annotations=[], reasoning_content="hm", audio=None),
        item("assistant", "a"),
    ),
    (said("assistant", "a", tool_calls=[], function_call=None), item("assistant", "a")),
    (said("assistant", "a", tool_calls=None), item("assistant", "a")),
]


@pytest.mark.parametrize(("message", "expected"), ITEMS)
def test_a_message_becomes_its_item(message: Message, expected: Message) -> None:
    assert to_items([message]) == (expected,)


def test_the_table_has_a_row_for_every_role() -> None:
    assert {message["role"] for message, _ in ITEMS} == set(ROLES)


def test_the_order_of_the_messages_is_kept_also_where_roles_repeat() -> None:
    roles = ["user", "system", "user", "user", "assistant", "assistant", "system"]
    items = to_items([said(role, str(index)) for index, role in enumerate(roles)])
    assert [entry["content"][0]["text"] for entry in items] == list("0123456")
    assert [entry["role"] for entry in items] == [
        "developer" if role == "system" else role for role in roles
    ]


def test_no_messages_are_no_items() -> None:
    assert to_items([]) == ()


@given(st.lists(st.tuples(st.sampled_from(sorted(ROLES)), st.text())))
def test_every_text_is_kept_exactly(messages: list[tuple[str, str]]) -> None:
    items = to_items([said(role, content) for role, content in messages])
    assert [entry["content"][0]["text"] for entry in items] == [content for _, content in messages]


@pytest.mark.parametrize("message", [message for message, _ in ITEMS])
def test_the_request_is_left_alone(message: Message) -> None:
    before = copy.deepcopy(message)
    to_items([message])
    assert message == before


REQUIRED = "missing_required_parameter"
TYPE = "invalid_type"
VALUE = "invalid_value"
UNSUPPORTED = "unsupported_parameter"
EMPTY = "empty_array"

# message, param (after `messages[1]`), code
NOT_STRINGS: list[Any] = [5, False, [], {}]
REFUSED: list[tuple[Any, str, str]] = [
    *((message, "", TYPE) for message in (None, "text", 5, [], [said("user", "u")])),
    ({}, ".role", REQUIRED),
    ({"content": "u"}, ".role", REQUIRED),
    (said(None, "u"), ".role", REQUIRED),
    *((said(role, "u"), ".role", VALUE) for role in ("tool", "function", "User", "")),
    *((said(role, "u"), ".role", VALUE) for role in [*NOT_STRINGS, ["user"]]),
    *(({"role": role}, ".content", REQUIRED) for role in ("system", "developer", "user")),
    *((said(role, None), ".content", REQUIRED) for role in ("system", "developer", "user")),
    *(
        (said(role, content), ".content", TYPE)
        for role in ROLES
        for content in (5, True, 1.5, {"type": "text"})
    ),
    *((said(role, []), ".content", EMPTY) for role in ROLES),
    (said("user", ["text"]), ".content[0]", TYPE),
    (said("user", [text("a"), None]), ".content[1]", TYPE),
    (said("user", [{}]), ".content[0].type", REQUIRED),
    (said("user", [{"type": None}]), ".content[0].type", REQUIRED),
    *(
        (said("user", [text("a"), {"type": kind}]), ".content[1].type", VALUE)
        for kind in ("image_url", "input_audio", "file", "refusal", "output_text", "", 5, ["text"])
    ),
    (said("assistant", [{"type": "image_url"}]), ".content[0].type", VALUE),
    (said("user", [{"type": "text"}]), ".content[0].text", REQUIRED),
    (said("user", [text(None)]), ".content[0].text", REQUIRED),
    *((said("user", [text(value)]), ".content[0].text", TYPE) for value in NOT_STRINGS),
    (said("assistant", [{"type": "refusal", "text": "no"}]), ".content[0].refusal", REQUIRED),
    (said("assistant", [{"type": "refusal", "refusal": 5}]), ".content[0].refusal", TYPE),
    (said("assistant", "a", tool_calls=[{"id": "c"}]), ".tool_calls", UNSUPPORTED),
    (said("assistant", None, function_call={"name": "f"}), ".function_call", UNSUPPORTED),
]


@pytest.mark.parametrize(("message", "param", "code"), REFUSED)
def test_a_refusal_names_the_field_and_its_message(message: Any, param: str, code: str) -> None:
    with pytest.raises(InvalidRequest) as raised:
        to_items([said("user", "first"), message])
    assert (raised.value.param, raised.value.code) == (f"messages[1]{param}", code)
    assert f"'messages[1]{param}'" in raised.value.message or code == VALUE


@pytest.mark.parametrize(
    ("message", "sentence"),
    [
        (
            said("tool", "42"),
            (
                "Invalid value: 'tool'. "
                "Supported values are: 'system', 'developer', 'user', 'assistant'."
            ),
        ),
        (
            said("user", [{"type": "image_url"}]),
            "Invalid value: 'image_url'. Supported values are: 'text'.",
        ),
        (
            said("assistant", [{"type": "file"}]),
            "Invalid value: 'file'. Supported values are: 'text', 'refusal'.",
        ),
        (
            said("user", []),
            "Invalid 'messages[0].content': empty array. Expected at least one content part.",
        ),
        (
            said("user", 5),
            (
                "Invalid type for 'messages[0].content': "
                "expected a string or an array of content parts, but got an integer instead."
            ),
        ),
    ],
)
def test_a_refusal_says_what_would_do(message: Message, sentence: str) -> None:
    with pytest.raises(InvalidRequest) as raised:
        to_items([message])
    assert raised.value.message == sentence


def test_the_first_message_that_is_wrong_is_the_one_that_is_named() -> None:
    with pytest.raises(InvalidRequest) as raised:
        to_items([said("user", "u"), said("tool", "x"), {}])
    assert raised.value.param == "messages[1].role"


def test_a_refusal_of_the_wrong_type_is_named() -> None:
    with pytest.raises(InvalidRequest) as raised:
        to_items([{"role": "assistant", "refusal": 5}])
    assert raised.value.param == "messages[0].refusal"
