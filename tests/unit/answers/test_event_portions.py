from typing import cast

import pytest

from app.answers.event_portions import MOST_CHARACTERS, MOST_EVENTS, Batch, portions
from app.backend.events import Event, ReasoningDelta, TextDelta, TextRun, TurnEnded, TurnStatus
from app.errors import GatewayError, UpstreamError

END = TurnEnded(TurnStatus.COMPLETED)


def test_a_batch_that_is_short_is_one_portion() -> None:
    batch: list[Event] = [TextDelta("i", "a"), TextDelta("i", "b"), END]
    assert list(portions(batch, keeps_runs=True)) == [batch]
    assert list(portions([], keeps_runs=True)) == []


def test_many_events_are_several_portions_in_their_order() -> None:
    batch: list[Event] = [TextDelta("i", str(number)) for number in range(3 * MOST_EVENTS + 1)]
    found = list(portions(batch, keeps_runs=True))
    assert [len(portion) for portion in found if isinstance(portion, list)] == [MOST_EVENTS] * 3 + [
        1
    ]
    assert [event for portion in found if isinstance(portion, list) for event in portion] == batch


def test_a_text_that_is_too_long_for_one_portion_is_cut() -> None:
    text = "abc" * MOST_CHARACTERS
    batch: list[Event] = [TextDelta("i", text), ReasoningDelta(text, "p"), END]
    found = list(portions(batch, keeps_runs=True))
    events = [event for portion in found if isinstance(portion, list) for event in portion]
    texts = [event.text for event in events if isinstance(event, TextDelta)]
    thoughts = [event.text for event in events if isinstance(event, ReasoningDelta)]
    assert "".join(texts) == "".join(thoughts) == text
    assert max(map(len, texts + thoughts)) == MOST_CHARACTERS
    assert found[-1] == [END]


def test_an_error_is_passed_on() -> None:
    error = UpstreamError("x")
    assert list(portions(error, keeps_runs=True)) == [error]


def counts(portion: Batch) -> int:
    assert not isinstance(portion, GatewayError)
    return sum(len(event.texts) if isinstance(event, TextRun) else 1 for event in portion)


def pieces(portion: Batch) -> list[str]:
    assert not isinstance(portion, GatewayError)
    found: list[str] = []
    for event in portion:
        found += event.texts if isinstance(event, TextRun) else [cast("TextDelta", event).text]
    return found


@pytest.mark.parametrize("size", [1, 5, 100, MOST_EVENTS, MOST_EVENTS + 1, 5 * MOST_EVENTS])
def test_each_piece_of_a_run_counts(size: int) -> None:
    texts = [str(number) for number in range(size)]
    batch: list[Event] = [TextRun("i", texts), TextDelta("i", "between"), TextRun("i", texts)]
    found = list(portions(batch, keeps_runs=True))
    assert max(map(counts, found)) <= MOST_EVENTS
    assert len(found) <= 2 + 2 * size // MOST_EVENTS
    told = [text for portion in found for text in pieces(portion)]
    assert told == [*texts, "between", *texts]


def test_a_run_is_cut_where_its_text_is_long() -> None:
    texts = ["ab" * MOST_CHARACTERS, "c", "d" * (MOST_CHARACTERS - 1), "e"]
    found = [pieces(it) for it in portions([TextRun("i", texts)], keeps_runs=True)]
    assert "".join(map("".join, found)) == "".join(texts)
    assert [len("".join(told)) for told in found] == [MOST_CHARACTERS] * 3 + [1]


def test_runs_are_single_pieces_where_they_are_not_kept() -> None:
    batch: list[Event] = [TextRun("i", ["a", "b"]), END]
    single = [TextDelta("i", "a"), TextDelta("i", "b"), END]
    assert list(portions(batch, keeps_runs=False)) == [single]
