"""What a thread holds and has cost, and whether it can be gone on with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from app.backend.events import (
    NO_USAGE,
    Event,
    ModelRerouted,
    RawItem,
    ResponseCompleted,
    TextDelta,
    TurnEnded,
    TurnStatus,
    Usage,
    UsageUpdated,
)
from app.backend.request import Item
from app.backends.app_server.conversation import read
from app.backends.app_server.parse_events import ThreadId
from app.backends.app_server.thread import Thread
from app.backends.app_server.turn import Turn
from app.errors import Draining
from app.rpc.messages import Request
from tests.unit.backends.app_server.items import (
    asked,
    call,
    mark,
    output,
    said,
    thought,
)
from tests.unit.backends.app_server.kept import (
    DONE,
    TURN,
    USAGE,
    answered,
    begun,
    hear,
    hold,
    terms,
    waiting,
)

ASKED, SAID, THOUGHT = asked("q"), said("a"), thought()


def told(thread: Thread) -> list[Event]:
    """What the turn has heard and nobody has taken yet."""
    return thread.turn.take(0)


ENDLESS = Usage(1 << 40, 0, 1, 0, (1 << 40) + 1)


def unheard(_request: Request, _result: Mapping[str, Any]) -> None:
    """Codex, where nobody looks at what it was answered."""


# What it has cost


@pytest.mark.parametrize(
    ("before", "total", "usage"),
    [
        (NO_USAGE, Usage(10, 4, 3, 1, 13), Usage(10, 4, 3, 1, 13)),
        (Usage(10, 4, 3, 1, 13), Usage(25, 18, 5, 1, 30), Usage(15, 14, 2, 0, 17)),
        # An incomplete response adds nothing.
        (Usage(10, 4, 3, 1, 13), Usage(10, 4, 3, 1, 13), NO_USAGE),
    ],
)
def test_a_turn_costs_what_the_total_of_its_thread_grew(
    before: Usage, total: Usage, usage: Usage
) -> None:
    thread = begun(ASKED)
    hear(thread, UsageUpdated(before), DONE)
    go_on(thread)
    hear(thread, TextDelta("i", "x"), UsageUpdated(total))
    assert told(thread) == [TextDelta("i", "x"), UsageUpdated(usage)]


def test_a_response_whose_usage_codex_has_not_added_yet_counts() -> None:
    """While a turn waits for results, it tells only what that one response has cost."""
    thread = waiting(ASKED, calls=[call()])
    assert thread.cost == USAGE
    go_on(thread)
    thread.give_results([output()], (), unheard)
    hear(thread, UsageUpdated(USAGE), TextDelta("i", "x"), UsageUpdated(USAGE + USAGE))
    assert told(thread) == [TextDelta("i", "x"), UsageUpdated(USAGE)]


@pytest.mark.parametrize(
    "odd", [Usage(10, 4, 3, 9, 13), Usage(10, 40, 3, 1, 13), Usage(10, 4, 3, 1, 0)]
)
def test_impossible_figures_of_one_turn_are_not_the_next_ones(odd: Usage) -> None:
    thread = begun(ASKED, offered=("look",))
    hear(thread, RawItem(call()), ResponseCompleted(odd))
    go_on(thread)
    thread.give_results([output()], (), unheard)
    hear(thread, UsageUpdated(odd), TextDelta("i", "x"), UsageUpdated(odd + USAGE))
    assert told(thread) == [TextDelta("i", "x"), UsageUpdated(USAGE)]


def go_on(thread: Thread) -> None:
    turn = Turn(ThreadId("t"), 1, lambda _: None, has_tools=thread.calls is not None)
    turn.begin(TURN)
    thread.go_on(turn)
    thread.is_asked = True


# What it holds


@pytest.mark.parametrize(
    ("item", "least"),
    [
        (SAID, 3_000),
        ({**THOUGHT, "encrypted_content": "x" * 100_000}, 102_000),
        ({**SAID, "content": [{"type": "output_text", "text": "a"}] * 100}, 102_000),
    ],
    ids=["message", "reasoning", "parts"],
)
def test_its_answer_costs_the_child_what_it_does(item: Item, least: int) -> None:
    thread = begun(ASKED)
    before = thread.size
    hear(thread, RawItem(item), RawItem(SAID), DONE)
    thread.read_answer()
    assert least <= thread.size - before < 1.2 * least + 5_000


def test_it_holds_what_it_was_given_and_what_was_answered() -> None:
    thread = answered(ASKED, answer=SAID)
    thread.read_answer()
    assert thread.conversation.mark == mark(ASKED, SAID)
    assert thread.is_worth_keeping
    assert thread.size > 0


def test_it_holds_the_reasoning_before_an_answer() -> None:
    thread = begun(ASKED)
    hear(thread, RawItem(THOUGHT), RawItem(SAID), ResponseCompleted(USAGE), DONE)
    thread.read_answer()
    (held,) = thread.conversation.reasoning
    assert read((THOUGHT,)).whole.reasoning == (held,)


def test_a_history_that_codex_repeats_is_not_held_twice() -> None:
    thread = begun(ASKED)
    thread.is_asked = False
    hear(thread, RawItem(SAID))
    thread.is_asked = True
    hear(thread, RawItem(ASKED), turn_id="auto-compact-0")
    assert thread.conversation.mark == mark(ASKED)
    hear(thread, RawItem(SAID), DONE)
    assert thread.is_worth_keeping
    thread.read_answer()
    assert thread.conversation.mark == mark(ASKED, SAID)


def test_an_answer_may_come_before_that_to_turn_start() -> None:
    thread = begun(ASKED, offered=("look",))
    thread.turn.turn_id = None
    hear(thread, RawItem(asked("other")), turn_id="auto-compact-0")
    hear(thread, RawItem(THOUGHT), RawItem(call()), ResponseCompleted(USAGE))
    assert thread.waits_for_results
    assert thread.is_worth_keeping
    thread.read_answer()
    assert thread.conversation.mark == mark(ASKED, call())
    assert len(thread.conversation.reasoning) == 1


def failed(status: TurnStatus) -> list[Event]:
    return [RawItem(SAID), TurnEnded(status)]


@pytest.mark.parametrize(
    "events",
    [
        pytest.param(failed(TurnStatus.FAILED), id="failed"),
        pytest.param(failed(TurnStatus.INTERRUPTED), id="interrupted"),
        pytest.param([RawItem(SAID), ResponseCompleted(USAGE)], id="not over"),
        pytest.param([RawItem(asked("<aborted>")), RawItem(SAID), DONE], id="words of codex's"),
        pytest.param([RawItem(call()), RawItem(output("unsupported")), RawItem(SAID), DONE], id="results of codex's"),
        pytest.param([RawItem({"type": "web_search_call"}), RawItem(SAID), DONE], id="another item"),
        pytest.param([ModelRerouted("other"), RawItem(SAID), DONE], id="another model"),
        pytest.param([RawItem(call()), ResponseCompleted(USAGE)], id="calls without tools"),
        pytest.param([RawItem(SAID), ResponseCompleted(ENDLESS), DONE], id="tokens without end"),
    ],
)  # fmt: skip
def test_what_no_request_could_bring_is_not_kept(events: list[Event]) -> None:
    thread = begun(ASKED)
    hear(thread, *events)
    assert not thread.is_worth_keeping


def test_what_ends_with_words_of_this_gateway_is_not_kept() -> None:
    thread = begun(ASKED)
    hold(thread, read((ASKED,)), is_exact=False)
    hear(thread, RawItem(SAID), DONE)
    assert not thread.is_worth_keeping


def test_a_turn_that_we_ended_is_not_kept() -> None:
    thread = begun(ASKED)
    thread.turn.fail(Draining("soon"))
    hear(thread, RawItem(SAID), DONE)
    assert not thread.is_worth_keeping


# Results


@pytest.mark.parametrize(
    ("new", "can"),
    [
        pytest.param([output()], True, id="a result"),
        pytest.param([output(), asked("and?"), asked("so", "developer")], True, id="and questions"),
        pytest.param([output(), said("no")], False, id="and an answer"),
        pytest.param([output(), call(call_id="c2"), output(call_id="c2")], False, id="and a call"),
        pytest.param([asked("never mind")], False, id="no result"),
        pytest.param([output("x" * 300_000)], False, id="one over which codex takes its time"),
    ],
)
def test_a_turn_that_waits_takes_its_results_and_questions(new: list[Any], can: bool) -> None:
    thread = waiting(ASKED, calls=[call()])
    assert thread.is_worth_keeping
    assert thread.can_take_results(new) is can


def test_what_codex_repeats_of_them_is_no_news() -> None:
    thread = waiting(ASKED, calls=[call()])
    go_on(thread)
    more = asked("and?")
    hold(thread, read((ASKED, call(), output(), more)))
    thread.give_results([output()], [more], unheard)
    hear(thread, RawItem(output()), UsageUpdated(USAGE), RawItem(more))
    assert told(thread) == []
    hear(thread, RawItem(SAID), ResponseCompleted(USAGE), DONE)
    assert told(thread) == [RawItem(SAID), ResponseCompleted(USAGE), DONE]
    assert thread.is_worth_keeping
    thread.read_answer()
    assert thread.conversation.mark == mark(ASKED, call(), output(), more, SAID)


@pytest.mark.parametrize("repeated", [output("other"), asked("other")])
def test_where_codex_holds_something_else_the_thread_is_not_kept(repeated: Any) -> None:
    thread = waiting(ASKED, calls=[call()])
    go_on(thread)
    thread.give_results([output()], [asked("and?")], unheard)
    hear(thread, RawItem(repeated), RawItem(SAID), ResponseCompleted(USAGE), DONE)
    assert not thread.is_worth_keeping


def test_a_turn_that_is_over_waits_for_nothing() -> None:
    thread = waiting(ASKED, calls=[call()])
    hear(thread, TurnEnded(TurnStatus.FAILED))
    assert not thread.waits_for_results
    assert not thread.is_worth_keeping


# Terms


@pytest.mark.parametrize(
    "other",
    [
        {"model": "n"},
        {"effort": "high"},
        {"summary": "auto"},
        {"tools": ({"name": "look"},)},
        {"verbosity": "low"},
        {"service_tier": "flex"},
        {"output_schema": {"type": "object"}},
        {"conversation": "mine"},
        {"owner": "other"},
    ],
    ids=str,
)
def test_terms_differ_in_everything_that_codex_keeps(other: dict[str, Any]) -> None:
    assert terms(**other) != terms()
    assert terms(**other) == terms(**other)
