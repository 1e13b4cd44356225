from app.answers.event_portions import MOST_CHARACTERS, MOST_EVENTS, portions
from app.backend.events import Event, ReasoningDelta, TextDelta, TurnEnded, TurnStatus
from app.errors import UpstreamError

END = TurnEnded(TurnStatus.COMPLETED)


def test_a_batch_that_is_short_is_one_portion() -> None:
    batch: list[Event] = [TextDelta("i", "a"), TextDelta("i", "b"), END]
    assert list(portions(batch)) == [batch]
    assert list(portions([])) == []


def test_many_events_are_several_portions_in_their_order() -> None:
    batch: list[Event] = [TextDelta("i", str(number)) for number in range(3 * MOST_EVENTS + 1)]
    found = list(portions(batch))
    assert [len(portion) for portion in found if isinstance(portion, list)] == [MOST_EVENTS] * 3 + [
        1
    ]
    assert [event for portion in found if isinstance(portion, list) for event in portion] == batch


def test_a_text_that_is_too_long_for_one_portion_is_cut() -> None:
    text = "abc" * MOST_CHARACTERS
    found = list(portions([TextDelta("i", text), ReasoningDelta(text, "p"), END]))
    events = [event for portion in found if isinstance(portion, list) for event in portion]
    texts = [event.text for event in events if isinstance(event, TextDelta)]
    thoughts = [event.text for event in events if isinstance(event, ReasoningDelta)]
    assert "".join(texts) == "".join(thoughts) == text
    assert max(map(len, texts + thoughts)) == MOST_CHARACTERS
    assert found[-1] == [END]


def test_an_error_is_passed_on() -> None:
    error = UpstreamError("x")
    assert list(portions(error)) == [error]
