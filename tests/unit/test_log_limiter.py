"""Lines that are withheld are counted, and the count is told."""

from app.log_limiter import LogRateLimiter


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_so_many_lines_and_then_none_until_the_window_is_over() -> None:
    clock = Clock()
    limiter = LogRateLimiter(most=3, window_s=60, clock=clock)
    assert [limiter.allow("a") for _ in range(5)] == [0, 0, 0, None, None]
    clock.now += 59.9
    assert limiter.allow("a") is None
    clock.now += 0.1
    assert [limiter.allow("a") for _ in range(4)] == [3, 0, 0, None]


def test_each_kind_has_its_own_window() -> None:
    clock = Clock()
    limiter = LogRateLimiter(most=1, window_s=60, clock=clock)
    assert [limiter.allow(kind) for kind in "aabab"] == [0, None, 0, None, None]
    clock.now += 60
    assert [limiter.allow(kind) for kind in "ab"] == [2, 1]


def test_nothing_withheld_is_nothing_told_however_long_ago() -> None:
    clock = Clock()
    limiter = LogRateLimiter(most=1, window_s=1, clock=clock)
    for _ in range(3):
        assert limiter.allow("a") == 0
        clock.now += 1000
