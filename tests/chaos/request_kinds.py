"""What clients of a storm do, one row a kind. Pure: a request is made from dice and nothing else.

Every request has a number, which is its id on the wire, in the log and in the text that it must get: many small
deltas that repeat characters and carry the number, so that an answer that is lost, doubled, reordered or somebody
else's is seen.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from random import Random

CANARY = "canary"
"""Stands in every prompt and every answer, and nowhere else: no line of the log may hold it."""


class Expects(Enum):
    """What a request must get while nothing is the matter with the service."""

    TEXT = "its text"
    ERROR = "an error"
    STATUS = "a status"
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class Asked:
    """One request. Times are seconds, `at_s` since the storm began."""

    number: int
    kind: str
    at_s: float = 0.0
    expects: Expects = Expects.TEXT
    stream: bool = False
    legacy: bool = False
    tool: bool = False
    choices: int = 1
    deltas: tuple[str, ...] = ()
    interval_ms: int = 0
    failure: str | None = None
    after_deltas: int = 0
    recovers: bool = False
    """Only the first answer of the upstream fails, and before any text: the gateway's second try succeeds."""
    prompt_bytes: int = 20
    status: int = 200
    leaves: str | None = None
    """How the client goes away: `closes`, `resets`, `half-closes`."""
    after_frames: int = 0
    after_s: float = 0.0
    naps_s: float = 0.0
    """For how long the client does not read."""

    @property
    def id(self) -> str:
        """What the client sends as `X-Request-Id`."""
        return f"storm-{self.number:06}"

    @property
    def marker(self) -> str:
        """What its prompt holds, and no other prompt."""
        return f"{CANARY}-{self.number:06}-"

    @property
    def text(self) -> str:
        """The whole text that it must get, or the arguments of its tool call."""
        return "".join(self.deltas)


PIECES = (
    *("a", "a", "aa", "ha", "ha", "l", "lo", "hel", "lo", "0", "00", "10", " ", "  ", "\n", "\n\n"),
    *("e", "\u0301", "\U0001f469", "\u200d", "\U0001f680", "data: [DONE]", "\r\n", '"', "\\", "ß"),
)


def deltas_of(number: int, dice: Random, count: int) -> tuple[str, ...]:
    """Return so many deltas: random pieces, and every eighth one names the request."""
    name = f"<{CANARY}{number}>"
    return tuple(name if n % 8 == 0 else dice.choice(PIECES) for n in range(count))


Make = Callable[[Asked, Random], Asked]


def _speaks(asked: Asked, dice: Random) -> Asked:
    """Give it a text, mostly short, and a prompt, mostly tiny."""
    count = dice.choice([1, 5, 20, 20, 60, 200])
    return replace(
        asked,
        deltas=deltas_of(asked.number, dice, count),
        prompt_bytes=dice.choice([20, 20, 20, 2_000, 40_000]),
        stream=dice.random() < 0.5,
    )


def _paced(asked: Asked, dice: Random) -> Asked:
    seconds, count = dice.uniform(0.5, 2.5), dice.randint(20, 60)
    return replace(
        asked,
        stream=True,
        deltas=deltas_of(asked.number, dice, count),
        interval_ms=round(seconds * 1000 / count),
    )


def _large(asked: Asked, dice: Random) -> Asked:
    return replace(_speaks(asked, dice), prompt_bytes=dice.randint(100_000, 400_000))


def _legacy(asked: Asked, dice: Random) -> Asked:
    return replace(_speaks(asked, dice), legacy=True)


def _several(asked: Asked, dice: Random) -> Asked:
    return replace(_speaks(asked, dice), choices=dice.randint(2, 4))


def _tool(asked: Asked, dice: Random) -> Asked:
    words = "".join(dice.choices("ahelo0", k=dice.choice([1, 30, 300])))
    arguments = f'{{"q": "{CANARY}{asked.number}{words}"}}'
    return replace(asked, tool=True, deltas=(arguments,), stream=dice.random() < 0.5)


def _recovers(asked: Asked, dice: Random) -> Asked:
    failure = dice.choice(["reset_before_headers", "eof_before_headers", "cut_mid_stream"])
    return replace(_speaks(asked, dice), recovers=True, failure=failure)


def _fails(asked: Asked, dice: Random) -> Asked:
    spoken = replace(
        _speaks(asked, dice), expects=Expects.ERROR, failure=dice.choice(UPSTREAM_FAILURES)
    )
    return replace(spoken, after_deltas=dice.randint(0, len(spoken.deltas)))


def _silent(asked: Asked, dice: Random) -> Asked:
    failure = dice.choice(["hang_before_headers", "hang_after_headers", "hang_mid_stream"])
    return replace(_speaks(asked, dice), expects=Expects.ERROR, failure=failure)


def _refused(asked: Asked, dice: Random) -> Asked:
    mistake = dice.choice(sorted(MISTAKES))
    kind = f"refused: {mistake}"
    return replace(asked, kind=kind, expects=Expects.STATUS, status=MISTAKES[mistake])


def _leaves(asked: Asked, dice: Random) -> Asked:
    """Goes in the middle of its answer."""
    spoken = replace(
        _paced(asked, dice),
        expects=Expects.NOTHING,
        choices=dice.choice([1, 1, 2]),
        leaves=_how(dice),
    )
    return replace(spoken, after_frames=dice.randint(1, 8))


def _vanishes(asked: Asked, dice: Random) -> Asked:
    """Goes whatever it waits for: a slot, the child, the first token, or the whole answer."""
    return replace(
        _paced(asked, dice),
        expects=Expects.NOTHING,
        stream=dice.random() < 0.5,
        leaves=_how(dice),
        after_s=dice.choice([0.0, 0.02, 0.1, 0.5]),
    )


def _half_sent(asked: Asked, dice: Random) -> Asked:
    part = dice.choice(["head", "body"])
    return replace(
        asked,
        kind=f"half-sent {part}",
        expects=Expects.NOTHING,
        leaves=_how(dice),
        after_s=dice.choice([0.0, 0.1, 0.5]),
    )


def _slow(asked: Asked, dice: Random) -> Asked:
    """Reads late; its answer is larger than what the kernel holds for it."""
    block = deltas_of(asked.number, dice, 8)
    large = tuple("".join(block) * 150 for _ in range(100))
    return replace(asked, stream=True, deltas=large, naps_s=dice.uniform(0.5, 1.5))


def _how(dice: Random) -> str:
    return dice.choice(["closes", "closes", "resets", "half-closes"])


MISTAKES: Mapping[str, int] = {
    "no messages": 400,
    "no JSON": 400,
    "unsupported parameter": 400,
    "broken chunks": 400,
    "no HTTP": 400,
    "wrong key": 401,
    "unknown model": 404,
    "unknown URL": 404,
    "wrong method": 405,
    "large body": 413,
    "other content type": 415,
    "large head": 431,
}
"""Requests that are the client's fault, with the status that each gets."""

BELOW_THE_APPLICATION = frozenset({"refused: no HTTP", "refused: large head", "half-sent head"})
"""Never become a request, so no record has a line for them."""

UPSTREAM_FAILURES = (
    *("bad_request", "context_length_exceeded", "invalid_prompt", "invalid_api_key", "forbidden"),
    *("model_not_found", "rate_limited", "usage_limit_reached", "insufficient_quota"),
    *("server_error", "bad_gateway", "overloaded", "failed_rate_limit_exceeded"),
    *("failed_server_error", "failed_invalid_prompt", "error_event", "reset_before_headers"),
    *("reset_mid_stream", "eof_before_headers", "eof_mid_stream", "cut_mid_stream"),
)

KINDS: Mapping[str, tuple[int, Make]] = {
    "plain": (8, _speaks),
    "paced": (6, _paced),
    "large prompt": (2, _large),
    "legacy completion": (2, _legacy),
    "several choices": (3, _several),
    "tool call": (3, _tool),
    "upstream recovers": (2, _recovers),
    "upstream fails": (5, _fails),
    "upstream is silent": (1, _silent),
    "refused": (5, _refused),
    "leaves": (4, _leaves),
    "vanishes": (4, _vanishes),
    "half-sent": (2, _half_sent),
    "slow reader": (1, _slow),
}
"""Each with its weight. The name is `Asked.kind`, unless the row chooses a finer one."""


def make_request(number: int, at_s: float, dice: Random, kind: str | None = None) -> Asked:
    """Return one request, of a kind that the dice choose unless it is given."""
    weights = [weight for weight, _ in KINDS.values()]
    chosen = kind or dice.choices(list(KINDS), weights)[0]
    _, make = KINDS[chosen]
    return make(Asked(number, chosen, at_s), dice)
