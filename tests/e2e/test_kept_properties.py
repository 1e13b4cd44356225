"""Whatever clients do with their conversations, a gateway that keeps threads says what one that keeps none says.

So does one that has threads ready, and one that speaks to the upstream over WebSockets. And it goes on with the threads
that it has: where a model of them is certain, each round that has to go on does, and none that must not.

`KEPT_EXAMPLES` is how many programs are tried, and `KEPT_SEED` decides them (see `docs/chaos.md`).
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterator
from random import Random
from typing import Any, NoReturn
from uuid import uuid4

import pytest

from tests.e2e import kept_model
from tests.e2e.harness import KEY, PIXEL, Gateway, Upstream
from tests.e2e.kept_draws import ALWAYS, DISTURBANCES, NAMES, TERMS, RoundDraw
from tests.e2e.kept_model import KeptModel
from tests.e2e.talk import TOOL, Message
from tests.e2e.twins import Conversation, Round, canary, instructed

OTHER_KEY = "another-key-of-thirty-characters"
KEYS = [KEY, OTHER_KEY]
EXAMPLES = int(os.environ.get("KEPT_EXAMPLES", "12"))
SEED = int(os.environ.get("KEPT_SEED", "1"))
CHANGES = [
    *["fork", "fork at the end", "edit", "edit", "shorten", "condense", "begin", "key"],
    *["terms", "name"],
]
"""What a client does with a conversation before it goes on; the round itself is calm then."""

Sides = list[tuple[Gateway, Upstream]]


class Program:
    """Draws what happens next, and lets both gateways do it. A step is drawn by itself, so that any can be left out."""

    def __init__(self, sides: Sides, name: str) -> None:
        self._sides, self._name = sides, name
        self._random = Random(name)
        self.length = self._random.randint(6, 16)
        self._model = KeptModel()
        self._open, self._at = [(self._new(), KEY)], 0
        self._markers: list[str] = []
        self.rounds: Counter[str] = Counter()
        """By what the model says of them: that they go on, that they do not, or neither."""
        self.met: Counter[str] = Counter()
        """Changes and disturbances of conversations whose next round would have gone on."""

    def run(self, steps: list[int]) -> None:
        for step in steps:
            self._random = Random(f"{self._name}/{step}")
            self._step()
        for _, upstream in self._sides:
            for marker in self._markers:
                upstream.control.drop(marker)

    def _step(self) -> None:
        happens = self._random.choices(["", "change", "disturbance"], [5, 2, 2])[0]
        change = self._random.choice(CHANGES) if happens == "change" else ""
        disturbance = self._random.choice(DISTURBANCES) if happens == "disturbance" else ""
        if self._random.random() < 0.5:  # else another round of the same conversation
            self._at = self._random.randrange(len(self._open))
        conversation, key = self._open[self._at]
        options = conversation.terms | conversation.always
        asked = kept_model.asked(key, options, conversation.twins[0].messages)
        if happens and self._model.holds(asked):
            self.met[change or disturbance] += 1
        self._change(change)
        self._ask(disturbance, change or disturbance or "calm")

    def _change(self, name: str) -> None:
        """Change the conversation, or let another one be the next to go on."""
        conversation, key = self._open[self._at]
        starts = conversation.starts()
        match name:
            case "begin":
                self._open.append((self._new(), self._random.choice(KEYS)))
                self._at = len(self._open) - 1
            case "key":
                (key,) = set(KEYS) - {key}
                self._open[self._at] = (conversation, key)
            case "terms" | "name":
                more = self._random.choice(TERMS if name == "terms" else NAMES)
                conversation.terms = conversation.terms | more
            case "fork" | "fork at the end":
                ends = starts[1:] if name == "fork" else []
                end = self._random.choice(ends or [conversation.length])
                self._open.append((conversation.copy(end), key))
                self._at = len(self._open) - 1
            case "edit" if starts:
                place, text = self._place(conversation), f"edited {canary()}"
                conversation.change(lambda it: edit(it[place], text))
            case "shorten" | "condense" if len(starts) > 1:
                summary = {"role": "assistant", "content": f"(in short) {canary()}"}
                put = [summary] if name == "condense" else []
                conversation.change(
                    lambda it: it.__setitem__(slice(starts[0] + 1, starts[-1]), put)
                )

    def _place(self, conversation: Conversation) -> int:
        """Return where a message stands, of any role alike, but for the results that are still to come."""
        messages = conversation.twins[0].messages
        past = messages[: len(messages) - conversation.open_calls()]
        role = self._random.choice(sorted({message["role"] for message in past}))
        return self._random.choice([at for at, one in enumerate(past) if one["role"] == role])

    def _new(self) -> Conversation:
        conversation = Conversation(self._sides)
        conversation.always = self._random.choice(ALWAYS)
        conversation.terms = {"tools": [TOOL], **self._random.choice([{}, *TERMS, *NAMES])}
        if conversation.always:
            system = {"role": "system", "content": canary()}
            conversation.change(lambda it: it.append(system))
        return conversation

    def _ask(self, disturbance: str, name: str) -> None:
        conversation, key = self._open[self._at]
        marker = f"marker-{uuid4().hex}"
        self._markers.append(marker)
        text = f"[{marker}] {canary()}"
        results = self._answer_calls(conversation, text)
        if not results or self._random.random() < 0.5:
            content: Any = text
            if self._random.random() < 0.1:
                image = {"type": "image_url", "image_url": {"url": PIXEL}}
                content = [{"type": "text", "text": text}, image]
            conversation.change(lambda it: it.append({"role": "user", "content": content}))
        draw = RoundDraw(self._random, key, conversation.always, disturbance)
        self._play(conversation, draw.round(conversation.terms), marker, name)

    def _answer_calls(self, conversation: Conversation, text: str) -> int:
        """Let the calls have results, in their order or not."""
        if not (open_calls := conversation.open_calls()):
            return 0
        more = self._random.choice(["", "", " " * 9, "long " * 8_000, "\n\u00e9\x00"])
        is_empty = open_calls > 1 and self._random.random() < 0.5
        as_list = self._random.random() < 0.5
        turned = self._random.random() < 0.2

        def give(messages: list[Message]) -> None:
            last = messages[-open_calls:]
            for number, message in enumerate(last):
                said = "" if is_empty and number < len(last) - 1 else f"{number} {text}{more}"
                message["content"] = [{"type": "text", "text": said}] if as_list and said else said
            if turned:
                messages[-open_calls:] = last[::-1]

        conversation.change(give)
        return open_calls

    def _play(self, conversation: Conversation, this: Round, marker: str, name: str) -> None:
        """Ask, and hold what the gateway went on with against the model."""
        asked = kept_model.asked(this.key, this.options, conversation.twins[0].messages)
        turns = this.times * this.options.get("n", 1)
        least, most = self._model.bounds(asked, turns)
        is_plain = kept_model.is_plain(this.script[0]["items"], this.options)
        # Of several choices, and of a question that is asked twice, not every turn is told of.
        is_told = "n" not in this.options and (is_plain or not instructed(this))
        went_on = conversation.play(this, marker)
        count = None if went_on is None else sum(went_on)
        if count is not None:
            assert (least if is_told else 0) <= count <= most, (name, least, count, most, this)
        verdict = {(0, 0): "must not", (turns, turns): "must"}.get((least, most), "may")
        self.rounds[verdict if is_told and count is not None else "may"] += 1
        self._model.went_on(asked, turns, count if is_told else None)
        if "failure" not in this.script[0] and this.leaves_after is None:
            self._model.keep(asked, this.script[0], this.options, turns)


def edit(message: Message, text: str) -> None:
    """Let a message say something else."""
    if calls := message.get("tool_calls"):
        calls[0]["function"]["arguments"] = json.dumps({"edited": text})
    else:
        message["content"] = text


def failure(sides: Sides, name: str, steps: list[int]) -> AssertionError | None:
    """Return why that program fails with these steps alone; None if it does not."""
    try:
        Program(sides, name).run(steps)
    except AssertionError as error:
        return error
    return None


def fail(sides: Sides, name: str, steps: list[int], error: AssertionError) -> NoReturn:
    """Raise the error of a program, with as few of its steps as it fails with."""
    for step in reversed(steps):
        fewer = [one for one in steps if one != step]
        if found := failure(sides, name, fewer):
            steps, error = fewer, found
    error.add_note(f"program {name}, steps {steps}")
    raise error


@pytest.fixture(params=["false", "auto", "true"], ids=["http", "mixed", "websockets"])
def sides(
    lend_gateway: Callable[..., Gateway], upstream: Upstream, request: pytest.FixtureRequest
) -> Iterator[Sides]:
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
def test_conversations_are_answered_alike(sides: Sides) -> None:
    rounds, met = Counter[str](), Counter[str]()
    for number in range(EXAMPLES):
        program = Program(sides, f"{SEED}/{number}")
        steps = list(range(program.length))
        try:
            program.run(steps)
        except AssertionError as error:
            fail(sides, f"{SEED}/{number}", steps, error)
        rounds, met = rounds + program.rounds, met + program.met
    assert rounds["must"] > rounds.total() / 4, rounds
    assert met.total() > EXAMPLES, met
    assert EXAMPLES < 50 or met.keys() == {*CHANGES, *DISTURBANCES}, met
