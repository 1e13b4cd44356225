import pytest

from scripted_upstream.fields import ScriptError
from scripted_upstream.script import Response, Script
from scripted_upstream.script_registry import ScriptRegistry


def script(*delays: int) -> Script:
    return Script(tuple(Response(delay_ms=delay) for delay in delays))


def delay(registry: ScriptRegistry, body: bytes) -> float | None:
    response = registry.take(body)
    return None if response is None else response.delay_ms


def test_calls_walk_through_a_script() -> None:
    registry = ScriptRegistry()
    registry.put("m", script(1, 2))
    assert [delay(registry, b"..m..") for _ in range(3)] == [1, 2, 2]


def test_no_marker_means_no_script() -> None:
    registry = ScriptRegistry()
    registry.put("m", script(1))
    assert delay(registry, b"nothing") is None


def test_the_last_marker_wins_and_then_the_longest() -> None:
    registry = ScriptRegistry()
    for place, marker in enumerate(("t1", "t10", "t2")):
        registry.put(marker, script(place))
    assert delay(registry, b"t2 then t1") == 0
    assert delay(registry, b"t1 then t2") == 2
    assert delay(registry, b"t2 then t10") == 1


def test_putting_a_script_again_starts_it_anew() -> None:
    registry = ScriptRegistry()
    registry.put("m", script(1, 2))
    delay(registry, b"m")
    registry.put("m", script(1, 2))
    assert delay(registry, b"m") == 1


def test_a_dropped_script_is_gone() -> None:
    registry = ScriptRegistry()
    registry.put("m", script(1))
    assert registry.drop("m")
    assert not registry.drop("m")
    assert delay(registry, b"m") is None


@pytest.mark.parametrize("marker", ["", "a b", 'a"b', "é", "x" * 129])
def test_a_marker_that_json_may_rewrite_is_refused(marker: str) -> None:
    with pytest.raises(ScriptError):
        ScriptRegistry().put(marker, script(1))
