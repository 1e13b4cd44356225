"""Whatever clients do with their conversations, a gateway that keeps threads says what one that keeps none says.

So does one that has threads ready, and one that speaks to the upstream over WebSockets.

`KEPT_EXAMPLES` is how many programs are tried, and `KEPT_SEED` decides them (see `docs/chaos.md`).
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, Phase, given, note, seed, settings
from hypothesis import strategies as st

from tests.e2e.harness import KEY, PIXEL, Gateway, Upstream
from tests.e2e.talk import TOOL, Message, call, said
from tests.e2e.twins import Conversation, Round, canary, key_word

OTHER_KEY = "another-key-of-thirty-characters"
KEYS = [KEY, OTHER_KEY]
EXAMPLES = int(os.environ.get("KEPT_EXAMPLES", "12"))
SEED = int(os.environ.get("KEPT_SEED", "1"))
OTHER_TOOL = {"type": "function", "function": {"name": "see", "parameters": {"type": "object"}}}


def nothing(_: Message) -> None:
    """The answer comes back as it was."""


def stripped(message: Message) -> None:
    message["content"] = (message["content"] or "").strip() or None


def as_parts(message: Message) -> None:
    if message["content"]:
        message["content"] = [{"type": "text", "text": message["content"]}]


def bare(message: Message) -> None:
    for name in ("refusal", "annotations", "reasoning_content"):
        message.pop(name, None)


def arguments_anew(message: Message) -> None:
    for made in message.get("tool_calls", ()):
        try:
            value = json.loads(made["function"]["arguments"])
        except ValueError:
            continue
        made["function"]["arguments"] = json.dumps(value, indent=1, sort_keys=True)


DELTAS = st.lists(
    st.sampled_from(["a", "It ", " is", "\n", "  ", "é", "漢", "STOP", "\U0001f680", "x" * 300]),
    max_size=6,
)
ARGUMENTS = st.sampled_from(
    ["{}", '{"b": 2, "a": [1, {"c": null}]}', '{"n": 1e3, "u": "\\u00e9"}', "[1]", '"x"']
)
BAD_ARGUMENTS = st.sampled_from(['{"a":', "", "NaN", '{"a":' * 300 + "1" + "}" * 300])
CALL_IDS = st.sampled_from(["call_0", "call_1", "c" * 64, "c" * 80, "x y", "é"])
USAGES = st.fixed_dictionaries(
    {
        "input_tokens": st.integers(0, 300_000) | st.sampled_from([10**6, 10**12, -1]),
        "cached_tokens": st.integers(0, 300_000),
        "output_tokens": st.integers(0, 9_000),
        "reasoning_tokens": st.integers(0, 9_000),
    }
)
OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "model": st.sampled_from(["gpt-5.5", "gpt-5.6-sol"]),
        "reasoning_effort": st.sampled_from(["low", "high"]),
        "verbosity": st.just("low"),
        "user": st.sampled_from(["a", "b"]),
        "stop": st.sampled_from(["STOP", ["é", "no"]]),
        "max_tokens": st.integers(1, 5),
        "n": st.just(2),
        "parallel_tool_calls": st.booleans(),
    },
)
# Most requests are plain: what is kept is to be found now and then.
OPTIONS = st.one_of(*[st.just({})] * 4, OPTIONS)
FORM = {"name": "form", "schema": {"type": "object", "properties": {"a": {}}}}
NAMED = {"type": "function", "function": {"name": "look"}}
ALWAYS = st.sampled_from(
    [
        *[{}] * 8,
        {"tool_choice": "required"},
        {"tool_choice": NAMED},
        {"response_format": {"type": "json_object"}},
        {"response_format": {"type": "json_schema", "json_schema": FORM}},
    ]
)
KINDS = {
    "": ["text", "text", "calls", "both", "odd"],
    "tool_choice": ["calls", "calls", "both", "text", "odd"],
    # Of several messages the client gets the last one alone, and the model all of them.
    "response_format": ["json", "json", "text"],
}
"""Of answers, by the name of what is asked for in each round."""
OFFERED = st.sampled_from([*[[TOOL]] * 9, [], [TOOL, OTHER_TOOL]])
ECHOES = st.sampled_from([nothing, nothing, stripped, as_parts, bare, arguments_anew])
STEPS = st.sampled_from(
    ["ask"] * 12 + ["fork", "edit", "shorten", "condense", "begin", "key", "key"]
)


class Program:
    """Draws what happens next, and lets both gateways do it."""

    def __init__(self, data: st.DataObject, sides: list[tuple[Gateway, Upstream]]) -> None:
        self._data, self._sides = data, sides
        self._open = [(self._new(), KEY)]
        self.markers: list[str] = []
        self.continued: Counter[bool] = Counter()

    def step(self) -> None:
        name = self._draw(STEPS)
        at = self._draw(st.integers(0, len(self._open) - 1))
        conversation, key = self._open[at]
        starts = conversation.starts()
        match name:
            case "begin":
                self._open.append((self._new(), self._draw(st.sampled_from(KEYS))))
            case "key":
                (key,) = set(KEYS) - {key}
                self._open[at] = (conversation, key)
            case "fork" if starts:
                length = self._draw(st.sampled_from([*starts, conversation.length]))
                self._open.append((conversation.copy(length), key))
            case "edit" if starts:
                place, text = self._draw(st.sampled_from(starts)), f"edited {canary()}"
                conversation.change(lambda it: it[place].update(content=text))
            case "shorten" | "condense" if len(starts) > 2:
                summary = {"role": "assistant", "content": f"(in short) {canary()}"}
                put = [summary] if name == "condense" else []
                conversation.change(
                    lambda it: it.__setitem__(slice(starts[0] + 1, starts[-1]), put)
                )
        self._ask(conversation, key)

    def _new(self) -> Conversation:
        conversation = Conversation(self._sides)
        conversation.always = self._draw(ALWAYS)
        if conversation.always:
            system = {"role": "system", "content": canary()}
            conversation.change(lambda it: it.append(system))
        return conversation

    def _ask(self, conversation: Conversation, key: str) -> None:
        marker = f"marker-{uuid4().hex}"
        self.markers.append(marker)
        text = f"[{marker}] {canary()}"
        results = self._answer_calls(conversation, text)
        if not results or self._draw(st.booleans()):
            content: Any = text
            if self._draw(st.integers(0, 9)) == 0:
                image = {"type": "image_url", "image_url": {"url": PIXEL}}
                content = [{"type": "text", "text": text}, image]
            conversation.change(lambda it: it.append({"role": "user", "content": content}))
        this = self._round(key, conversation.always)
        note(f"{marker} {this}")
        self.continued.update(conversation.play(this, marker))

    def _answer_calls(self, conversation: Conversation, text: str) -> int:
        """Let the calls have results, in their order or not."""
        messages = conversation.twins[0].messages
        open_calls = 0
        while open_calls < len(messages) and messages[-1 - open_calls]["role"] == "tool":
            open_calls += 1
        if not open_calls:
            return 0
        more = self._draw(st.sampled_from(["", "", " " * 9, "long " * 8_000, "\n\u00e9\x00"]))
        is_empty = open_calls > 1 and self._draw(st.booleans())
        as_list = self._draw(st.booleans())
        turned = self._draw(st.integers(0, 4)) == 0

        def give(messages: list[Message]) -> None:
            last = messages[-open_calls:]
            for number, message in enumerate(last):
                said = "" if is_empty and number < len(last) - 1 else f"{number} {text}{more}"
                message["content"] = [{"type": "text", "text": said}] if as_list and said else said
            if turned:
                messages[-open_calls:] = last[::-1]

        conversation.change(give)
        return open_calls

    def _round(self, key: str, always: dict[str, Any]) -> Round:
        options = {**self._draw(OPTIONS), **always}
        script = [self._response(key, always)]
        makes_more = sum(item.pop("makes_more", False) for item in script[0]["items"]) > 0
        if tools := self._draw(OFFERED):
            options["tools"] = tools
            if self._draw(st.integers(0, 9)) == 0 and any(
                item["type"] == "function_call" for item in script[0]["items"]
            ):
                options["tool_choice"] = "required"
        else:
            options.pop("tool_choice", None)
        if makes_more or not tools:  # codex answers what was not offered, and asks again
            script.append({"items": [said(f"after all {canary()}")], "usage": self._draw(USAGES)})
            options.pop("n", None)  # each choice would have the next response
        stream = self._draw(st.booleans())
        leaves = self._draw(st.integers(0, 9)) == 0 and stream
        return Round(
            script,
            options,
            key,
            self._draw(ECHOES),
            picked=self._draw(st.integers(0, options.get("n", 1) - 1)),
            times=2 if len(script) == 1 and self._draw(st.integers(0, 5)) == 0 else 1,
            stream=stream,
            leaves_after=self._draw(st.integers(1, 6)) if leaves else None,
        )

    def _response(self, key: str, always: dict[str, Any]) -> dict[str, Any]:
        if self._draw(st.integers(0, 11)) == 0:
            names = ["rate_limited", "failed_invalid_prompt", "invalid_prompt"]
            return {"items": [], "failure": {"name": self._draw(st.sampled_from(names))}}
        items: list[Message] = []
        if self._draw(st.booleans()):
            thought = f"thought-of-{key_word(key)}"
            sealed = {"sealed": thought} if self._draw(st.booleans()) else {}
            items.append({"type": "reasoning", "summary_deltas": [thought], **sealed})
        kind = self._draw(st.sampled_from(KINDS["".join(always)]))
        if kind == "json":
            items.append(said('{"a": "', canary(), '"}'))
        if kind in {"text", "both", "odd"}:
            items.append(said(canary(), *self._draw(DELTAS)))
        if kind in {"calls", "both"}:
            ids = [f"call-of-{canary()}{number}" for number in range(self._draw(st.integers(1, 3)))]
            if self._draw(st.integers(0, 5)) == 0:  # also such as were there before
                ids = self._draw(st.lists(CALL_IDS, min_size=1, max_size=3, unique=True))
            items += [call(one, self._draw(ARGUMENTS)) for one in ids]
        if kind == "odd":
            items += self._odd()
        response: dict[str, Any] = {"items": items}
        response["usage"] = self._draw(
            USAGES
        )  # else it would tell how long the model's thoughts are
        return response

    def _odd(self) -> list[Message]:
        more = {"makes_more": True}
        found: list[Message] = self._draw(
            st.sampled_from(
                [
                    [said(canary(), phase="final_answer")],
                    [{**call("call_0"), **more}, {**call("call_0", '{"a": 1}'), **more}],
                    [{**call("call_9"), "name": "unknown", **more}],
                    [call("call_3"), said(canary())],
                    [{**call("call_5", self._draw(BAD_ARGUMENTS)), **more}],
                    [{"type": "message", "deltas": [], "refusal": "no"}],
                    [said(canary(), phase="commentary"), said(canary(), phase="final_answer")],
                    [{"type": "web_search_call", "id": "ws_1", "status": "completed"}],
                    [{"type": "of_tomorrow", "id": "x_1", "text": "no canary"}],
                ]
            )
        )
        return found

    def _draw(self, strategy: st.SearchStrategy[Any]) -> Any:
        return self._data.draw(strategy)


@pytest.fixture(params=["false", "auto", "true"], ids=["http", "mixed", "websockets"])
def sides(
    lend_gateway: Callable[..., Gateway], upstream: Upstream, request: pytest.FixtureRequest
) -> Iterator[list[tuple[Gateway, Upstream]]]:
    more = {"PROXY_API_KEYS": f"other={OTHER_KEY}", "WORKER_REQUEST_TIMEOUT_MS": "20000"}
    other = Upstream()
    with_all = {"CODEX_UPSTREAM_WEBSOCKETS": request.param}
    fresh = {
        "WORKER_KEPT_THREADS": "0",
        "WORKER_WARM_THREADS": "0",
        "CODEX_UPSTREAM_URL": other.url,
    }
    yield [(lend_gateway(**more, **with_all), upstream), (lend_gateway(**more, **fresh), other)]
    other.close()


@pytest.mark.timeout(60 + 10 * EXAMPLES)
def test_conversations_are_answered_alike(sides: list[tuple[Gateway, Upstream]]) -> None:
    continued: Counter[bool] = Counter()

    @seed(SEED)
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(data=st.data())
    def run(data: st.DataObject) -> None:
        program = Program(data, sides)
        for _ in range(data.draw(st.integers(4, 16))):
            program.step()
        for _, upstream in sides:
            for marker in program.markers:
                upstream.control.drop(marker)
        continued.update(program.continued)

    run()
    assert continued[True] > continued.total() / 20, continued
