"""Fixtures of the chaos suite, and the tables that it prints when everything is over."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.chaos.ledger import Ledger
from tests.e2e.harness import Upstream

_TABLES = pytest.StashKey[list[Ledger]]()


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    """An upstream of a test's own, so that its open connections are this test's."""
    running = Upstream()
    yield running
    running.close()


@pytest.fixture
def settle(pytestconfig: pytest.Config) -> Callable[[Ledger], None]:
    """Take a table: print it with the summary of the run, and fail if one of its promises is broken."""

    def take(ledger: Ledger) -> None:
        pytestconfig.stash.setdefault(_TABLES, []).append(ledger)
        problems = ledger.problems()
        assert not problems, "\n".join(problems)

    return take


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    for ledger in config.stash.get(_TABLES, []):
        terminalreporter.section("chaos")
        terminalreporter.write_line(ledger.rendered())
