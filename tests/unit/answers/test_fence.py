import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.answers.fence import FenceFilter

ANSWERS = [
    ('{"a": 1}', '{"a": 1}'),
    ('```json\n{"a": 1}\n```', '{"a": 1}'),
    ('```\n{"a": 1}\n```\n', '{"a": 1}'),
    ('\n ```JSON \r\n{"a":\n 1}\r\n  ```', '{"a":\n 1}'),
    ('```json\n{"a": "```"}\n```', '{"a": "```"}'),
    ('```json\n{"a": "``` \\n ```"}\n```', '{"a": "``` \\n ```"}'),
    ('```json\n{"a": 1}\n``` I hope that ``` helps.', '{"a": 1}'),
    ('```json\n{"a": 1}```', '{"a": 1}'),
    ('```json\n[{"a": "```\\\\"} ] ```\n', '[{"a": "```\\\\"} ]'),
    ('```json {"a": "\\"```"}\n```', '{"a": "\\"```"}'),
    ('```{"a": 1}``` Well.', '{"a": 1}'),
    ('````json\n{"a": 1}\n````', '{"a": 1}'),
    ('```json\n{"a: 1}\n```', '{"a: 1}'),
    # A fence without its end, or without its beginning, or none at all.
    ('```json\n{"a": 1}\n', '{"a": 1}\n'),
    ('```json\n{"a": 1}\n``', '{"a": 1}\n``'),
    ('{"a": 1}\n```', '{"a": 1}\n```'),
    ('Here it is:\n```json\n{"a": 1}\n```', 'Here it is:\n```json\n{"a": 1}\n```'),
    ("`a` is", "`a` is"),
    ("``", "``"),
    ("```not a fence", "```not a fence"),
    ("```" + "x" * 50 + "\n1", "```" + "x" * 50 + "\n1"),
    ("", ""),
    ("  ", "  "),
]


def passed(pieces: list[str]) -> str:
    fence = FenceFilter()
    return "".join([*map(fence.feed, pieces), fence.flush()])


@pytest.mark.parametrize(("text", "expected"), ANSWERS)
def test_a_fence_is_taken_off_however_the_text_comes(text: str, expected: str) -> None:
    for size in (1, 2, 3, 7, max(1, len(text))):
        pieces = [text[at : at + size] for at in range(0, len(text), size)]
        assert passed(pieces) == expected


def test_what_cannot_be_a_fence_goes_out_at_once() -> None:
    fence = FenceFilter()
    assert [fence.feed(piece) for piece in ('{"a"', ": ", "`", "1}")] == ['{"a"', ": ", "`", "1}"]


def test_inside_only_what_may_end_it_is_held_back() -> None:
    fence = FenceFilter()
    given = ("```json", "\n{", '"a": ', "1", "}", "\n", "``", "`", " and so on")
    assert [fence.feed(piece) for piece in given] == ["", "{", '"a":', " 1", "}", "", "", "", ""]
    assert fence.flush() == ""


def test_a_desert_of_white_space_is_not_held_for_ever() -> None:
    fence = FenceFilter()
    fence.feed("```\n1")
    out = "".join(fence.feed(" ") for _ in range(10_000))
    assert len(out) > 5_000


PIECES = st.lists(
    st.sampled_from(["`", "``", "```", "json", "\n", " ", "{", '"', '"a"', "\\", "}", "x"])
)


@given(PIECES)
def test_nothing_is_lost_of_a_text_without_a_fence_at_its_beginning(pieces: list[str]) -> None:
    text = "".join(pieces)
    if not text.lstrip().startswith("```"):
        assert passed(pieces) == text


@given(PIECES)
def test_the_pieces_make_no_difference(pieces: list[str]) -> None:
    text = "".join(pieces)
    assert passed(pieces).rstrip() == passed([text]).rstrip()
