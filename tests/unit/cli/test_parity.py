"""`codex parity`: what it takes for a difference, by tables; what it reads, fills in and reports."""

from __future__ import annotations

import copy
import json
import string
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from responses import RequestsMock

from app.cli.parity import parity
from app.cli.parity_compare import Exchange, Found, Outcome, differences
from app.cli.parity_conversations import BUILT_IN, answer_in, filled, read_conversations
from app.cli.parity_load import Load, LoadFigures, LoadPlan
from app.cli.parity_report import Report, as_html, as_json, lines
from app.cli.parity_streams import read_stream
from app.cli.parity_values import Difference, Kind, Rules

WORDS = Rules(words=True, tolerance=0)
OF_A_TURN = {"id", "created", "system_fingerprint"}


def whole(**message: Any) -> dict[str, Any]:
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "system_fingerprint": "fp_1",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Hello.", "refusal": None, **message},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {
            "prompt_tokens": 100,
            "completion_tokens": 20,
            "total_tokens": 120,
            "prompt_tokens_details": {"cached_tokens": 0},
        },
        "codex_metadata": {"thread_id": "t", "ttft_ms": 3},
    }


def compared(a: Any, b: Any, rules: Rules | None = None) -> list[Difference]:
    return list(differences(Exchange(200, {}, a), Exchange(200, {}, b), rules or Rules()))


def places(a: Any, b: Any, rules: Rules | None = None) -> list[tuple[Kind, str]]:
    return [(found.kind, found.place) for found in compared(a, b, rules)]


OTHER: dict[type, Any] = {str: str, int: len}


def with_other_ids(value: Any, suffix: str) -> Any:
    """The same answer at another time: every id, time and fingerprint is another one."""
    if isinstance(value, dict):
        return {
            name: OTHER[type(inner)](suffix)
            if name in OF_A_TURN and type(inner) in OTHER
            else with_other_ids(inner, suffix)
            for name, inner in value.items()
            if name != "codex_metadata"
        }
    return [with_other_ids(entry, suffix) for entry in value] if isinstance(value, list) else value


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["a", "b", "id", "content", "usage", "status"]), inner)
    ),
    max_leaves=12,
)


@given(values, st.text(min_size=1))
def test_what_differs_in_ids_alone_is_alike(value: Any, suffix: str) -> None:
    answer = {**whole(), "more": value}
    assert compared(answer, with_other_ids(answer, suffix), WORDS) == []


@given(values, values)
def test_both_directions_show_the_same_places(one: Any, other: Any) -> None:
    there = {(found.place, found.a, found.b) for found in compared(one, other, WORDS)}
    back = {(found.place, found.b, found.a) for found in compared(other, one, WORDS)}
    assert there == back


def paths(value: Any, before: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    entries = value.items() if isinstance(value, dict) else enumerate(value)
    for name, inner in entries:
        if name == "codex_metadata":
            continue
        yield (*before, name)
        if isinstance(inner, dict | list):
            yield from paths(inner, (*before, name))


@pytest.mark.parametrize("path", [*paths(whole())], ids=lambda path: ".".join(map(str, path)))
def test_whatever_is_missing_is_named(path: tuple[Any, ...]) -> None:
    other = whole()
    inside: Any = other
    for name in path[:-1]:
        inside = inside[name]
    del inside[path[-1]]
    (found,) = compared(whole(), other)
    assert found.place == ".".join(map(str, path))
    assert found.b == "(absent)"
    (back,) = compared(other, whole())
    assert back.a == "(absent)"


def changed(answer: Any, path: str, value: Any) -> Any:
    answer = copy.deepcopy(answer)
    inside = answer
    *before, last = path.split(".")
    for name in before:
        inside = inside[int(name) if name.isdecimal() else name]
    inside[last] = value
    return answer


CONTENT = "choices.0.message.content"


@pytest.mark.parametrize(
    ("path", "value", "kind"),
    [
        ("object", "chat.completion.chunk", Kind.SHAPE),
        ("model", "another", Kind.SHAPE),
        ("choices.0.finish_reason", "length", Kind.FINISH),
        ("choices.0.message.role", "user", Kind.SHAPE),
        ("choices.0.message.refusal", "No.", Kind.SHAPE),
        (CONTENT, None, Kind.SHAPE),
        (CONTENT, "", Kind.SHAPE),
        (CONTENT, '{"a": 1}', Kind.SHAPE),
        ("usage.prompt_tokens", 112, Kind.USAGE),
        ("usage.completion_tokens", 0, Kind.USAGE),
        ("id", None, Kind.SHAPE),
    ],
)
def test_a_single_change_is_found(path: str, value: Any, kind: Kind) -> None:
    assert places(whole(), changed(whole(), path, value)) == [(kind, path)]


@pytest.mark.parametrize(
    ("path", "value", "kind"),
    [
        (CONTENT, "Good day.", Kind.WORDS),
        ("usage.prompt_tokens", 101, Kind.USAGE),
        ("usage.completion_tokens", 30, Kind.USAGE),
        ("usage.prompt_tokens_details.cached_tokens", 64, Kind.USAGE),
    ],
)
def test_what_a_model_may_do_is_a_difference_with_words_alone(
    path: str, value: Any, kind: Kind
) -> None:
    other = changed(whole(), path, value)
    assert compared(whole(), other) == []
    assert places(whole(), other, WORDS) == [(kind, path)]


def test_a_long_text_is_shown_from_where_it_differs() -> None:
    a, b = whole(content="x" * 500 + "one"), whole(content="x" * 500 + "two")
    (found,) = compared(a, b, WORDS)
    assert (found.a, found.b) == ('…"' + "x" * 20 + 'one"', '…"' + "x" * 20 + 'two"')


def test_ids_in_sentences_are_ids() -> None:
    a, b = (
        {"error": {"message": f"No resp_{which * 20} here.", "code": "c"}} for which in ("a", "b")
    )
    assert compared(a, b, WORDS) == []


def test_json_in_a_text_is_compared_by_its_members() -> None:
    a = whole(content='{"city": "Paris", "people": 2, "near": ["a"]}')
    b = whole(content='{"city": "Rome", "people": 3.5, "near": ["b", "c"]}')
    assert compared(a, b) == []
    assert places(a, whole(content='{"city": 1, "people": 2, "near": ["a"]}')) == [
        (Kind.SHAPE, f"{CONTENT}.city")
    ]
    assert places(a, b, WORDS) == [(Kind.WORDS, CONTENT)]


def test_models_are_compared_by_name() -> None:
    def models(*names: str) -> Any:
        return {"data": [{"id": name, "object": "model", "created": 1} for name in names]}

    assert compared(models("a", "b"), models("a", "b")) == []
    assert places(models("a", "b", "c"), models("a", "c")) == [(Kind.SHAPE, "data.b")]
    assert places(models("a", "b"), models("b", "a")) == [(Kind.ORDER, "data order")]


def test_an_item_too_many_is_one_difference() -> None:
    def items(*kinds: str) -> Any:
        return {"output": [{"type": kind, "text": kind} for kind in kinds]}

    a, b = items("reasoning", "message", "function_call"), items("message", "function_call")
    (found,) = compared(a, b, WORDS)
    assert (found.place, found.b) == ("output.0", "(absent)")
    (found,) = compared(b, a, WORDS)
    assert (found.place, found.a) == ("output.0", "(absent)")
    assert places(items("message", "reasoning"), items("message", "call"), WORDS) == [
        (Kind.SHAPE, "output.1"),
        (Kind.SHAPE, "output.1"),
    ]
    assert places(a, changed(b, "output.0.text", ""), WORDS) == [
        (Kind.SHAPE, "output.0"),
        (Kind.SHAPE, "output.1.text"),
    ]


def refused(status: int, code: str) -> Exchange:
    return Exchange(status, {}, {"error": {"code": code, "message": "So.", "param": None}})


def test_another_status_is_one_difference() -> None:
    (found,) = differences(refused(400, "invalid"), refused(404, "model_not_found"), Rules())
    assert found == Difference(Kind.STATUS, "status", "400 invalid", "404 model_not_found")
    (found,) = differences(Exchange(200, {}, whole()), Exchange(failure="Timeout."), Rules())
    assert (found.a, found.b) == ("200", "no answer")
    assert list(differences(Exchange(failure="a"), Exchange(failure="b"), Rules())) == []


def test_headers() -> None:
    a = Exchange(200, {"content-type": "application/json", "retry-after": "1", "date": "1"}, {})
    b = Exchange(200, {"content-type": "text/html", "retry-after": "2", "date": "2"}, {})
    assert [each.place for each in differences(a, b, Rules())] == ["header content-type"]
    (found,) = differences(a, Exchange(200, {"content-type": "application/json"}, {}), Rules())
    assert found == Difference(Kind.HEADER, "header retry-after", "1", "(absent)")


def test_the_upstreams_bodies_are_compared_word_by_word() -> None:
    def exchange(*bodies: Any) -> Exchange:
        return Exchange(200, {}, whole(), upstream=bodies)

    a = {"input": [{"id": "msg_1", "text": "Hello"}], "client_metadata": {"x": 1}, "store": False}
    b = {"input": [{"id": "msg_2", "text": "Hello"}], "client_metadata": {"y": 1}, "store": False}
    assert list(differences(exchange(a), exchange(b), Rules())) == []
    (found,) = differences(exchange(a), exchange({**b, "store": True}), Rules())
    assert found == Difference(Kind.UPSTREAM, "upstream.0.store", "false", "true")
    other = changed(b, "input.0.text", "Hallo")
    (found,) = differences(exchange(a), exchange(other), Rules())
    assert (found.kind, found.place) == (Kind.UPSTREAM, "upstream.0.input.0.text")
    (found,) = differences(exchange(a, a), exchange(b), Rules())
    assert (found.place, found.b) == ("upstream.1", "(absent)")


def test_what_a_kept_thread_says_of_its_own_answer_is_no_difference_upstream() -> None:
    part = {"type": "output_text", "text": "Hi"}
    said = {"type": "message", "role": "assistant", "content": [part]}
    thought: Any = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": None}
    as_made = {**said, "status": "completed", "content": [{**part, "annotations": []}]}

    def found(a: list[Any], b: list[Any]) -> list[str]:
        one, other = (Exchange(200, {}, whole(), upstream=[{"input": items}]) for items in (a, b))
        return [each.place for each in differences(one, other, Rules())]

    assert found([thought, as_made], [said]) == []
    assert found([{**thought, "encrypted_content": "x"}, said], [said]) == ["upstream.0.input.0"]
    cited = {**said, "content": [{**part, "annotations": [{"type": "url_citation"}]}]}
    assert found([cited], [said]) == ["upstream.0.input.0.content.0.annotations"]


# Streams


def sse(*frames: Any, done: bool = True) -> bytes:
    data = "".join(f"data: {json.dumps(frame)}\n\n" for frame in frames)
    return (data + ("data: [DONE]\n\n" if done else "")).encode()


def chunk(delta: Any, finish: str | None = None, index: int = 0, **more: Any) -> dict[str, Any]:
    choice = {"index": index, "delta": delta, "finish_reason": finish}
    return {"id": "c", "object": "chat.completion.chunk", "model": "m", "choices": [choice], **more}


ROLE = chunk({"role": "assistant", "content": ""})
USAGE = {"id": "c", "object": "chat.completion.chunk", "model": "m", "choices": [], "usage": {}}
END = chunk({}, "stop")
TEXT = (chunk({"content": "Hel"}), chunk({"content": "lo"}))
NAMED = {"index": 0, "id": "call_1", "function": {"name": "f", "arguments": ""}}


def streams(a: bytes, b: bytes, rules: Rules | None = None) -> list[tuple[Kind, str]]:
    return places(read_stream(a), read_stream(b), rules)


def test_a_stream_is_put_together() -> None:
    calls = [
        chunk({"tool_calls": [NAMED]}),
        chunk({"tool_calls": [{"index": 0, "function": {"arguments": '{"a":'}}]}),
        chunk({"tool_calls": [{"index": 0, "function": {"arguments": "1}"}}]}),
    ]
    stream = read_stream(sse(ROLE, *TEXT, chunk({}), *calls, END, USAGE))
    assert stream.order == {
        "choice 0": ["role", "content", "tool_calls", "finish"],
        "end": ["usage", "[DONE]"],
    }
    assert (stream.pieces["content"], stream.pieces["tool_calls"]) == (2, 3)
    joined = stream.joined["choices"]["choice 0"]
    assert (joined["content"], joined["finish_reason"]) == ("Hello", "stop")
    assert joined["tool_calls"]["0"]["function"] == {"name": "f", "arguments": '{"a":1}'}


ALIKE = sse(ROLE, *TEXT, END, USAGE)


@pytest.mark.parametrize(
    ("other", "found"),
    [
        (sse(ROLE, chunk({"content": "Other "}), chunk({"content": "words"}), END, USAGE), []),
        (sse(chunk({"role": "assistant"}), *TEXT, chunk({}), END, USAGE), []),
        (
            sse(ROLE, chunk({"content": "Hello"}), END, USAGE),
            [(Kind.PIECES, "stream pieces of content")],
        ),
        (sse(ROLE, *TEXT, END, USAGE, done=False), [(Kind.ORDER, "stream order of end, from 1")]),
        (
            sse(ROLE, *TEXT, chunk({}, "length"), USAGE),
            [(Kind.FINISH, "choices.choice 0.finish_reason")],
        ),
        (
            sse(*TEXT, ROLE, END, USAGE),
            [(Kind.ORDER, "stream order of choice 0, from 0")],
        ),
        (
            sse(ROLE, *({**each, "more": 1} for each in TEXT), END, USAGE),
            [(Kind.SHAPE, "stream members of chunk")],
        ),
    ],
)
def test_streams_are_compared_by_order_joined_text_and_pieces(other: bytes, found: Any) -> None:
    assert streams(ALIKE, other) == found


def test_with_words_every_boundary_counts() -> None:
    other = sse(
        ROLE, chunk({"content": "H"}), chunk({"content": "el"}), chunk({"content": "lo"}), END
    )
    assert streams(sse(ROLE, *TEXT, END), other) == []
    assert streams(sse(ROLE, *TEXT, END), other, WORDS) == [
        (Kind.PIECES, "stream pieces of content")
    ]


def test_choices_may_be_mixed_in_any_way() -> None:
    first, second = (
        [chunk(each, index=index) for each in ({"role": "assistant"}, {"content": "a"})]
        for index in (0, 1)
    )
    assert streams(sse(*first, *second), sse(second[0], first[0], second[1], first[1])) == []


def test_typed_events() -> None:
    def events(*kinds: str, text: str = "Hi") -> bytes:
        frames = []
        for number, kind in enumerate(kinds):
            more: dict[str, Any] = {"delta": text} if kind.endswith("delta") else {}
            if kind == "response.completed":
                more = {"response": {"id": "resp_1", "status": "completed"}}
            frames.append({"type": kind, "sequence_number": number, **more})
        return sse(*frames, done=False)

    usual = (
        "response.created",
        "response.in_progress",
        "response.output_text.delta",
        "response.completed",
    )
    assert streams(events(*usual), events(*usual[:2], usual[1], *usual[2:])) == []
    assert streams(events(*usual), events(usual[0], *usual[2:])) == [
        (Kind.ORDER, "stream order of events, from 1")
    ]
    (found,) = compared(
        read_stream(events(*usual)), read_stream(events(*usual[:3], "response.failed"))
    )[:1]
    assert (found.a, found.b) == ("response.completed", "response.failed")
    assert answer_in(read_stream(events(*usual)))["id"] == "resp_1"


def test_a_stream_is_no_whole_answer() -> None:
    assert places(read_stream(ALIKE), whole()) == [(Kind.SHAPE, "body")]


# Conversations


def test_the_built_in_conversations_are_read() -> None:
    paths = {step.path for each in read_conversations() for step in each.steps}
    assert {"/v1/chat/completions", "/v1/responses", "/v1/completions", "/v1/models"} <= paths
    for each in read_conversations():
        if each.upstream is not None:
            assert all(each.upstream["marker"] in str(step.body) for step in each.steps)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "no JSON"),
        ("{}", "list of conversations"),
        ("[]", "list of conversations"),
        ('[{"name": "a"}]', "conversation 0: it needs"),
        ('[{"name": "a", "steps": []}]', "no steps"),
        ('[{"name": "a", "steps": [{"path": "/"}], "upstream": {}}]', "an upstream needs"),
        ('[{"name": "a", "steps": [{"path": "/"}], "up": {}}]', "nothing else"),
        ('[{"name": "a", "steps": [{}]}]', "step 0: it needs a path"),
        ('[{"name": "a", "steps": [{"path": "v1"}]}]', "begins with /"),
        ('[{"name": "a", "steps": [{"path": "/", "key": 1}]}]', "key is not known"),
        ('[{"name": "a", "steps": [{"path": "/", "keys": 1}]}]', "keys is not known"),
        ('[{"name": "a", "steps": [{"path": "/"}]}, {"name": "a", "steps": [{"path": "/"}]}]', "o"),
    ],
)
def test_a_file_that_is_wrong_says_where(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "own.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=said):
        read_conversations(path)


def test_what_is_filled_in() -> None:
    answer = whole(tool_calls=[{"id": "call_1"}, {"id": "call_2"}])
    template = {
        "model": "$model",
        "messages": [{"$answer": "choices.0.message"}, {"$results": "4711"}],
    }
    assert filled(template, "m-1", answer) == {
        "model": "m-1",
        "messages": [
            answer["choices"][0]["message"],
            {"role": "tool", "tool_call_id": "call_1", "content": "4711"},
            {"role": "tool", "tool_call_id": "call_2", "content": "4711"},
        ],
    }
    output = [{"type": "reasoning"}, {"type": "function_call", "call_id": "c"}]
    assert filled([{"$each": "output"}, {"$results": "r"}], "", {"output": output}) == [
        *output,
        {"type": "function_call_output", "call_id": "c", "output": "r"},
    ]
    assert filled({"a": {"$repeat": "ab", "times": 3}}, "", None) == {"a": "ababab"}
    for missing in ({"$answer": "choices.1"}, [{"$each": "model"}]):
        with pytest.raises(LookupError):
            filled(missing, "", answer)


# The report

EVIL = '</code><script>alert("x")</script>\x1b[31m\n\u202e'


def report(*outcomes: Outcome, words: bool = False) -> Report:
    return Report("http://a", "http://b", EVIL, 3, words, upstream=False, outcomes=outcomes)


def outcome(*found: Difference, not_compared: str = "") -> Outcome:
    rows = tuple(Found("chat", 0, each, 2) for each in found)
    return Outcome("chat", rows, (10, 20), (100.0, 250.0), not_compared)


def test_nothing_that_an_answer_says_is_markup_or_moves_a_cursor() -> None:
    found = report(outcome(Difference(Kind.SHAPE, EVIL, EVIL, EVIL), not_compared=EVIL))
    page = as_html(found)
    assert "<script" not in page
    assert "default-src 'none'" in page
    for text in (page, "\n".join(lines(found)), json.dumps(as_json(found), ensure_ascii=False)):
        assert "\x1b" not in text
        assert "\u202e" not in text


def test_the_lines() -> None:
    shown = lines(report(outcome(Difference(Kind.USAGE, "usage.x", "1", "2"))))
    assert "chat          0     usage  usage.x  2/3   1  2" in shown
    assert "chat          10       20       100      250      2.50" in shown
    failed = report(outcome(Difference(Kind.STATUS, "status", "200", "400")))
    assert "chat          10       20       100      250" in lines(failed)
    assert shown[-1] == "DIFFERENT: 1 in 1 of 1 conversations."
    assert any(line.startswith("Models answer in other words") for line in shown)
    assert lines(report(outcome(), words=True))[-1] == "Alike: 1 conversations."
    assert not any("left out" in line for line in shown)
    assert any("2 conversations" in line for line in lines(replace(report(outcome()), left_out=2)))
    assert lines(report(outcome(not_compared="503")))[-1].startswith("COULD NOT RUN: 1 of 1")
    assert as_json(report(outcome()))["alike"] is True
    assert as_json(report(outcome(not_compared="503")))["alike"] is False


def test_load_is_shown_with_its_ratio() -> None:
    a, b = LoadFigures(50.0, 20.0, 31.0, 0), LoadFigures(5.0, 200.0, 210.0, 2)
    loaded = replace(report(outcome()), load=Load(LoadPlan(8, 100), a, b))
    assert "A     50.0       20      31   0" in lines(loaded)
    assert "B     5.0        200     210  2" in lines(loaded)
    words = "(8 clients, 100 requests a side; ms; B / A: median 10.00, answers 0.10)"
    assert words in lines(loaded)
    assert words in as_html(loaded)
    assert as_json(loaded)["load"]["b"]["failed"] == 2
    assert as_json(report(outcome()))["load"] is None
    silent = replace(loaded, load=Load(LoadPlan(8, 100), LoadFigures(0.0, 0.0, 0.0, 100), b))
    assert "(8 clients, 100 requests a side; ms)" in lines(silent)
    rare = replace(loaded, load=Load(LoadPlan(1, 20, 0.1), a, b))
    assert any("(1 clients, 20 requests a side, 100 ms before each; ms" in li for li in lines(rare))


# The command

KEY = "sk-parity-test-key-0123456789"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("http://a",), "URL_B"),
        (("nowhere", "http://127.0.0.1:1"), "A is no address"),
        (("http://127.0.0.1:1", "http://u@b"), "B is no address"),
        (("http://127.0.0.1:1", "http://127.0.0.1:1", KEY), "two addresses"),
        (("http://127.0.0.1:1", "http://127.0.0.1:1", "--key-env-b", "NO_KEY"), "NO_KEY is empty"),
        (("http://127.0.0.1:1", "http://127.0.0.1:1", "--upstream-a", "http://c"), "--upstream-b"),
        (("http://127.0.0.1:1", "http://127.0.0.1:1", "--only", "zzz"), "No conversation"),
        (("http://127.0.0.1:1", "http://127.0.0.1:1", "--only", "upstream-"), "scripted upstreams"),
        (("http://127.0.0.1:1", "http://127.0.0.1:1"), "No whole answer from http://127.0.0.1:1"),
        (("http://127.0.0.1:1", "http://127.0.0.1:1", "--conversations", "/proc/version"), "JSON"),
    ],
)
def test_what_cannot_run_is_said_and_the_exit_code_is_2(
    arguments: tuple[str, ...], said: str
) -> None:
    done = CliRunner(env={"PARITY_KEY": KEY}).invoke(
        parity, ["--key-env", "PARITY_KEY", *arguments]
    )
    assert done.exit_code == 2
    assert said in done.output
    assert KEY not in done.output


def test_a_key_that_a_gateway_repeats_is_not_repeated_here() -> None:
    with RequestsMock() as network:
        for name, said in (("a", "One"), ("b", "Two")):
            body = whole(content=f"{said}: {KEY}")
            network.post(f"http://{name}.test/v1/chat/completions", json=body)
        url, options = ("http://a.test", "http://b.test"), ["--only", "chat-stop", "--model", "m"]
        done = CliRunner(env={"PARITY_KEY": KEY}).invoke(
            parity, [*url, "--key-env", "PARITY_KEY", *options, "--words", "--warm-up", "0"]
        )
    assert done.exit_code == 1
    assert KEY not in done.output
    assert '"One: [hidden]"' in done.output


def test_the_built_in_file_is_beside_the_code_and_its_names_are_plain() -> None:
    allowed = set(string.ascii_lowercase + "-")
    assert BUILT_IN.is_file()
    assert all(set(each.name) <= allowed for each in read_conversations())
