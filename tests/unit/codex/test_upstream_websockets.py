"""Whether threads use a WebSocket: what is believed, found out and remembered, as transcripts."""

from __future__ import annotations

import pytest

from app.codex.config import Upstream, UpstreamKind
from app.codex.upstream_websockets import (
    FIRST_PAUSE_S,
    LONGEST_PAUSE_S,
    NO_WEBSOCKETS,
    WebSocketUse,
)

URL = "https://up/v1"
HOUR_S = 3600.0


def use(kind: UpstreamKind = UpstreamKind.CONFIGURED, *, said: bool | None = None) -> WebSocketUse:
    return WebSocketUse(Upstream(kind, URL, websockets=said))


@pytest.mark.parametrize(
    ("kind", "said", "is_used", "is_probed"),
    [
        (UpstreamKind.OPENAI, None, True, False),
        (UpstreamKind.OPENAI, True, True, False),
        (UpstreamKind.OPENAI, False, False, False),
        (UpstreamKind.CONFIGURED, None, False, True),
        (UpstreamKind.CONFIGURED, True, True, False),
        (UpstreamKind.CONFIGURED, False, False, False),
        (UpstreamKind.DEMO, False, False, False),
    ],
)
def test_what_is_believed_at_first(
    kind: UpstreamKind, *, said: bool | None, is_used: bool, is_probed: bool
) -> None:
    here = use(kind, said=said)
    assert (here.is_used(0.0), here.is_probe_due(0.0)) == (is_used, is_probed)


@pytest.mark.parametrize(
    ("said", "has_tools", "is_ahead", "expected"),
    [
        (None, False, False, False),
        (None, True, False, True),
        (None, False, True, True),
        (True, False, False, True),
        (False, True, True, False),
    ],
)
def test_which_threads_use_one(
    *, said: bool | None, has_tools: bool, is_ahead: bool, expected: bool
) -> None:
    here = use(UpstreamKind.OPENAI, said=said)
    assert here.is_for(0.0, has_tools=has_tools, is_ahead=is_ahead) is expected


def test_a_handshake_that_succeeds_is_asked_for_once() -> None:
    here = use()
    here.note_probe(1.0, is_spoken=True)
    assert here.is_used(1.0)
    assert not here.is_probe_due(1e9)


def test_one_that_fails_is_tried_again_later_and_later() -> None:
    here, now, pauses = use(), 0.0, []
    for _ in range(8):
        here.note_probe(now, is_spoken=False)
        assert not here.is_used(now)
        began = now
        while not here.is_probe_due(now):
            now += 60.0
        pauses.append(now - began)
    assert pauses[:3] == [FIRST_PAUSE_S, 2 * FIRST_PAUSE_S, 4 * FIRST_PAUSE_S]
    assert pauses[-1] == LONGEST_PAUSE_S


def test_openai_is_believed_again_after_a_pause() -> None:
    here = use(UpstreamKind.OPENAI)
    assert here.note_fallback(10.0)
    assert not here.note_fallback(11.0)  # of a thread that was started before
    assert not here.is_used(10.0 + FIRST_PAUSE_S - 1)
    assert here.is_used(10.0 + FIRST_PAUSE_S)
    assert here.note_fallback(10.0 + FIRST_PAUSE_S)
    assert not here.is_used(10.0 + 2 * FIRST_PAUSE_S)


def test_after_an_hour_that_went_well_a_failure_is_the_first_again() -> None:
    here = use(UpstreamKind.OPENAI)
    assert here.note_fallback(0.0)
    late = FIRST_PAUSE_S + HOUR_S + 1
    assert here.note_fallback(late)
    assert here.is_used(late + FIRST_PAUSE_S)


def test_another_upstream_is_asked_again_before_it_is_believed() -> None:
    here = use()
    here.note_probe(0.0, is_spoken=True)
    assert here.note_fallback(1.0)
    assert not here.is_used(1.0 + FIRST_PAUSE_S)
    assert here.is_probe_due(1.0 + FIRST_PAUSE_S)
    here.note_probe(1.0 + FIRST_PAUSE_S, is_spoken=True)
    assert here.is_used(1.0 + FIRST_PAUSE_S)


def test_what_an_operator_says_is_not_doubted() -> None:
    here = use(said=True)
    assert not here.note_fallback(1.0)
    assert here.is_used(1.0)


def test_where_there_is_none_nothing_changes() -> None:
    assert not NO_WEBSOCKETS.note_fallback(1.0)
    assert not NO_WEBSOCKETS.is_used(1e9)
