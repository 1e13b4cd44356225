import copy
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.answers.call_ids import stand_in
from app.answers.tools import alias_of
from app.api.chat_completions.messages import ROLES, to_items
from app.backend.request import Item
from app.errors import InvalidRequest
from tests.fakes.values import each

Message = dict[str, Any]

SPEAKERS = ["system", "developer", "user", "assistant"]
PNG = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABAAA="


def item(role: str, *texts: str) -> Message:
    kind = "output_text" if role == "assistant" else "input_text"
    parts = [{"type": kind, "text": text} for text in texts]
    return {"type": "message", "role": role, "content": parts}


def said(role: Any, content: Any, **members: Any) -> Message:
    return {"role": role, "content": content, **members}


def text(value: Any, **members: Any) -> Message:
    return {"type": "text", "text": value, **members}


def call(call_id: Any = "c1", name: Any = "f", arguments: Any = "{}", **members: Any) -> Message:
    function = {"name": name, "arguments": arguments}
    return {"id": call_id, "type": "function", "function": function, **members}


def called(*calls: Any, content: Any = None, **members: Any) -> Message:
    return {"role": "assistant", "content": content, "tool_calls": list(calls), **members}


def answered(call_id: Any, content: Any = "42") -> Message:
    return {"role": "tool", "tool_call_id": call_id, "content": content}


def call_item(call_id: str = "c1", name: str = "f", arguments: str = "{}") -> Message:
    return {
        "type": "function_call",
        "name": name,
        "arguments": arguments,
        "call_id": call_id,
    }


def output_item(call_id: str = "c1", output: str = "42") -> Message:
    return {"type": "function_call_output", "call_id": call_id, "output": output}


SECOND = stand_in("c1", 1)

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
    (
        said("user", [{"type": "image_url", "image_url": {"url": PNG}}]),
        {
            "type": "message",
            "role": "user",
            "content": [{"type": "input_image", "image_url": PNG}],
        },
    ),
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


def test_every_role_has_a_row_here_or_among_the_calls() -> None:
    assert {message["role"] for message, _ in ITEMS} == set(ROLES) - {"tool", "function"}


def test_the_order_of_the_messages_is_kept_also_where_roles_repeat() -> None:
    roles = ["user", "system", "user", "user", "assistant", "assistant", "system"]
    items = to_items([said(role, str(index)) for index, role in enumerate(roles)])
    assert [entry["content"][0]["text"] for entry in items] == list("0123456")
    assert [entry["role"] for entry in items] == [
        "developer" if role == "system" else role for role in roles
    ]


def test_no_messages_are_no_items() -> None:
    assert to_items([]) == ()


@given(st.lists(st.tuples(st.sampled_from(SPEAKERS), st.text())))
def test_every_text_is_kept_exactly(messages: list[tuple[str, str]]) -> None:
    items = to_items([said(role, content) for role, content in messages])
    assert [entry["content"][0]["text"] for entry in items] == [content for _, content in messages]


# Calls and their results

CONVERSATIONS: list[tuple[list[Message], list[Message]]] = [
    ([called(call()), answered("c1")], [call_item(), output_item()]),
    # Text beside a call comes before it, and none is made up.
    (
        [called(call(), content="look"), answered("c1")],
        [item("assistant", "look"), call_item(), output_item()],
    ),
    ([called(call(), content=""), answered("c1")], [call_item(), output_item()]),
    ([called(call(), content=[]), answered("c1")], [call_item(), output_item()]),
    # Parallel calls; their results come in any order, and stay in it.
    (
        [called(call("a"), call("b", "g")), answered("b", "1"), answered("a", "2")],
        [call_item("a"), call_item("b", "g"), output_item("b", "1"), output_item("a", "2")],
    ),
    # The arguments are the model's, byte by byte, JSON or not.
    *(
        (
            [called(call(arguments=given)), answered("c1")],
            [call_item(arguments=given), output_item()],
        )
        for given in ("", "{broken", ' {"a" : 1}\n', '{"a":"\\u00e9é"}')
    ),
    # A name that codex would not take goes by its alias, as the tool does.
    (
        [called(call(name="functions.exec")), answered("c1")],
        [call_item(name=alias_of("functions.exec")), output_item()],
    ),
    # So does one that only the model can have made up: the client gives back what it was given.
    *(
        (
            [called(call(name=name)), answered("c1")],
            [call_item(name=alias_of(name)), output_item()],
        )
        for name in ("", "get weather", "x" * 65, "wétter")
    ),
    # Results are text, in parts or not, maybe none.
    ([called(call()), answered("c1", "")], [call_item(), output_item(output="")]),
    ([called(call()), answered("c1", [])], [call_item(), output_item(output="")]),
    (
        [called(call()), answered("c1", [text("4"), text("2")])],
        [call_item(), output_item(output="42")],
    ),
    # An id may come again once its call was answered.
    (
        [called(call()), answered("c1", "1"), called(call()), answered("c1", "2")],
        [
            *(call_item(), output_item(output="1")),
            *(call_item(call_id=SECOND), output_item(SECOND, output="2")),
        ],
    ),
    # Or within a round; results then come in the order of the calls.
    (
        [called(call(), call(name="g")), answered("c1", "1"), answered("c1", "2")],
        [
            *(call_item(), call_item(name="g", call_id=SECOND)),
            *(output_item(output="1"), output_item(SECOND, output="2")),
        ],
    ),
    # What the Responses API takes for no id has a stand-in, the same one always.
    *(
        (
            [called(call(given)), answered(given)],
            [call_item(call_id=stand_in(given, 0)), output_item(stand_in(given, 0))],
        )
        for given in ("", "x" * 65, "ü" * 1000)
    ),
    (
        [called(call("x" * 64)), answered("x" * 64)],
        [call_item(call_id="x" * 64), output_item("x" * 64)],
    ),
    (
        [called({"id": "c1", "function": call()["function"]}), answered("c1")],
        [call_item(), output_item()],
    ),
    # What clients echo back.
    (
        [called(call(index=0), refusal=None, annotations=[], function_call=None), answered("c1")],
        [call_item(), output_item()],
    ),
    # The legacy form: no ids, so the gateway gives one to each pair.
    (
        [
            said("user", "u"),
            said("assistant", None, function_call={"name": "f", "arguments": "{}"}),
            said("function", "42", name="f"),
            said("assistant", "a", function_call={"name": "shell", "arguments": "x"}),
            said("function", "43", name="shell"),
        ],
        [
            item("user", "u"),
            call_item("call_legacy_1"),
            output_item("call_legacy_1"),
            item("assistant", "a"),
            call_item("call_legacy_4", alias_of("shell"), "x"),
            output_item("call_legacy_4", "43"),
        ],
    ),
    (
        [
            said("assistant", None, function_call={"name": "f", "arguments": "{}"}),
            said("function", None, name="f"),
        ],
        [call_item("call_legacy_0"), output_item("call_legacy_0", "")],
    ),
]


@pytest.mark.parametrize(("messages", "expected"), CONVERSATIONS)
def test_a_conversation_with_calls_becomes_its_items(
    messages: list[Message], expected: list[Message]
) -> None:
    before = copy.deepcopy(messages)
    assert list(to_items(messages)) == expected
    assert messages == before


IDS = st.text(min_size=1, max_size=6)
NAMES = st.text("abc_-.:1", min_size=1, max_size=6) | st.sampled_from(["shell", "mcp__a", "fn_b"])
CONTENTS = st.text(max_size=8) | st.lists(st.text(max_size=5).map(text), min_size=1, max_size=3)
SPOKEN = st.builds(lambda role, content: [said(role, content)], st.sampled_from(SPEAKERS), CONTENTS)


@st.composite
def calls_and_results(draw: st.DrawFn) -> list[Message]:
    ids = draw(st.lists(IDS, min_size=1, max_size=4, unique=True))
    calls = [call(i, draw(NAMES), draw(st.text(max_size=8))) for i in ids]
    order = list(ids)
    random.Random(draw(st.integers(0, 99))).shuffle(order)
    results = [answered(i, draw(CONTENTS)) for i in order]
    return [called(*calls, content=draw(st.none() | CONTENTS)), *results]


@st.composite
def legacy_call_and_result(draw: st.DrawFn) -> list[Message]:
    name = draw(NAMES)
    function = {"name": name, "arguments": draw(st.text(max_size=8))}
    return [
        {"role": "assistant", "content": draw(st.none() | CONTENTS), "function_call": function},
        {"role": "function", "name": name, "content": draw(CONTENTS)},
    ]


TALKS = st.lists(SPOKEN | calls_and_results() | legacy_call_and_result(), max_size=6).map(
    lambda groups: [message for group in groups for message in group]
)


def texts_of(content: Any) -> list[str]:
    if isinstance(content, list):
        return [part["text"] for part in content]
    return [content or ""]


def told(message: Message) -> list[tuple[str, Any]]:
    """What a message says, in our own words: who says what, which call, which result."""
    role, content = message["role"], message.get("content")
    if role == "tool":
        return [("result", "".join(texts_of(content)))]
    if role == "function":
        return [("legacy result", "".join(texts_of(content)))]
    calls: list[tuple[str, tuple[str, ...]]] = [
        ("call", (alias_of(c["function"]["name"]), c["function"]["arguments"]))
        for c in message.get("tool_calls", [])
    ]
    if legacy := message.get("function_call"):
        calls.append(("legacy call", (alias_of(legacy["name"]), legacy["arguments"])))
    speaker = "developer" if role == "system" else role
    speech = [(speaker, texts_of(content))] if content or not calls else []
    return [*speech, *calls]


def retold(entry: Item) -> tuple[str, Any]:
    """The same of an item."""
    if entry["type"] == "message":
        return entry["role"], [part["text"] for part in entry["content"]]
    legacy = "legacy " if entry["call_id"].startswith("call_legacy_") else ""
    if entry["type"] == "function_call":
        return f"{legacy}call", (entry["name"], entry["arguments"])
    return f"{legacy}result", entry["output"]


@given(TALKS)
def test_any_conversation_keeps_its_order_its_texts_and_its_calls(messages: list[Message]) -> None:
    before = copy.deepcopy(messages)
    items = to_items(messages)
    assert list(map(retold, items)) == [line for message in messages for line in told(message)]
    assert messages == before


@given(TALKS)
def test_every_call_has_one_result_after_it_and_every_result_a_call(
    messages: list[Message],
) -> None:
    waiting: set[str] = set()
    seen: set[str] = set()
    for entry in to_items(messages):
        if entry["type"] == "function_call":
            assert entry["call_id"] not in seen
            assert 1 <= len(entry["call_id"]) <= 64
            waiting.add(entry["call_id"])
            seen.add(entry["call_id"])
        elif entry["type"] == "function_call_output":
            waiting.remove(entry["call_id"])
        else:
            assert waiting == set()
    assert waiting == set()


@given(TALKS, st.data())
def test_a_conversation_without_one_of_its_results_is_refused(
    messages: list[Message], data: st.DataObject
) -> None:
    results = [i for i, m in enumerate(messages) if m["role"] in {"tool", "function"}]
    if not results:
        return
    lost = data.draw(st.sampled_from(results))
    with pytest.raises(InvalidRequest) as raised:
        to_items(messages[:lost] + messages[lost + 1 :])
    assert str(raised.value.param).startswith("messages[")


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
CALLED = ".tool_calls[0]"
REFUSED: list[tuple[Any, str, str]] = [
    *((message, "", TYPE) for message in each(None, "text", 5, [], [said("user", "u")])),
    ({}, ".role", REQUIRED),
    ({"content": "u"}, ".role", REQUIRED),
    (said(None, "u"), ".role", REQUIRED),
    *((said(role, "u"), ".role", VALUE) for role in ("User", "", "model")),
    *((said(role, "u"), ".role", VALUE) for role in [*NOT_STRINGS, ["user"]]),
    *(({"role": role}, ".content", REQUIRED) for role in ("system", "developer", "user")),
    *((said(role, None), ".content", REQUIRED) for role in ("system", "developer", "user")),
    *(
        (said(role, content), ".content", TYPE)
        for role in SPEAKERS
        for content in each(5, True, 1.5, {"type": "text"})
    ),
    *((said(role, []), ".content", EMPTY) for role in SPEAKERS),
    (said("user", ["text"]), ".content[0]", TYPE),
    (said("user", [text("a"), None]), ".content[1]", TYPE),
    (said("user", [{}]), ".content[0].type", REQUIRED),
    (said("user", [{"type": None}]), ".content[0].type", REQUIRED),
    *(
        (said("user", [text("a"), {"type": kind}]), ".content[1].type", VALUE)
        for kind in ("refusal", "summary_text", "")
    ),
    *(
        (said("user", [text("a"), {"type": kind}]), f".content[1].{kind}", UNSUPPORTED)
        for kind in ("input_audio", "file")
    ),
    (said("user", [{"type": "image_url"}]), ".content[0].image_url", REQUIRED),
    (said("user", [{"type": "text"}]), ".content[0].text", REQUIRED),
    (said("user", [text(None)]), ".content[0].text", REQUIRED),
    *((said("user", [text(value)]), ".content[0].text", TYPE) for value in NOT_STRINGS),
    (said("assistant", [{"type": "refusal", "text": "no"}]), ".content[0].refusal", REQUIRED),
    (said("assistant", [{"type": "refusal", "refusal": 5}]), ".content[0].refusal", TYPE),
    (said("assistant", None, refusal=5), ".refusal", TYPE),
    # Calls
    *(
        (said("assistant", "a", tool_calls=calls), ".tool_calls", TYPE)
        for calls in each("c", 5, {})
    ),
    *((called(entry), CALLED, TYPE) for entry in each(None, "c", 5, [])),
    *((called({**call(), "type": kind}), f"{CALLED}.type", VALUE) for kind in each("tool", 5, [])),
    (called(call(None)), f"{CALLED}.id", REQUIRED),
    *((called(call(call_id)), f"{CALLED}.id", TYPE) for call_id in NOT_STRINGS),
    (called(call("a"), call("a")), ".tool_calls[0]", VALUE),
    (called({"id": "c", "type": "function"}), f"{CALLED}.function", REQUIRED),
    *(
        (called({"id": "c", "function": function}), f"{CALLED}.function", TYPE)
        for function in each("f", 5, [])
    ),
    (called(call(name=None)), f"{CALLED}.function.name", REQUIRED),
    *((called(call(name=name)), f"{CALLED}.function.name", TYPE) for name in NOT_STRINGS),
    (called(call(arguments=None)), f"{CALLED}.function.arguments", REQUIRED),
    *(
        (called(call(arguments=given)), f"{CALLED}.function.arguments", TYPE)
        for given in each(5, {}, {"a": 1})
    ),
    *(
        (said("assistant", None, function_call=given), ".function_call", TYPE)
        for given in ("f", 5, ["f"])
    ),
    (said("assistant", None, function_call={"arguments": ""}), ".function_call.name", REQUIRED),
    (said("assistant", None, function_call={"name": "f"}), ".function_call.arguments", REQUIRED),
    # Calls that nobody answered, named where they stand.
    (called(call()), CALLED, VALUE),
    (called(call("a"), call("b")), CALLED, VALUE),
    # A call of the legacy form is the message itself.
    (said("assistant", None, function_call={"name": "f", "arguments": ""}), "", VALUE),
    # Results that answer nothing.
    ({"role": "tool", "content": "42"}, ".tool_call_id", REQUIRED),
    *((answered(call_id), ".tool_call_id", TYPE) for call_id in NOT_STRINGS),
    (answered("c1"), ".tool_call_id", VALUE),
    (said("function", "42", name="f"), ".role", VALUE),
]


LONG = "x" * 10_485_760


@pytest.mark.parametrize(
    ("message", "param"),
    [
        (said("user", LONG + "x"), ".content"),
        (said("user", [{"type": "text", "text": LONG + "x"}]), ".content[0].text"),
        (said("assistant", LONG + "x"), ".content"),
        (called(call(arguments=LONG + "x")), f"{CALLED}.function.arguments"),
    ],
    ids=["text", "part", "answer", "arguments"],
)
def test_a_text_that_no_model_reads_is_refused(message: Any, param: str) -> None:
    with pytest.raises(InvalidRequest) as raised:
        to_items([said("user", "first"), message])
    error = raised.value
    assert (error.param, error.code) == (f"messages[1]{param}", "string_above_max_length")
    assert len(error.message) < 200


def test_parts_that_become_one_text_count_together() -> None:
    half = {"type": "text", "text": LONG[: len(LONG) // 2]}
    result = {"role": "tool", "tool_call_id": "c1", "content": [half, half]}
    asked = [said("user", LONG), called(call("c1"))]
    assert len(to_items([*asked, result])) == 3
    result["content"] = [half, half, {"type": "text", "text": "x"}]
    with pytest.raises(InvalidRequest) as raised:
        to_items([*asked, result])
    assert raised.value.param == "messages[2].content"


@pytest.mark.parametrize(("message", "param", "code"), REFUSED)
def test_a_refusal_names_the_field_and_its_message(message: Any, param: str, code: str) -> None:
    with pytest.raises(InvalidRequest) as raised:
        to_items([said("user", "first"), message])
    assert (raised.value.param, raised.value.code) == (f"messages[1]{param}", code)
    assert f"'messages[1]{param}'" in raised.value.message or code == VALUE


# messages, param, a part of the sentence
PAIRS: list[tuple[list[Message], str, str]] = [
    ([called(call()), said("user", "u"), answered("c1")], "messages[0].tool_calls[0]", "'c1'"),
    (
        [called(call("a"), call("b")), answered("a"), said("user", "u")],
        "messages[0].tool_calls[1]",
        "'b'",
    ),
    ([called(call("a"), call("b")), answered("b")], "messages[0].tool_calls[0]", "'a'"),
    ([called(call("a")), called(call("b"))], "messages[0].tool_calls[0]", "'a'"),
    ([called(call("a")), answered("a"), answered("a")], "messages[2].tool_call_id", "no such call"),
    ([called(call("a")), answered("b")], "messages[1].tool_call_id", "no such call"),
    ([answered("a"), called(call("a"))], "messages[0].tool_call_id", "no such call"),
    ([called(call()), answered("c1", 5)], "messages[1].content", "a string or an array"),
    (
        [called(call()), answered("c1", [{"type": "image_url", "image_url": PNG}])],
        "messages[1].content[0].type",
        "'text'",
    ),
    ([called(call("x" * 5000))], "messages[0].tool_calls[0]", "x" * 80),
]


@pytest.mark.parametrize(("messages", "param", "words"), PAIRS)
def test_a_call_without_its_result_is_named_and_a_result_without_its_call(
    messages: list[Message], param: str, words: str
) -> None:
    with pytest.raises(InvalidRequest) as raised:
        to_items(messages)
    assert raised.value.param == param
    assert words in raised.value.message
    assert len(raised.value.message) < 300


@pytest.mark.parametrize(
    ("message", "sentence"),
    [
        (
            said("model", "42"),
            (
                "Invalid value: 'model'. Supported values are: 'system', 'developer', 'user', "
                "'assistant', 'tool', 'function'."
            ),
        ),
        (
            said("user", [{"type": "video"}]),
            "Invalid value: 'video'. Supported values are: 'text', 'image_url', 'file'.",
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
        to_items([said("user", "u"), answered("x"), {}])
    assert raised.value.param == "messages[1].tool_call_id"
