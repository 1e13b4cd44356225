"""Steps of a request are lines at debug level, and nothing above it."""

from __future__ import annotations

import logging

import pytest

from app.step_log import passed, step


def take_steps() -> None:
    passed("a", size=3)
    with step("b", slots=1):
        passed("c")
    with pytest.raises(KeyError), step("d"):
        raise KeyError("what a client said")


def test_each_step_says_its_name_how_it_ended_and_how_long_it_took(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.DEBUG, "codex_api.steps"):
        take_steps()
    found = [vars(record) for record in caplog.records]
    assert [(f["msg"], f["step"], f.get("outcome")) for f in found] == [
        ("step", "a", None),
        ("step", "c", None),
        ("step", "b", "complete"),
        ("step", "d", "KeyError"),
    ]
    assert (found[0]["size"], found[2]["slots"]) == (3, 1)
    assert all(f["took_ms"] >= 0 for f in found[2:])
    assert "what a client said" not in caplog.text


def test_above_debug_nothing_is_said(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "codex_api.steps"):
        take_steps()
    assert caplog.records == []
