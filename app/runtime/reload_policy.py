"""Reload policy of the master: the next step of a HUP, and what the exit of a worker means. Pure.

A HUP is checked first, in a process of its own. Then a new worker (the *successor*) is forked beside the one that
serves, which goes on until the successor's child has shaken hands, however long that takes; then it is *retired* and
finishes what it has. At most `MAX_GENERATIONS` workers are alive: a HUP that finds no room waits until the oldest has
gone, since whole streams matter more than a prompt reload. Any number of HUPs that wait are one.

A successor that does not become ready is no obstacle: the next HUP that passes its check replaces it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

MAX_GENERATIONS = 3
MAX_BOOT_FAILURES = 5
"""Workers in a row that died while booting, after which the master gives up."""

RESPAWN_PAUSE_S = 1.0
"""Shortest time between two forks for workers that have died."""

CRASH_LOOP_PAUSE_S = 5.0
"""The same, once the master has given up on a successor and only needs a worker that serves."""


class Step(Enum):
    """Next thing to do about a HUP."""

    NOTHING = "nothing"
    QUEUE = "queue"
    CHECK = "check"
    DISMISS = "dismiss"
    FORK = "fork"


class Check(Enum):
    """Progress of the check that a HUP needs."""

    NOT_BEGUN = "not_begun"
    RUNNING = "running"
    PASSED = "passed"


@dataclass(frozen=True, slots=True)
class Situation:
    """State of a HUP in the master: `retiring` counts the workers beside the one that serves and the successor."""

    is_wanted: bool
    check: Check = Check.NOT_BEGUN
    has_successor: bool = False
    is_dismissed: bool = False
    retiring: int = 0


def next_step(now: Situation) -> Step:
    """Return what the HUP needs next. The successor does not count as taking room: it would be replaced."""
    if not now.is_wanted or now.check is Check.RUNNING:
        return Step.NOTHING
    if now.retiring + 2 > MAX_GENERATIONS:
        return Step.QUEUE  # also after the check: by the time there is room it would be stale
    if now.check is Check.NOT_BEGUN:
        return Step.CHECK
    if not now.has_successor:
        return Step.FORK
    return Step.NOTHING if now.is_dismissed else Step.DISMISS


class ExitAction(Enum):
    """Consequence of a worker's exit."""

    NOTHING = "nothing"
    RETRY = "retry"
    GIVE_UP = "give_up"
    HALT = "halt"


@dataclass(frozen=True, slots=True)
class WorkerExit:
    """Exit of a worker. `was_needed`: it served, or was the successor and not dismissed.

    `boot_failures` counts this one, too; `alive` is how many workers are left; `ever_booted`: any worker of this
    master ever loaded the application.
    """

    was_needed: bool
    failed_to_boot: bool
    boot_failures: int
    alive: int
    ever_booted: bool


def on_worker_exit(exited: WorkerExit) -> ExitAction:
    """Return what to do. Only a service that has no worker left, and cannot boot one, is ended."""
    if not exited.was_needed:
        return ExitAction.NOTHING
    if not exited.failed_to_boot:
        return ExitAction.RETRY
    is_crash_loop = exited.boot_failures >= MAX_BOOT_FAILURES
    if exited.alive == 0 and (is_crash_loop or not exited.ever_booted):
        return ExitAction.HALT
    return ExitAction.GIVE_UP if is_crash_loop else ExitAction.RETRY
