"""What the master does next about a HUP, and about a worker that is missing. Pure: a situation in, a step out.

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
"""At least so long between two forks for workers that have died."""

HOPELESS_PAUSE_S = 5.0
"""The same, once the master has given up on a successor and only needs a worker that serves."""


class Step(Enum):
    """What to do now."""

    NOTHING = "nothing"
    QUEUE = "queue"
    CHECK = "check"
    DISMISS = "dismiss"
    FORK = "fork"


class Check(Enum):
    """How far the check of the last HUP is."""

    NOT_BEGUN = "not_begun"
    RUNNING = "running"
    PASSED = "passed"


@dataclass(frozen=True, slots=True)
class Situation:
    """What the master knows about a HUP: `retiring` counts the workers beside the one that serves and the successor."""

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
    """What a worker's death means."""

    NOTHING = "nothing"
    RETRY = "retry"
    GIVE_UP = "give_up"
    HALT = "halt"


@dataclass(frozen=True, slots=True)
class WorkerExit:
    """A worker that has died. `was_needed`: it served, or was the successor and not dismissed.

    `boot_failures` counts this one, too; `alive` is how many workers are left; `ever_booted`: any worker of this
    master ever loaded the application.
    """

    was_needed: bool
    failed_to_boot: bool
    boot_failures: int
    alive: int
    ever_booted: bool


def judge(death: WorkerExit) -> ExitAction:
    """Return what it means. Only a service that has no worker left, and cannot boot one, is ended."""
    if not death.was_needed:
        return ExitAction.NOTHING
    if not death.failed_to_boot:
        return ExitAction.RETRY
    is_hopeless = death.boot_failures >= MAX_BOOT_FAILURES
    if death.alive == 0 and (is_hopeless or not death.ever_booted):
        return ExitAction.HALT
    return ExitAction.GIVE_UP if is_hopeless else ExitAction.RETRY
