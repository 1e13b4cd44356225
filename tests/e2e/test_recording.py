"""Nothing has changed for anybody outside: a recording of now is held against the one from before the refactoring."""

from __future__ import annotations

import json
from pathlib import Path

from tests.e2e.harness import Upstream
from tests.e2e.recording.compare import Difference, differences, unexplained
from tests.e2e.recording.document import BEFORE, record

CHANGED: dict[str, str] = {}
"""Changes that the CHANGELOG names: a pattern of paths, as a failure shows them (`*` for anything), and why."""


def test_nothing_has_changed_for_anybody_outside(upstream: Upstream, tmp_path: Path) -> None:
    before = json.loads(BEFORE.read_text())
    found = list(differences(before, record(upstream, tmp_path)))
    lines = unexplained(found, CHANGED)
    assert not lines, "\n".join([f"{len(lines)} differences (before -> now)", *lines])


def test_a_difference_is_shown_by_its_place() -> None:
    frames = ['data: {"id":1,"delta":{"content":"a"},"created":<time>}', "data: [DONE]"]
    after = ['data: {"id":1,"delta":{"content":"b"},"created":<time>}']
    assert [*map(str, differences({"x": frames}, {"x": after}))] == [
        'x > 0 > delta > content: "a" -> "b"',
        'x > 1: "data: [DONE]" -> (absent)',
    ]
    turned = {"x": '{"b":1,"a":2}'}
    assert [*differences({"x": '{"a":2,"b":1}'}, turned)] == [
        Difference("x", '{"a":2,"b":1}', turned["x"])
    ]
    long = "x" * 999
    (one,) = differences({"x": f"{long}a{long}"}, {"x": f"{long}b{long}"})
    assert "xa" in str(one)
    assert len(str(one)) < 500
    assert [*differences({"x": [1, "y"]}, {"x": [True, "y"]})] == [Difference("x > 0", 1, True)]


def test_a_change_is_excused_by_name_and_an_excuse_must_be_needed() -> None:
    found = [Difference("requests > a > status", 200, 201), Difference("log > b", 1, 2)]
    assert unexplained(found, {"requests > * > status": "better"}) == ["log > b: 1 -> 2"]
    assert unexplained(found, {"*": "all"}) == []
    assert unexplained([], {"gone *": "?"}) == ["gone *: is said to have changed, and has not"]
