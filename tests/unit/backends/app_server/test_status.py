"""Why no request would be served: one word, the most useful one first."""

from __future__ import annotations

import pytest

from app.backends.app_server.status import unready_reason
from app.process.lifecycle import BackoffPolicy, LastExit, Lifecycle, State

POLICY = BackoffPolicy(250, 5000)
CRASHED = LastExit(-9, "exited")
FULL = LastExit(None, "disk_full", "No space left on device.")


@pytest.mark.parametrize(
    ("state", "failures", "last_exit", "is_draining", "lacks_login", "reason"),
    [
        (State.READY, 0, None, False, False, None),
        (State.READY, 7, FULL, False, False, None),  # what was
        (State.READY, 0, None, False, True, "upstream_auth"),
        (State.READY, 0, None, True, True, "draining"),
        (State.STOPPED, 0, None, False, False, "starting"),
        (State.STARTING, 0, None, False, True, "starting"),
        (State.STARTING, 1, CRASHED, False, False, "starting"),
        (State.BACKING_OFF, 1, CRASHED, False, False, "backoff"),
        (State.BACKING_OFF, 5, CRASHED, False, False, "degraded"),
        (State.STARTING, 5, CRASHED, False, False, "degraded"),
        (State.BACKING_OFF, 5, FULL, False, False, "disk_full"),
        (State.BACKING_OFF, 1, LastExit(None, "home_refused"), False, False, "home_refused"),
        (State.BACKING_OFF, 1, LastExit(None, "home_unwritable"), True, False, "draining"),
        (State.BACKING_OFF, 1, LastExit(None, "start_failed"), False, False, "backoff"),
    ],
)
def test_why_no_request_would_be_served(
    state: State,
    failures: int,
    last_exit: LastExit | None,
    is_draining: bool,
    lacks_login: bool,
    reason: str | None,
) -> None:
    life = Lifecycle(POLICY, state, failures=failures)
    found = unready_reason(
        life,
        last_exit,
        is_ready=state is State.READY,
        is_draining=is_draining,
        lacks_login=lacks_login,
    )
    assert found == reason


def test_a_child_that_died_while_another_one_shakes_hands_does_not_serve() -> None:
    life = Lifecycle(POLICY, State.READY)
    found = unready_reason(life, None, is_ready=False, is_draining=False, lacks_login=False)
    assert found == "starting"


@pytest.mark.parametrize("renewal", ["login_renewal", "login_renewal_hangs"])
def test_a_renewal_is_named_where_nothing_serves_and_only_there(renewal: str) -> None:
    starting = Lifecycle(POLICY, State.STARTING, failures=5)
    words = {"is_draining": False, "lacks_login": False, "renewal": renewal}
    assert unready_reason(starting, FULL, is_ready=False, **words) == renewal  # type: ignore[arg-type]
    assert unready_reason(Lifecycle(POLICY, State.READY), None, is_ready=True, **words) is None  # type: ignore[arg-type]
