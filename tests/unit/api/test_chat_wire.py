import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from pydantic import BaseModel

from app.answers.chunks import (
    Began,
    CallArguments,
    CallBegan,
    Cause,
    Chunk,
    Cost,
    Ended,
    ItemBegan,
    ItemEnded,
    ItemKind,
    ReasoningText,
    Refusal,
    Restarted,
    Text,
    Working,
)
from app.answers.summary import Summary
from app.api.chat_completions.wire import ChatWire
from app.api.choices_wire import Envelope, render_usage
from app.backend.events import Usage
from app.http.frames import frame as framed

USAGE = Usage(input=50, cached_input=40, output=9, reasoning_output=3, total=59)
SUMMARY = Summary(
    thread_id="thr",
    turn_id="trn",
    generation=1,
    model="m",
    effort="low",
    ignored_parameters=("top_p",),
    upstream="demo",
    ttft_ms=7,
    duration_ms=9,
    usage=USAGE,
    usage_estimated=False,
    cause=Cause.FINISHED,
    adjusted_parameters={"reasoning_effort": "low"},
    continued=True,
)
METADATA = {
    "thread_id": "thr",
    "turn_id": "trn",
    "model": "m",
    "effort": "low",
    "ignored_parameters": ["top_p"],
    "adjusted_parameters": {"reasoning_effort": "low"},
    "upstream": "demo",
    "ttft_ms": 7,
    "duration_ms": 9,
    "usage_estimated": False,
    "continued": True,
    "cached_tokens": 40,
}
REASONS = {
    Cause.FINISHED: "stop",
    Cause.STOP_SEQUENCE: "stop",
    Cause.TOKEN_LIMIT: "length",
    Cause.CALLS: "tool_calls",
    Cause.CONTENT_FILTER: "content_filter",
}


def wire(*, include_usage: bool = False, legacy_calls: bool = False) -> ChatWire:
    return ChatWire(
        Envelope(
            id="chatcmpl-1",
            created=1_700_000_000,
            model="gpt",
            system_fingerprint="fp_1",
            include_usage=include_usage,
        ),
        legacy_calls=legacy_calls,
    )


def rendered(made: ChatWire, chunks: list[Chunk]) -> bytes:
    """Frames as they go out; no event of a chat completion has a name."""
    payloads = list(made.payloads(chunks, lambda: SUMMARY))
    assert all(event is None for event, _ in payloads)
    return b"".join(map(framed, payloads))


def call(index: int, call_id: str, name: str, arguments: str) -> list[Chunk]:
    return [CallBegan(index, call_id, name), CallArguments(index, arguments), ItemEnded(index)]


def frames_of(data: bytes) -> list[dict[str, Any]]:
    *frames, rest = data.split(b"\n\n")
    assert rest == b""
    assert all(frame.startswith(b"data: ") for frame in frames)
    return [json.loads(frame.removeprefix(b"data: ")) for frame in frames]


def streamed(
    chunks: list[Chunk], *, include_usage: bool = False, legacy_calls: bool = False
) -> list[dict[str, Any]]:
    made = wire(include_usage=include_usage, legacy_calls=legacy_calls)
    return frames_of(rendered(made, chunks))


def deltas(chunks: list[Chunk], **options: Any) -> list[dict[str, Any]]:
    return [frame["choices"][0]["delta"] for frame in streamed(chunks, **options)]


# Golden frames

OPENING = (
    'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1700000000,'
    '"model":"gpt","system_fingerprint":"fp_1","choices":['
)
DELTA = '{"index":%d,"delta":%s,"logprobs":null,"finish_reason":null}]'
END = '{"index":%d,"delta":{},"logprobs":null,"finish_reason":"%s"}]'
DESCRIBED = (
    '"codex_metadata":{"thread_id":"thr","turn_id":"trn","model":"m","effort":"low",'
    '"ignored_parameters":["top_p"],"adjusted_parameters":{"reasoning_effort":"low"},"upstream":"demo",'
    '"ttft_ms":7,"duration_ms":9,'
    '"usage_estimated":false,"continued":true,"cached_tokens":40}'
)
COUNTED = (
    '],"usage":{"prompt_tokens":50,"completion_tokens":9,"total_tokens":59,'
    '"prompt_tokens_details":{"cached_tokens":40,"cache_write_tokens":0,"audio_tokens":0},'
    '"completion_tokens_details":{"reasoning_tokens":3,"audio_tokens":0,'
    '"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}}'
)
AWKWARD_TEXT = 'é "\r\n\0👩‍👩‍👧'
AWKWARD_JSON = r'"é \"\r\n\u0000👩‍👩‍👧"'
CALL = call(0, "call_A", "get_weather", '{"city": "é"}')

# chunk, the deltas of its frames
PLAIN: list[tuple[Chunk | list[Chunk], list[str]]] = [
    (Began(0), ['{"role":"assistant"}']),
    (Began(2), ['{"role":"assistant"}']),
    ([Began(1), Text(1, "a")], ['{"role":"assistant","content":""}', '{"content":"a"}']),
    ([Began(1), Refusal(1, "a")], ['{"role":"assistant","content":null}', '{"refusal":"a"}']),
    (Text(0, AWKWARD_TEXT), ['{"content":' + AWKWARD_JSON + "}"]),
    (Text(1, "%b %s {}"), ['{"content":"%b %s {}"}']),
    (Text(127, ""), ['{"content":""}']),
    (ReasoningText(0, AWKWARD_TEXT), ['{"reasoning_content":' + AWKWARD_JSON + "}"]),
    (Refusal(1, AWKWARD_TEXT), ['{"refusal":' + AWKWARD_JSON + "}"]),
    (
        CALL,
        [
            (
                '{"tool_calls":[{"index":0,"id":"call_A","type":"function",'
                '"function":{"name":"get_weather","arguments":""}}]}'
            ),
            r'{"tool_calls":[{"index":0,"function":{"arguments":"{\"city\": \"é\"}"}}]}',
        ],
    ),
]


@pytest.mark.parametrize(("chunk", "expected"), PLAIN)
@pytest.mark.parametrize(("include_usage", "closing"), [(False, "}"), (True, ',"usage":null}')])
def test_a_chunk_is_exactly_these_bytes(
    chunk: Any, expected: list[str], closing: str, *, include_usage: bool
) -> None:
    chunks = chunk if isinstance(chunk, list) else [chunk]
    index = chunks[0].index
    frames = [f"{OPENING}{DELTA % (index, delta)}{closing}\n\n" for delta in expected]
    made = wire(include_usage=include_usage)
    assert rendered(made, chunks) == "".join(frames).encode()


@pytest.mark.parametrize("cause", Cause)
@pytest.mark.parametrize(("include_usage", "usage"), [(False, ""), (True, ',"usage":null')])
def test_a_finish_is_exactly_these_bytes(cause: Cause, usage: str, *, include_usage: bool) -> None:
    expected = f"{OPENING}{END % (4, REASONS[cause])}{usage},{DESCRIBED}}}\n\n"
    made = wire(include_usage=include_usage)
    assert rendered(made, [Ended(4, cause)]) == expected.encode()


def test_usage_is_exactly_these_bytes_or_none() -> None:
    assert rendered(wire(), [Cost(USAGE)]) == b""
    counted = f"{OPENING}{COUNTED}\n\n".encode()
    assert rendered(wire(include_usage=True), [Cost(USAGE)]) == counted


def test_a_legacy_call_is_exactly_these_bytes() -> None:
    expected = [
        '{"function_call":{"name":"get_weather","arguments":""}}',
        r'{"function_call":{"arguments":"{\"city\": \"é\"}"}}',
    ]
    frames = [f"{OPENING}{DELTA % (0, delta)}}}\n\n" for delta in expected]
    assert rendered(wire(legacy_calls=True), CALL) == "".join(frames).encode()
    end = f"{OPENING}{END % (0, 'function_call')},{DESCRIBED}}}\n\n"
    assert rendered(wire(legacy_calls=True), [Ended(0, Cause.CALLS)]) == end.encode()


@pytest.mark.parametrize("cause", [cause for cause in Cause if cause is not Cause.CALLS])
def test_only_calls_have_a_legacy_name(cause: Cause) -> None:
    ended: list[Chunk] = [Ended(0, cause)]
    assert rendered(wire(legacy_calls=True), ended) == rendered(wire(), ended)


@pytest.mark.parametrize("legacy_calls", [True, False])
def test_the_log_says_tool_calls_in_any_case(*, legacy_calls: bool) -> None:
    made = wire(legacy_calls=legacy_calls)
    assert {cause: made.reason(cause) for cause in Cause} == REASONS


def test_what_is_no_text_and_no_call_is_not_shown() -> None:
    unseen: list[Chunk] = [
        ItemBegan(0, ItemKind.MESSAGE, "msg_1"),
        ItemEnded(0, {"type": "message"}),
        Working(0),
        Restarted(0),
    ]
    assert rendered(wire(include_usage=True), unseen) == b""
    assert whole([Began(0), *unseen])["choices"][0]["message"]["content"] == ""


def test_calls_are_counted_anew_where_a_choice_begins_anew() -> None:
    chunks = [*call(0, "a", "f", "{}"), Restarted(0), *call(0, "b", "f", "{}")]
    numbers = [delta["tool_calls"][0]["index"] for delta in deltas(chunks)]
    assert numbers == [0, 0, 0, 0]


@pytest.mark.parametrize(("include_usage", "closing"), [(False, "}"), (True, ',"usage":null}')])
def test_a_sign_of_life_is_exactly_these_bytes(closing: str, *, include_usage: bool) -> None:
    made = wire(include_usage=include_usage)
    rendered(made, [Began(0)])
    frame = f"{OPENING}{DELTA % (0, '{}')}{closing}\n\n"
    assert framed(made.sign_of_life()) == frame.encode()


# The stream

HELLO: list[Chunk] = [
    Began(0),
    Text(0, "hel"),
    Text(0, "lo"),
    Ended(0, Cause.FINISHED),
    Cost(USAGE),
]
CALLS: list[Chunk] = [
    Began(0),
    Text(0, "look"),
    *call(0, "a", "f", "{}"),
    *call(0, "b", "g", "{broken"),
    *call(0, "c", "f", ""),
    Ended(0, Cause.CALLS),
    Cost(USAGE),
]
# Two choices, their chunks as they come: mixed.
TWO: list[Chunk] = [
    Began(0),
    Began(1),
    Text(1, "1a"),
    Text(0, "0a"),
    *call(1, "x", "f", "{}"),
    Text(0, "0b"),
    Ended(1, Cause.CALLS),
    Ended(0, Cause.TOKEN_LIMIT),
    Cost(USAGE),
]
REFUSED: list[Chunk] = [Began(0), Refusal(0, "I "), Refusal(0, "won't."), Ended(0, Cause.FINISHED)]
REASONED: list[Chunk] = [
    Began(0),
    ReasoningText(0, "h"),
    ReasoningText(0, "m"),
    Text(0, "x"),
    Ended(0, Cause.FINISHED),
    Cost(USAGE),
]
FILTERED: list[Chunk] = [Began(0), Text(0, "half"), Ended(0, Cause.CONTENT_FILTER)]
NOTHING: list[Chunk] = [Began(0), Ended(0, Cause.FINISHED)]
ANSWERS = [HELLO, CALLS, TWO, REFUSED, REASONED, FILTERED, NOTHING]
NAMES = ["hello", "calls", "two", "refused", "reasoned", "filtered", "nothing"]


@pytest.mark.parametrize("chunks", ANSWERS, ids=NAMES)
@pytest.mark.parametrize("include_usage", [True, False])
def test_every_frame_has_the_same_head(chunks: list[Chunk], *, include_usage: bool) -> None:
    heads = [
        {name: frame[name] for name in ("id", "object", "created", "model", "system_fingerprint")}
        for frame in streamed(chunks, include_usage=include_usage)
    ]
    assert heads == [heads[0]] * len(heads)
    assert heads[0]["object"] == "chat.completion.chunk"


def test_the_role_comes_first_and_only_then() -> None:
    assert [delta.get("role") for delta in deltas(HELLO)] == ["assistant", None, None, None]


OF_TEXT = {"role": "assistant", "content": ""}
OF_NO_TEXT = {"role": "assistant", "content": None}
UNDECIDED = {"role": "assistant"}


@pytest.mark.parametrize(
    ("chunks", "role"),
    [
        ([Text(0, "a")], OF_TEXT),
        ([ItemBegan(0, ItemKind.MESSAGE), Text(0, "a"), *CALL], OF_TEXT),
        ([Ended(0, Cause.FINISHED)], OF_TEXT),  # the whole answer is an empty text, too
        (CALL, OF_NO_TEXT),
        ([*CALL, Text(0, "a")], OF_NO_TEXT),
        ([ItemBegan(0, ItemKind.MESSAGE), Refusal(0, "no")], OF_NO_TEXT),
        ([], UNDECIDED),
        ([Working(0)], UNDECIDED),
        ([Working(0), Text(0, "a")], UNDECIDED),
        ([Working(0), *CALL], UNDECIDED),
        ([ItemBegan(0, ItemKind.MESSAGE)], UNDECIDED),  # the text is held back, and may be cut
        ([ReasoningText(0, "a"), Text(0, "a")], UNDECIDED),
        ([ItemBegan(0, ItemKind.REASONING), ReasoningText(0, "a"), *CALL], UNDECIDED),
        ([Text(1, "of another"), *call(1, "a", "f", "{}")], UNDECIDED),
    ],
)
@pytest.mark.parametrize("legacy_calls", [True, False])
def test_the_role_frame_says_of_the_content_what_is_known(
    chunks: list[Chunk], role: dict[str, Any], *, legacy_calls: bool
) -> None:
    first = streamed([Began(0), Began(1), *chunks], legacy_calls=legacy_calls)[0]["choices"][0]
    assert first == {"index": 0, "delta": role, "logprobs": None, "finish_reason": None}


def test_each_choice_has_a_role_frame_of_its_own() -> None:
    began: list[Chunk] = [Began(0), Began(1), Began(2)]
    said: list[Chunk] = [*call(2, "a", "f", "{}"), Text(0, "a"), Text(2, "b")]
    assert deltas([*began, *said])[:3] == [OF_TEXT, UNDECIDED, OF_NO_TEXT]


def test_a_sign_of_life_is_about_a_choice_that_is_open() -> None:
    made, of = wire(), []
    batches: list[list[Chunk]] = [
        [Began(0), Began(1), Text(1, "a")],
        [Ended(0, Cause.FINISHED)],
        [Text(1, "b")],
    ]
    for chunks in batches:
        rendered(made, chunks)
        of += frames_of(framed(made.sign_of_life()))[0]["choices"]
    assert [choice["index"] for choice in of] == [0, 1, 1]
    assert [choice["delta"] for choice in of] == [{}, {}, {}]


@pytest.mark.parametrize("legacy_calls", [True, False])
@pytest.mark.parametrize("character", ["a", '"', "\0", "\u2028", "\U0001f680", "\x85"])
def test_what_codex_hands_over_whole_goes_out_in_pieces(
    character: str, *, legacy_calls: bool
) -> None:
    text = character * 200_000
    data = rendered(wire(legacy_calls=legacy_calls), [*call(0, "a", "f", text), Refusal(0, text)])
    assert max(map(len, data.splitlines())) < 17 * 1024
    found = [frame["choices"][0]["delta"] for frame in frames_of(data)]
    functions = [
        delta.get("function_call") or delta["tool_calls"][0]["function"]
        for delta in found
        if "refusal" not in delta
    ]
    assert "".join(function["arguments"] for function in functions) == text
    assert "".join(delta.get("refusal", "") for delta in found) == text
    assert whole([*call(0, "a", "f", text)])["choices"][0]["message"]["tool_calls"] == [
        call_of("a", "f", text)
    ]


@pytest.mark.parametrize("chunks", ANSWERS, ids=NAMES)
def test_only_a_finish_frame_has_a_finish_reason_and_metadata(chunks: list[Chunk]) -> None:
    frames = [frame for frame in streamed(chunks, include_usage=True) if frame["choices"]]
    ends = [frame for frame in frames if frame["choices"][0]["finish_reason"] is not None]
    assert [
        (frame["choices"][0]["index"], frame["choices"][0]["finish_reason"]) for frame in ends
    ] == [(chunk.index, REASONS[chunk.cause]) for chunk in chunks if isinstance(chunk, Ended)]
    assert [frame for frame in frames if "codex_metadata" in frame] == ends
    assert all(frame["codex_metadata"] == METADATA for frame in ends)


def test_usage_is_null_but_in_its_own_frame_when_it_was_asked_for() -> None:
    frames = streamed(HELLO, include_usage=True)
    assert [frame["usage"] for frame in frames] == [None] * 4 + [render_usage(USAGE)]
    assert frames[-1]["choices"] == []


@pytest.mark.parametrize("chunks", ANSWERS, ids=NAMES)
def test_usage_is_nowhere_when_it_was_not_asked_for(chunks: list[Chunk]) -> None:
    assert not any("usage" in frame for frame in streamed(chunks))
    assert all(frame["choices"] for frame in streamed(chunks))


def test_a_call_says_once_whose_it_is_and_then_its_arguments() -> None:
    parts = [delta["tool_calls"] for delta in deltas(CALLS) if "tool_calls" in delta]
    assert all(len(part) == 1 for part in parts)
    calls = [part[0] for part in parts]
    assert [call["index"] for call in calls] == [0, 0, 1, 1, 2, 2]
    assert [call.get("id") for call in calls] == ["a", None, "b", None, "c", None]
    assert [call.get("type") for call in calls] == ["function", None] * 3
    assert [call["function"].get("name") for call in calls] == ["f", None, "g", None, "f", None]
    assert [call["function"]["arguments"] for call in calls] == ["", "{}", "", "{broken", "", ""]


def test_every_frame_says_which_choice_it_belongs_to() -> None:
    frames = streamed(TWO, include_usage=True)
    indices = [frame["choices"][0]["index"] for frame in frames if frame["choices"]]
    assert indices == [0, 1, 1, 0, 1, 1, 0, 1, 0]
    # Calls are counted by choice.
    calls = [delta["tool_calls"][0]["index"] for delta in deltas(TWO[:-1]) if "tool_calls" in delta]
    assert calls == [0, 0]


# The whole answer


def whole(chunks: list[Chunk], **options: Any) -> dict[str, Any]:
    return wire(**options).whole(chunks, SUMMARY)


def test_the_whole_answer_is_exactly_this() -> None:
    assert whole(HELLO) == {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": "gpt",
        "system_fingerprint": "fp_1",
        "choices": [
            {
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": "hello",
                    "refusal": None,
                    "annotations": [],
                },
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": render_usage(USAGE),
        "codex_metadata": METADATA,
    }


def call_of(call_id: str, name: str, arguments: str) -> dict[str, Any]:
    function = {"name": name, "arguments": arguments}
    return {"id": call_id, "type": "function", "function": function}


MESSAGE: dict[str, object] = {
    "role": "assistant",
    "content": None,
    "refusal": None,
    "annotations": [],
}
SAID_AND_CALLED = [call_of("a", "f", "{}"), call_of("b", "g", "{broken"), call_of("c", "f", "")]


@pytest.mark.parametrize(
    ("chunks", "legacy_calls", "message", "reason"),
    [
        (NOTHING, False, {**MESSAGE, "content": ""}, "stop"),
        (
            [Began(0), Text(0, ""), Ended(0, Cause.FINISHED)],
            False,
            {**MESSAGE, "content": ""},
            "stop",
        ),
        (FILTERED, False, {**MESSAGE, "content": "half"}, "content_filter"),
        (CALLS, False, {**MESSAGE, "content": "look", "tool_calls": SAID_AND_CALLED}, "tool_calls"),
        (
            [*CALL, Ended(0, Cause.CALLS)],
            False,
            {**MESSAGE, "tool_calls": [call_of("call_A", "get_weather", '{"city": "é"}')]},
            "tool_calls",
        ),
        (
            [*CALL, Ended(0, Cause.CALLS)],
            True,
            {**MESSAGE, "function_call": {"name": "get_weather", "arguments": '{"city": "é"}'}},
            "function_call",
        ),
        (REFUSED, False, {**MESSAGE, "refusal": "I won't."}, "stop"),
        (
            [Text(0, "a"), Refusal(0, "no"), Ended(0, Cause.FINISHED)],
            False,
            {**MESSAGE, "content": "a", "refusal": "no"},
            "stop",
        ),
        (REASONED, False, {**MESSAGE, "content": "x", "reasoning_content": "hm"}, "stop"),
    ],
)
def test_a_message_is_exactly_this(
    chunks: list[Chunk], message: dict[str, Any], reason: str, *, legacy_calls: bool
) -> None:
    (choice,) = whole(chunks, legacy_calls=legacy_calls)["choices"]
    assert choice["message"] == message
    assert choice["finish_reason"] == reason


def test_choices_are_in_their_order_whoever_was_first() -> None:
    mixed: list[Chunk] = [
        Ended(2, Cause.FINISHED),
        Text(1, "b"),
        Ended(0, Cause.FINISHED),
        Ended(1, Cause.TOKEN_LIMIT),
    ]
    choices = whole(mixed)["choices"]
    assert [choice["index"] for choice in choices] == [0, 1, 2]
    assert [choice["finish_reason"] for choice in choices] == ["stop", "length", "stop"]
    assert [choice["message"]["content"] for choice in choices] == ["", "b", ""]


def test_an_answer_without_a_count_has_none() -> None:
    assert whole(NOTHING)["usage"] is None


def test_the_usage_object_has_a_place_for_each_count() -> None:
    shown = render_usage(USAGE)
    assert (shown["prompt_tokens"], shown["completion_tokens"]) == (50, 9)
    assert shown["total_tokens"] == 59
    assert shown["prompt_tokens_details"]["cached_tokens"] == 40
    assert shown["completion_tokens_details"]["reasoning_tokens"] == 3


# Whatever the text

AWKWARD = [
    "",
    "hel",
    "lo",
    "l",
    "e\u0301",
    "\u0301",
    "👩‍👩‍👧",
    "\u200d",
    "🇩",
    "🇪",
    "\r",
    "\n",
    "\r\n",
    "\n\n",
    "data:",
    "data: [DONE]\n\n",
    "event: x",
    ": keepalive",
    "\0",
    "\u2028",
    "\u2029",
    "\x85",
    "\ufeff",
    '"',
    "\\",
    "\\n",
    "</script>",
]
TEXTS = st.lists(st.sampled_from(AWKWARD) | st.text(max_size=8), max_size=12)


INDICES = st.integers(0, 2)
SAID = st.lists(
    st.builds(Text, INDICES, st.sampled_from(AWKWARD) | st.text(max_size=8)).map(lambda it: [it])
    | st.builds(ReasoningText, INDICES, st.text(max_size=8)).map(lambda it: [it])
    | st.builds(Refusal, INDICES, st.text(min_size=1, max_size=8)).map(lambda it: [it])
    | st.builds(call, INDICES, st.text(max_size=3), st.text(max_size=3), st.text()),
    max_size=12,
)


def answer_of(said: list[list[Chunk]]) -> list[Chunk]:
    """The chunks of a whole answer of three choices."""
    chunks: list[Chunk] = [Began(0), Began(1), Began(2)]
    chunks += [chunk for group in said for chunk in group]
    called = {chunk.index for chunk in chunks if isinstance(chunk, CallBegan)}
    causes = [Cause.CALLS if index in called else Cause.FINISHED for index in range(3)]
    return [*chunks, *(Ended(index, causes[index]) for index in range(3)), Cost(USAGE)]


def put_together(frames: list[dict[str, Any]]) -> dict[int, dict[str, Any]]:
    """What a client makes of a stream."""
    messages: dict[int, dict[str, Any]] = {}
    for frame in frames:
        for choice in frame["choices"]:
            message = messages.setdefault(choice["index"], {"tool_calls": []})
            delta = choice["delta"]
            for name in ("role", "content", "reasoning_content", "refusal"):
                if delta.get(name) is not None:
                    message[name] = message.get(name, "") + delta[name]
            for call in delta.get("tool_calls", []):
                if "id" in call:
                    assert call["index"] == len(message["tool_calls"])
                    message["tool_calls"].append(
                        {"id": call["id"], "type": call["type"], "function": call["function"]}
                    )
                else:
                    message["tool_calls"][call["index"]]["function"]["arguments"] += call[
                        "function"
                    ]["arguments"]
            message["finish_reason"] = choice["finish_reason"]
    return messages


@given(SAID, st.booleans())
def test_the_whole_answer_is_the_stream_put_together(
    said: list[Any],
    include_usage: bool,  # hypothesis passes by position
) -> None:
    chunks = answer_of(said)
    frames = streamed(chunks, include_usage=include_usage)
    folded = whole(chunks, include_usage=include_usage)
    together = put_together(frames)
    assert [choice["index"] for choice in folded["choices"]] == sorted(together) == [0, 1, 2]
    for choice in folded["choices"]:
        message, heard = choice["message"], together[choice["index"]]
        assert (message["content"] or "") == heard.get("content", "")
        assert message.get("reasoning_content", "") == heard.get("reasoning_content", "")
        assert (message["refusal"] or "") == heard.get("refusal", "")
        assert message.get("tool_calls", []) == heard["tool_calls"]
        assert choice["finish_reason"] == heard["finish_reason"]
    assert folded["usage"] == render_usage(USAGE)
    assert {frame["id"] for frame in frames} == {folded["id"]}


@given(TEXTS, st.booleans())
def test_each_delta_is_one_frame_and_comes_back_exactly(
    texts: list[str],
    include_usage: bool,  # hypothesis passes by position
) -> None:
    chunks: list[Chunk] = [Text(0, text) for text in texts]
    assert deltas(chunks, include_usage=include_usage) == [{"content": text} for text in texts]
    assert whole(chunks)["choices"] == [] or (
        whole(chunks)["choices"][0]["message"]["content"] == "".join(texts)
    )


@given(SAID, st.integers(0, 24))
def test_how_the_chunks_are_batched_into_writes_does_not_show(said: list[Any], cut: int) -> None:
    made, chunks = wire(include_usage=True), answer_of(said)
    apart = frames_of(rendered(made, chunks[:cut]) + rendered(made, chunks[cut:]))
    together = frames_of(rendered(wire(include_usage=True), chunks))
    # But for what the role frames, three here, can know of the content.
    assert apart[3:] == together[3:]
    assert [frame["choices"][0]["delta"]["role"] for frame in apart[:3]] == ["assistant"] * 3


# OpenAI's own types


def unknown_members(value: Any, where: str = "") -> Iterator[str]:
    if isinstance(value, BaseModel):
        yield from (f"{where}.{name}" for name in value.model_extra or {})
        for name in type(value).model_fields:
            yield from unknown_members(getattr(value, name), f"{where}.{name}")
    elif isinstance(value, list):
        for index, entry in enumerate(value):
            yield from unknown_members(entry, f"{where}[{index}]")


@pytest.mark.parametrize("include_usage", [True, False])
@pytest.mark.parametrize("legacy_calls", [True, False])
@pytest.mark.parametrize("chunks", ANSWERS, ids=NAMES)
def test_every_frame_is_a_chunk_of_openai_s(
    chunks: list[Chunk], *, include_usage: bool, legacy_calls: bool
) -> None:
    for frame in streamed(chunks, include_usage=include_usage, legacy_calls=legacy_calls):
        chunk = ChatCompletionChunk.model_validate(frame, strict=True)
        expected = []
        if frame["choices"] and "reasoning_content" in frame["choices"][0]["delta"]:
            expected.append(".choices[0].delta.reasoning_content")
        if frame["choices"] and frame["choices"][0]["finish_reason"] is not None:
            expected.append(".codex_metadata")
        assert sorted(unknown_members(chunk)) == sorted(expected)


@pytest.mark.parametrize("legacy_calls", [True, False])
@pytest.mark.parametrize("chunks", ANSWERS, ids=NAMES)
def test_the_whole_answer_is_a_completion_of_openai_s(
    chunks: list[Chunk], *, legacy_calls: bool
) -> None:
    completion = ChatCompletion.model_validate(
        whole(chunks, legacy_calls=legacy_calls), strict=True
    )
    reasoned = [".choices[0].message.reasoning_content"] * (chunks is REASONED)
    assert sorted(unknown_members(completion)) == sorted([".codex_metadata", *reasoned])
