"""What the size of a child means, and whose memory is asked for."""

import os

import pytest

from app.backend.protocols import REPLACEMENTS
from app.backends.app_server.limits import Limits
from app.backends.app_server.watchdog import HealthLimits, HealthProblem
from app.process.memory import resident_bytes

LIMIT = 1000


@pytest.mark.parametrize(
    ("resident", "age_s", "problem"),
    [
        (None, 1000, None),
        (0, 1000, None),
        (LIMIT, 1000, None),
        (LIMIT + 1, 59.9, None),  # too young: the next one would be as large
        (LIMIT + 1, 60, HealthProblem.MEMORY),
        (2 * LIMIT, 60, HealthProblem.MEMORY),
        (2 * LIMIT + 1, 60, HealthProblem.MEMORY_TWICE),
        (
            2 * LIMIT + 1,
            0,
            HealthProblem.MEMORY_TWICE,
        ),  # whatever its age: the machine has to survive
    ],
)
def test_what_the_size_of_a_child_means(
    resident: int | None, age_s: float, problem: HealthProblem | None
) -> None:
    assert HealthLimits(1, 1, 1, LIMIT).check_memory(resident, age_s) is problem


def test_only_what_cannot_go_on_is_fatal() -> None:
    fatal = {problem for problem in HealthProblem if problem.is_fatal}
    assert fatal == {HealthProblem.HUNG, HealthProblem.DEAF, HealthProblem.MEMORY_TWICE}


def test_a_process_has_a_size_and_one_that_is_gone_has_none() -> None:
    size = resident_bytes(os.getpid())
    assert size is not None
    assert size > 1 << 20
    assert resident_bytes(2**22 + 1) is None  # above the highest pid that Linux gives


def test_a_busy_child_may_take_as_long_as_any_call() -> None:
    limits = Limits(
        rpc_timeout_ms=10_000,
        startup_timeout_ms=1,
        backoff_initial_ms=1,
        backoff_max_ms=1,
        probe_interval_ms=5_000,
        probe_timeout_ms=3_000,
        memory_bytes=7,
    )
    assert limits.health_limits == HealthLimits(5.0, 3.0, 10.0, 7)


def test_the_reasons_for_a_replacement_are_those_that_the_seam_names() -> None:
    assert [one.value for one in HealthProblem if not one.is_fatal] == list(REPLACEMENTS)
