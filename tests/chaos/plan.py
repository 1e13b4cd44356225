"""A storm, planned: which request and which fault comes when. Pure: the seed decides, so that a storm can be repeated.

What the service makes of it is not planned, and differs from run to run.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from tests.chaos.request_kinds import KINDS, Asked, make_request

FIRST_FAULT_S = 1.0
BURSTS = 0.01
"""How many arrivals are bursts."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that happens to the service at `at_s`, or when the one before is over. `size` is a fault's own."""

    kind: str
    at_s: float
    size: float


@dataclass(frozen=True, slots=True)
class Weather:
    """How much of everything: requests a second, how many come as a burst, seconds from fault to fault."""

    seconds: float
    rate: float = 10.0
    burst: int = 40
    apart_s: float = 2.0
    kills_workers: bool = False


FAULTS: dict[str, tuple[float, float]] = {
    "kill": (0.0, 0.5),
    "kill again and again": (1.0, 3.0),
    "freeze": (0.3, 2.5),
    "deaf": (0.3, 1.5),
    "slow pipe": (0.5, 1.5),
    "torn lines": (0.5, 1.5),
    "half lines": (0.5, 1.5),
    "garbage": (5, 200),
    "huge line": (48e6, 72e6),
    "talkative stderr": (50, 500),
    "reload": (0.0, 0.0),
    "kill in a reload": (0.0, 0.0),
}
"""Every fault with its least and greatest size: seconds, lines or bytes. The channel's limit is a line of 64 MiB."""

WORKER_KILL = "kill of the worker"

LAST_FAULTS = (Fault("kill again and again", 0.0, 2.0), Fault("kill", 0.0, 0.0))
"""What the last worker goes through, so that it cannot pass for unharmed only because it is new."""


def planned_requests(seed: int, weather: Weather) -> Iterator[Asked]:
    """Yield the requests of this seed, without an end: the load lasts for as long as the faults do.

    Most come alone, some as a burst that is larger than the service. Every kind comes once before any comes by chance.
    """
    dice = Random(f"requests {seed}")
    due = dice.sample([*KINDS], len(KINDS))
    number, at_s = 0, 0.0
    while True:
        many = weather.burst if dice.random() < BURSTS else 1
        for _ in range(many):
            yield make_request(number, round(at_s, 3), dice, due.pop() if due else None)
            number += 1
        at_s += dice.expovariate(weather.rate)


def planned_faults(seed: int, weather: Weather) -> tuple[Fault, ...]:
    """Return the faults of this seed. The kinds are dealt like cards: none comes twice before each has come once."""
    dice = Random(f"faults {seed}")
    kinds = [*FAULTS, *([WORKER_KILL] if weather.kills_workers else [])]
    made: list[Fault] = []
    deck: list[str] = []
    at_s = FIRST_FAULT_S
    while at_s < weather.seconds:
        deck = deck or dice.sample(kinds, len(kinds))
        kind = deck.pop()
        size = dice.uniform(*FAULTS.get(kind, (0.0, 0.0)))
        made.append(Fault(kind, round(at_s, 3), round(size, 3)))
        at_s += dice.uniform(0.5, 1.5) * weather.apart_s
    return tuple(made)
