"""Notes of a release out of the changelog."""

from __future__ import annotations

import pytest

from app.version import VERSION
from scripts.release_notes import CHANGELOG, main, notes

PAGE = """# Changelog

Words.

## [Unreleased]

### Added

- New.

## [0.2.0] - 2026-11-29

What it is.

### Fixed

- Old.

## [0.1.0] - 2026-11-01

[0.2.0]: https://example.com/0.2.0
"""


@pytest.mark.parametrize(
    ("version", "text"),
    [
        ("Unreleased", "### Added\n\n- New."),
        ("0.2.0", "What it is.\n\n### Fixed\n\n- Old."),
        ("0.1.0", ""),
        ("0.3.0", ""),
    ],
)
def test_a_version_has_its_part(version: str, text: str) -> None:
    assert notes(PAGE, version) == text


def test_the_version_that_is_released_has_notes() -> None:
    assert notes(CHANGELOG.read_text(), VERSION)


def test_a_tag_may_have_a_v_and_an_unknown_one_fails(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([f"v{VERSION}"]) == 0
    assert main(["9.9.9"]) == 1
    assert capsys.readouterr().err == "CHANGELOG.md says nothing of 9.9.9.\n"
