import re

import pytest

from scripted_upstream.pattern_filler import matching_text


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        (r"^[A-Z]{3}-\d{2,4}$", "AAA-00"),
        (r"^(foo|bar)+$", "foo"),
        (r"^(?:\+\d)?(?P<rest>[0-9]{3,})$", "000"),
        (r"[^a-z]", "0"),
        (r"^[^\W\d_]$", "a"),
        (r"^\S+@\S+\.\w{2}\s\D\W$", "a@a.aa a!"),
        (r"^#[0-9a-f]{6}$", "#aaaaaa"),
        (r"^[äö]{3}[β-ω]x?y*?[^x]$", "äääβa"),
        (r"^.$", "a"),
        ("", ""),
    ],
)
def test_the_simplest_text_that_matches(pattern: str, text: str) -> None:
    assert matching_text(pattern, 0, 100) == text
    assert re.search(pattern, text)


@pytest.mark.parametrize(("least", "most"), [(1, 1), (20, 30), (500, 500), (0, 0)])
def test_the_text_has_the_length_that_is_asked_for(least: int, most: int) -> None:
    text = matching_text(r"^\w*$", least, most)
    assert text is not None
    assert least <= len(text) <= most


@pytest.mark.parametrize(
    "pattern",
    [
        *(r"(?!foo)x", r"(a)\1", r"\p{L}+", "[", "a{99999999999}", "\ud800", r"^\w{5,}$"),
        *("((a{1000}){1000}){1000}", "(" * 900, "a" * 5000),
    ],
)
def test_what_is_not_made_here_is_none(pattern: str) -> None:
    assert matching_text(pattern, 0, 4) is None
