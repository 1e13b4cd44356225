from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.answers.stop_sequences import StopFilter

# Few characters, so that sequences overlap, repeat and begin one another; some are several code points or bytes long.
CHARACTERS = st.sampled_from(["a", "b", "ab", "\n", "é", "e\u0301", "👩‍👩‍👧", "\0", " "])
TEXTS = st.lists(CHARACTERS, max_size=20).map("".join)
SEQUENCES = st.lists(
    st.lists(CHARACTERS, min_size=1, max_size=4).map("".join), min_size=1, max_size=4
)


def cut_of(text: str, sequences: list[str]) -> int | None:
    """Where the sequence begins that is the first to be complete, the earlier of two at once. Letter by letter."""
    for end in range(1, len(text) + 1):
        ended = [end - len(s) for s in sequences if text[:end].endswith(s)]
        if ended:
            return min(ended)
    return None


def run(deltas: list[str], sequences: list[str]) -> tuple[list[str], str, bool]:
    stop = StopFilter(tuple(sequences))
    let_out = [stop.feed(delta) for delta in deltas]
    return let_out, stop.flush(), stop.hit


@pytest.mark.parametrize(
    ("deltas", "sequences", "let_out", "rest"),
    [
        (["hel", "lo"], [], ["hel", "lo"], ""),
        (["hel", "lo"], ["x"], ["hel", "lo"], ""),
        (["hel", "lo"], ["hello"], ["", ""], ""),
        (["hel", "lo"], ["l"], ["he", ""], ""),
        (["hel", "lo"], ["lo!"], ["he", "l"], "lo"),
        (["hel", "lo", "!"], ["lo!"], ["he", "l", ""], ""),
        (["a", "a", "a", "b"], ["aab"], ["", "", "a", ""], ""),
        (["ab", "ac"], ["abab"], ["", "abac"], ""),
        (["", "", "x"], ["x"], ["", "", ""], ""),
        (["EN", "D", "more"], ["END"], ["", "", ""], ""),
        # The one that is complete first, though the other began before it.
        (["abcd"], ["abcd", "c"], ["ab"], ""),
        # Both are complete at the same letter: nothing of either is let out.
        (["xabc"], ["abc", "bc"], ["x"], ""),
        (["\n", "\n", "Human:"], ["\n\nHuman:"], ["", "", ""], ""),
        (["\n", "\n", "Hi"], ["\n\nHuman:"], ["", "", "\n\nHi"], ""),
    ],
)
def test_what_is_let_out_and_when(
    deltas: list[str], sequences: list[str], let_out: list[str], rest: str
) -> None:
    said, flushed, hit = run(deltas, sequences)
    assert (said, flushed) == (let_out, rest)
    assert hit is (cut_of("".join(deltas), sequences) is not None)


@given(TEXTS, SEQUENCES, st.lists(st.integers(0, 40), max_size=8))
@example("aaab", ["aab"], [1, 2, 3])
@example("abab", ["ba", "abab"], [1, 2, 3])
def test_any_split_gives_exactly_the_text_before_the_stop(
    text: str, sequences: list[str], cuts: list[int]
) -> None:
    borders = sorted({0, len(text), *(cut for cut in cuts if cut < len(text))})
    deltas = [text[begin:end] for begin, end in pairwise(borders)]
    assert "".join(deltas) == text
    let_out, rest, hit = run(deltas, sequences)
    cut = cut_of(text, sequences)
    assert "".join(let_out) + rest == text[:cut]
    assert hit is (cut is not None)
    assert not (hit and rest)


@given(TEXTS, SEQUENCES)
def test_every_border_is_as_good_as_any_other(text: str, sequences: list[str]) -> None:
    expected = text[: cut_of(text, sequences)]
    for border in range(len(text) + 1):
        let_out, rest, _ = run([text[:border], text[border:]], sequences)
        assert "".join(let_out) + rest == expected
    let_out, rest, _ = run(list(text), sequences)
    assert "".join(let_out) + rest == expected


@given(TEXTS, SEQUENCES)
def test_no_more_is_held_back_than_might_still_be_a_stop(text: str, sequences: list[str]) -> None:
    stop = StopFilter(tuple(sequences))
    let_out = ""
    for end, letter in enumerate(text, start=1):
        let_out += stop.feed(letter)
        if stop.hit:
            return
        held = text[len(let_out) : end]
        assert held == "" or any(s.startswith(held) and s != held for s in sequences)


@given(TEXTS, SEQUENCES, TEXTS)
def test_nothing_comes_after_a_stop(text: str, sequences: list[str], more: str) -> None:
    stop = StopFilter(tuple(sequences))
    stop.feed(text + sequences[0])
    assert stop.hit
    assert [stop.feed(more), stop.feed(sequences[0]), stop.flush()] == ["", "", ""]
    assert stop.hit


def test_what_was_held_back_comes_out_once() -> None:
    stop = StopFilter(("end",))
    assert stop.feed("the e") == "the "
    assert [stop.flush(), stop.flush()] == ["e", ""]


@given(st.lists(TEXTS))
def test_without_sequences_every_delta_goes_out_as_it_came(deltas: list[str]) -> None:
    assert run(deltas, []) == (deltas, "", False)
