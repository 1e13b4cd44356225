import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from pydantic import BaseModel

from app.api.chat_completions.wire import (
    ChatAnswer,
    Chunk,
    Content,
    Envelope,
    Finish,
    Role,
    Tokens,
    render_usage,
)
from app.codex.events import (
    Event,
    RawItem,
    ReasoningDelta,
    ResponseCompleted,
    TextDelta,
    TurnEnded,
    TurnFailure,
    TurnStatus,
    Usage,
    UsageUpdated,
)
from app.errors import UpstreamError, UpstreamOverloaded

USAGE = Usage(input=50, cached_input=40, output=9, reasoning_output=3, total=59)
COMPLETED = TurnEnded(TurnStatus.COMPLETED)
FULL = TurnEnded(
    TurnStatus.FAILED, TurnFailure("Incomplete response returned, reason: max_output_tokens")
)


def answer(*, include_usage: bool = False) -> ChatAnswer:
    return ChatAnswer(
        Envelope(
            id="chatcmpl-1",
            created=1_700_000_000,
            model="gpt",
            system_fingerprint="fp_1",
            include_usage=include_usage,
        )
    )


def describe() -> dict[str, Any]:
    return {"thread_id": "thr", "ttft_ms": 7}


def chunks_of(made: ChatAnswer, events: list[Event]) -> list[Chunk]:
    return made.open() + [chunk for event in events for chunk in made.feed(event)]


def frames_of(data: bytes) -> list[dict[str, Any]]:
    *frames, rest = data.split(b"\n\n")
    assert rest == b""
    assert all(frame.startswith(b"data: ") for frame in frames)
    return [json.loads(frame.removeprefix(b"data: ")) for frame in frames]


def streamed(events: list[Event], *, include_usage: bool = False) -> list[dict[str, Any]]:
    made = answer(include_usage=include_usage)
    return frames_of(made.encode(chunks_of(made, events), describe))


# Golden frames

OPENING = (
    'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1700000000,'
    '"model":"gpt","system_fingerprint":"fp_1","choices":['
)
ROLE = '{"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}]'
TEXT = '{"index":0,"delta":{"content":%s},"logprobs":null,"finish_reason":null}]'
END = '{"index":0,"delta":{},"logprobs":null,"finish_reason":"%s"}]'
METADATA = '"codex_metadata":{"thread_id":"thr","ttft_ms":7}'
COUNTED = (
    '],"usage":{"prompt_tokens":50,"completion_tokens":9,"total_tokens":59,'
    '"prompt_tokens_details":{"cached_tokens":40,"audio_tokens":0},'
    '"completion_tokens_details":{"reasoning_tokens":3,"audio_tokens":0,'
    '"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}}'
)

GOLDEN: list[tuple[Chunk, str, str]] = [
    (Role(), f"{OPENING}{ROLE}}}\n\n", f'{OPENING}{ROLE},"usage":null}}\n\n'),
    (
        Content('é "\r\n\0👩‍👩‍👧'),
        OPENING + TEXT % r'"é \"\r\n\u0000👩‍👩‍👧"' + "}\n\n",
        OPENING + TEXT % r'"é \"\r\n\u0000👩‍👩‍👧"' + ',"usage":null}\n\n',
    ),
    (Content(""), OPENING + TEXT % '""' + "}\n\n", OPENING + TEXT % '""' + ',"usage":null}\n\n'),
    (
        Finish("stop"),
        f"{OPENING}{END % 'stop'},{METADATA}}}\n\n",
        f'{OPENING}{END % "stop"},"usage":null,{METADATA}}}\n\n',
    ),
    (
        Finish("length"),
        f"{OPENING}{END % 'length'},{METADATA}}}\n\n",
        f'{OPENING}{END % "length"},"usage":null,{METADATA}}}\n\n',
    ),
    (Tokens(USAGE), "", f"{OPENING}{COUNTED}\n\n"),
]


@pytest.mark.parametrize(("chunk", "without_usage", "with_usage"), GOLDEN)
def test_a_chunk_is_exactly_these_bytes(chunk: Chunk, without_usage: str, with_usage: str) -> None:
    assert answer().encode([chunk], describe) == without_usage.encode()
    assert answer(include_usage=True).encode([chunk], describe) == with_usage.encode()


# Events


@pytest.mark.parametrize(
    ("event", "chunks"),
    [
        (TextDelta("itm", "lo"), [Content("lo")]),
        (TextDelta("itm", ""), [Content("")]),
        (ReasoningDelta("hm"), []),
        (UsageUpdated(USAGE), []),
        (ResponseCompleted(USAGE), []),
        (RawItem({}), []),
        (COMPLETED, [Finish("stop")]),
        (FULL, [Finish("length")]),
    ],
)
def test_an_event_adds_its_chunks(event: Event, chunks: list[Chunk]) -> None:
    assert answer().feed(event) == chunks


def test_the_usage_comes_after_the_finish_and_is_the_last_that_was_reported() -> None:
    made = answer()
    assert (made.usage, made.finish_reason) == (None, None)
    made.feed(UsageUpdated(Usage(1, 1, 1, 1, 1)))
    made.feed(UsageUpdated(USAGE))
    assert made.feed(COMPLETED) == [Finish("stop"), Tokens(USAGE)]
    assert (made.usage, made.finish_reason) == (USAGE, "stop")


@pytest.mark.parametrize(
    ("ended", "expected"),
    [
        (TurnEnded(TurnStatus.INTERRUPTED), UpstreamError),
        (
            TurnEnded(TurnStatus.FAILED, TurnFailure("m", "serverOverloaded")),
            UpstreamOverloaded,
        ),
    ],
)
def test_a_failed_end_is_raised(ended: TurnEnded, expected: type[Exception]) -> None:
    with pytest.raises(expected):
        answer().feed(ended)


# The stream

EVENTS: list[Event] = [
    TextDelta("itm", "hel"),
    TextDelta("itm", "lo"),
    UsageUpdated(USAGE),
    COMPLETED,
]


def test_the_role_comes_first_and_only_then() -> None:
    roles = [frame["choices"][0]["delta"].get("role") for frame in streamed(EVENTS)]
    assert roles == ["assistant", None, None, None]


@pytest.mark.parametrize("include_usage", [True, False])
def test_every_frame_has_the_same_head(*, include_usage: bool) -> None:
    heads = [
        {name: frame[name] for name in ("id", "object", "created", "model", "system_fingerprint")}
        for frame in streamed(EVENTS, include_usage=include_usage)
    ]
    assert heads == [heads[0]] * len(heads)
    assert heads[0]["object"] == "chat.completion.chunk"


def test_only_the_finish_frame_has_a_finish_reason_and_metadata() -> None:
    frames = streamed(EVENTS, include_usage=True)
    assert [frame["choices"][0]["finish_reason"] for frame in frames[:-1]] == [
        None,
        None,
        None,
        "stop",
    ]
    assert ["codex_metadata" in frame for frame in frames] == [False, False, False, True, False]


def test_the_metadata_is_asked_for_when_the_answer_is_over() -> None:
    asked: list[int] = []

    def described() -> dict[str, Any]:
        asked.append(1)
        return {}

    made = answer()
    made.encode(chunks_of(made, EVENTS[:-1]), described)
    assert asked == []
    made.encode(made.feed(COMPLETED), described)
    assert asked == [1]


def test_usage_is_null_but_in_its_own_frame_when_it_was_asked_for() -> None:
    frames = streamed(EVENTS, include_usage=True)
    assert [frame["usage"] for frame in frames] == [None] * 4 + [render_usage(USAGE)]
    assert frames[-1]["choices"] == []


def test_usage_is_nowhere_when_it_was_not_asked_for() -> None:
    assert not any("usage" in frame for frame in streamed(EVENTS))
    assert all(frame["choices"] for frame in streamed(EVENTS))


def test_a_turn_without_a_count_has_no_usage_frame() -> None:
    frames = streamed([TextDelta("itm", "hi"), COMPLETED], include_usage=True)
    assert [frame["usage"] for frame in frames] == [None] * 3


# The whole answer


def test_the_whole_answer_is_exactly_this() -> None:
    made = answer()
    assert made.fold(chunks_of(made, EVENTS), describe) == {
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
        "codex_metadata": {"thread_id": "thr", "ttft_ms": 7},
    }


@pytest.mark.parametrize(
    ("events", "content", "reason"),
    [
        ([COMPLETED], "", "stop"),
        ([TextDelta("itm", "half"), FULL], "half", "length"),
        ([TextDelta("itm", ""), TextDelta("itm", "x"), COMPLETED], "x", "stop"),
    ],
)
def test_a_short_answer_is_whole_too(events: list[Event], content: str, reason: str) -> None:
    made = answer()
    whole = made.fold(chunks_of(made, events), describe)
    assert whole["choices"][0]["message"]["content"] == content
    assert whole["choices"][0]["finish_reason"] == reason
    assert whole["usage"] is None


def test_the_usage_object_has_a_place_for_each_count() -> None:
    rendered = render_usage(USAGE)
    assert (rendered["prompt_tokens"], rendered["completion_tokens"]) == (50, 9)
    assert rendered["total_tokens"] == 59
    assert rendered["prompt_tokens_details"]["cached_tokens"] == 40
    assert rendered["completion_tokens_details"]["reasoning_tokens"] == 3


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


@given(TEXTS, st.booleans())
def test_each_delta_is_one_frame_and_comes_back_exactly(
    texts: list[str],
    include_usage: bool,  # hypothesis passes by position
) -> None:
    events: list[Event] = [*(TextDelta("itm", text) for text in texts), COMPLETED]
    role, *deltas, end = streamed(events, include_usage=include_usage)
    assert [frame["choices"][0]["delta"] for frame in deltas] == [
        {"content": text} for text in texts
    ]
    assert role["choices"][0]["delta"]["content"] == ""
    assert end["choices"][0]["finish_reason"] == "stop"


@given(TEXTS)
def test_the_whole_answer_is_the_stream_put_together(texts: list[str]) -> None:
    made = answer(include_usage=True)
    events: list[Event] = [TextDelta("itm", text) for text in texts]
    chunks = chunks_of(made, [*events, UsageUpdated(USAGE), COMPLETED])
    whole = made.fold(chunks, describe)
    *frames, finish, usage = frames_of(made.encode(chunks, describe))
    assert whole["choices"][0]["message"]["content"] == "".join(texts)
    assert "".join(texts) == "".join(
        frame["choices"][0]["delta"].get("content", "") for frame in frames
    )
    assert whole["choices"][0]["finish_reason"] == finish["choices"][0]["finish_reason"]
    assert whole["codex_metadata"] == finish["codex_metadata"]
    assert whole["usage"] == usage["usage"]
    assert {whole[name] for name in ("id", "model")} == {usage[name] for name in ("id", "model")}


@given(TEXTS, st.integers(0, 14))
def test_how_the_chunks_are_batched_into_writes_does_not_show(texts: list[str], cut: int) -> None:
    made = answer()
    chunks = chunks_of(made, [*(TextDelta("itm", text) for text in texts), COMPLETED])
    together = made.encode(chunks, describe)
    assert made.encode(chunks[:cut], describe) + made.encode(chunks[cut:], describe) == together


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
@pytest.mark.parametrize("end", [COMPLETED, FULL])
def test_every_frame_is_a_chunk_of_openai_s(end: Event, *, include_usage: bool) -> None:
    for frame in streamed([*EVENTS[:-1], end], include_usage=include_usage):
        chunk = ChatCompletionChunk.model_validate(frame, strict=True)
        has_metadata = bool(frame["choices"]) and frame["choices"][0]["finish_reason"] is not None
        assert list(unknown_members(chunk)) == [".codex_metadata"] * has_metadata


@pytest.mark.parametrize("events", [EVENTS, [COMPLETED], [FULL]])
def test_the_whole_answer_is_a_completion_of_openai_s(events: list[Event]) -> None:
    made = answer()
    whole = made.fold(chunks_of(made, events), describe)
    completion = ChatCompletion.model_validate(whole, strict=True)
    assert list(unknown_members(completion)) == [".codex_metadata"]
