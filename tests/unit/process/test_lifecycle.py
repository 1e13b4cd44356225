from itertools import pairwise, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.process.lifecycle import (
    DEGRADED_AFTER,
    TRANSITIONS,
    BackoffPolicy,
    IllegalTransitionError,
    Lifecycle,
    Signal,
    State,
)

POLICY = BackoffPolicy(250, 5000, stable_s=30.0)

START, HANDSHAKEN, EXITED, OVER, DRAIN = (
    Signal.START,
    Signal.HANDSHAKEN,
    Signal.EXITED,
    Signal.BACKOFF_OVER,
    Signal.DRAIN,
)

# Written down a second time, as a picture: what is not in it is illegal.
LEGAL = """
    stopped     -start->        starting
    starting    -handshaken->   ready
    starting    -exited->       backing_off
    starting    -drain->        draining
    ready       -replaced->     ready
    ready       -exited->       backing_off
    ready       -drain->        draining
    backing_off -backoff_over-> starting
    backing_off -drain->        stopped
    draining    -exited->       stopped
"""
ARROWS = {
    (State(source), Signal(arrow.strip("->"))): State(target)
    for source, arrow, target in (line.split() for line in LEGAL.strip().splitlines())
}


def test_the_table_is_the_picture() -> None:
    assert dict(TRANSITIONS) == ARROWS


@pytest.mark.parametrize(("state", "signal"), list(product(State, Signal)))
def test_every_pair_of_state_and_signal_is_decided(state: State, signal: Signal) -> None:
    life = Lifecycle(POLICY, state, failures=2, restarts=3, backoff_ms=500, ready_since=1.0)
    copy = Lifecycle(POLICY, state, failures=2, restarts=3, backoff_ms=500, ready_since=1.0)
    if (state, signal) in ARROWS:
        assert life.advance(signal, 2.0).state is ARROWS[state, signal]
    else:
        with pytest.raises(IllegalTransitionError) as raised:
            life.advance(signal, 2.0)
        assert str(raised.value) == f"{signal.value} is not possible in {state.value}"
    assert life == copy


@pytest.mark.parametrize("state", State)
def test_every_state_can_be_reached_and_left(state: State) -> None:
    assert state in ARROWS.values()
    assert state in {source for source, _ in ARROWS}


# Histories: what happened when, and what is then true of (state, failures, restarts, backoff_ms, degraded).

Told = tuple[State, int, int, int, bool]
CRASH = [(EXITED, 0.0), (OVER, 0.0)]

HISTORIES: dict[str, tuple[list[tuple[Signal, float]], Told]] = {
    "a start is not yet ready": ([(START, 0)], (State.STARTING, 0, 0, 0, False)),
    "a handshake makes it ready": (
        [(START, 0), (HANDSHAKEN, 1)],
        (State.READY, 0, 0, 0, False),
    ),
    "an exit before the handshake is a failure": (
        [(START, 0), (EXITED, 1)],
        (State.BACKING_OFF, 1, 0, 250, False),
    ),
    "the end of the backoff is a restart and closes the window": (
        [(START, 0), (EXITED, 1), (OVER, 1.25)],
        (State.STARTING, 1, 1, 0, False),
    ),
    "a handshake alone forgives nothing": (
        [(START, 0), *CRASH, *CRASH, (HANDSHAKEN, 2)],
        (State.READY, 2, 2, 0, False),
    ),
    "an exit just before the stable period counts on": (
        [(START, 0), *CRASH, (HANDSHAKEN, 10), (EXITED, 39.9)],
        (State.BACKING_OFF, 2, 1, 500, False),
    ),
    "an exit at the end of the stable period counts from one": (
        [(START, 0), *CRASH, *CRASH, (HANDSHAKEN, 10), (EXITED, 40)],
        (State.BACKING_OFF, 1, 2, 250, False),
    ),
    "stability once is not stability for ever": (
        [(START, 0), (HANDSHAKEN, 0), (EXITED, 60), (OVER, 61), (EXITED, 200)],
        (State.BACKING_OFF, 2, 1, 500, False),
    ),
    "four failures are not yet degraded": (
        [(START, 0), *CRASH * 4],
        (State.STARTING, 4, 4, 0, False),
    ),
    "five failures are degraded": (
        [(START, 0), *CRASH * 4, (EXITED, 9)],
        (State.BACKING_OFF, 5, 4, 4000, True),
    ),
    "degraded goes on trying": ([(START, 0), *CRASH * 7], (State.STARTING, 7, 7, 0, True)),
    "a handshake ends degraded": (
        [(START, 0), *CRASH * 7, (HANDSHAKEN, 9)],
        (State.READY, 7, 7, 0, False),
    ),
    "a crash right after that handshake is degraded again": (
        [(START, 0), *CRASH * 7, (HANDSHAKEN, 9), (EXITED, 10)],
        (State.BACKING_OFF, 8, 7, 5000, True),
    ),
    "a drain of a ready child waits for its exit": (
        [(START, 0), (HANDSHAKEN, 1), (DRAIN, 2)],
        (State.DRAINING, 0, 0, 0, False),
    ),
    "an exit while draining is no failure": (
        [(START, 0), (HANDSHAKEN, 1), (DRAIN, 2), (EXITED, 3)],
        (State.STOPPED, 0, 0, 0, False),
    ),
    "a drain of a starting child waits for its exit": (
        [(START, 0), (DRAIN, 1), (EXITED, 2)],
        (State.STOPPED, 0, 0, 0, False),
    ),
    "a drain in the backoff has nothing to wait for": (
        [(START, 0), (EXITED, 1), (DRAIN, 1)],
        (State.STOPPED, 1, 0, 0, False),
    ),
}


def replay(history: list[tuple[Signal, float]]) -> Lifecycle:
    life = Lifecycle(POLICY)
    for signal, now in history:
        life = life.advance(signal, now)
    return life


@pytest.mark.parametrize(("history", "told"), HISTORIES.values(), ids=HISTORIES.keys())
def test_a_history_ends_where_it_must(history: list[tuple[Signal, float]], told: Told) -> None:
    life = replay(history)
    assert (
        life.state,
        life.failures,
        life.restarts,
        life.backoff_ms,
        life.is_degraded,
    ) == told
    assert life.is_ready is (life.state is State.READY)


def test_a_crash_loop_backs_off_twice_as_long_each_time_up_to_the_maximum() -> None:
    life, delays = replay([(START, 0)]), []
    for _ in range(7):
        life = life.advance(EXITED, 0)
        delays.append(life.backoff_ms)
        life = life.advance(OVER, 0)
    assert delays == [250, 500, 1000, 2000, 4000, 5000, 5000]


@pytest.mark.parametrize(
    ("initial", "maximum", "failures", "delay"),
    [(250, 5000, 1, 250), (250, 5000, 10**9, 5000), (1, 86_400_000, 10**9, 1 << 20), (7, 7, 3, 7)],
)
def test_the_delay_of_any_failure_is_bounded(
    initial: int, maximum: int, failures: int, delay: int
) -> None:
    assert BackoffPolicy(initial, maximum).delay_ms(failures) == delay


@given(st.integers(1, 5000), st.integers(1, 100_000))
def test_the_backoff_never_shrinks_within_a_crash_loop(initial: int, maximum: int) -> None:
    policy = BackoffPolicy(initial, maximum)
    delays = [policy.delay_ms(failures) for failures in range(1, 40)]
    assert all(earlier <= later for earlier, later in pairwise(delays))
    assert all(0 < delay <= maximum for delay in delays)


@given(st.lists(st.sampled_from(Signal), max_size=60))
def test_no_history_breaks_what_is_always_true(signals: list[Signal]) -> None:
    life = Lifecycle(POLICY)
    for now, signal in enumerate(signals):
        if (life.state, signal) in ARROWS:
            life = life.advance(signal, float(now))
        assert (life.backoff_ms > 0) is (life.state is State.BACKING_OFF)
        assert life.restarts <= life.failures + signals.count(HANDSHAKEN)
        assert not (life.is_ready and life.is_degraded)


def test_degraded_begins_at_the_founding_five() -> None:
    assert DEGRADED_AFTER == 5


def test_the_end_of_a_drain_forgets_when_the_child_was_ready() -> None:
    life = Lifecycle(BackoffPolicy(250, 5000))
    for signal, now in [
        (Signal.START, 0),
        (Signal.EXITED, 0),
        (Signal.BACKOFF_OVER, 0),
        (Signal.HANDSHAKEN, 1),
        (Signal.DRAIN, 2),
        (Signal.EXITED, 3),
        (Signal.START, 100),
        (Signal.EXITED, 101),
    ]:
        life = life.advance(signal, now)
    assert life.failures == 2


def test_a_handshake_ends_degraded_also_for_the_drain_after_it() -> None:
    life = Lifecycle(BackoffPolicy(250, 5000)).advance(Signal.START, 0)
    for _ in range(5):
        life = life.advance(Signal.EXITED, 0).advance(Signal.BACKOFF_OVER, 0)
    life = life.advance(Signal.HANDSHAKEN, 1).advance(Signal.DRAIN, 2)
    assert not life.is_degraded
