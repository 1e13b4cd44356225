"""Protocols of the seam: what a backend and a turn owe to the layers above."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from app.backend.account import AccountLimits
from app.backend.events import Event
from app.backend.health import Health
from app.backend.lease import Lease
from app.backend.observer import KEPT, WARM, RequestObserver, TurnFacts
from app.backend.request import Model, TurnRequest
from app.errors import GatewayError

REPLACEMENTS = ("memory", "login", "models", "runaway", "certificates")
"""Reasons for which a process is replaced without a gap: it has grown, its login is no longer the present one, the
upstream lists other models, it works although no turn runs, or it trusts too few certificates."""


LOOKUPS = (
    KEPT,
    "off",
    "first",
    "again",
    "other",
    "terms",
    "name",
    "results",
    "taken",
    "lost",
    "evicted",
    "expired",
)
"""What may come of looking for where a conversation was left (`TurnFacts.lookup`)."""

WARMTHS = (WARM, "cold", "tools", "verbosity", "lost", "off")
"""What may come of looking for a thread that was started ahead of a turn (`TurnFacts.warmth`)."""

EVICTIONS = ("evicted", "expired", "lost", "memory", "replaced")
"""Reasons for which a conversation is kept no longer."""


@dataclass(frozen=True, slots=True)
class Pace:
    """Deadlines of a turn, in seconds. `first_s` and `total_s` count from its start.

    `commit_s` is the first quiet time after which `follow` yields an empty batch, `tick_s` every later one.
    `gathers`: nobody sees a piece of text before the end, so that pieces may be held until something else happens.
    """

    first_s: float
    total_s: float
    commit_s: float
    tick_s: float
    gathers: bool = False


class Turn(Protocol):
    """One turn. One consumer follows it; `close` may be called by anyone, at any time."""

    lease: Lease
    """The slot that it runs on."""

    started: float
    """When it was begun (monotonic seconds)."""

    first_event_at: float | None
    """When its first event was read (monotonic seconds)."""

    @property
    def facts(self) -> TurnFacts:
        """Return what is known of it now."""

    def follow(self, pace: Pace, since: float | None = None) -> Iterator[list[Event]]:
        """Yield its events in batches, up to `TurnEnded`; an empty batch for each quiet tick. Blocks.

        `since` is when the first turn of the request was started, if that was another one. Ends without `TurnEnded`
        only where the turn was closed. Raises `WorkerTimeout` at the deadlines of `pace`, and the `GatewayError` that
        ended the turn from the gateway's side.
        """

    def close(self) -> None:
        """Give everything back; interrupts the turn if it still runs. Idempotent, does not block."""


@dataclass(frozen=True, slots=True)
class BackendHooks:
    """Callbacks about a backend as a whole; they must not block and must not raise.

    `on_models` is given the models when they are first known, and when they have changed; `on_restart`
    is called for every process that is started in place of one that ended, `on_replaced` (with the reason) where
    another took over without a gap.
    """

    on_models: Callable[[tuple[Model, ...]], None] = lambda _: None
    on_restart: Callable[[], None] = lambda: None
    on_replaced: Callable[[str], None] = lambda _: None


class Backend(Protocol):
    """A way of running turns. `app.backend.engine` decides who may, so that every backend is used alike."""

    kind: str
    """What it is called in the log, traces, metrics and health: its folder below `app.backends`."""

    upstream: str
    """Who answers in the end, in a word that clients see: `openai`, `configured`, `demo`."""

    account: AccountLimits
    """The limits of the account behind it, as far as reported."""

    hooks: BackendHooks

    # Life

    def run(self) -> None:
        """Keep the backend alive until `stop`. Blocks: the supervisor greenlet."""

    def wait_ready(self, timeout_s: float) -> bool:
        """Block until a turn could begin, or the time is up; True if one could."""

    def begin_drain(self) -> None:
        """Report not ready from now on; what still arrives is served."""

    def end_turns(self, error: GatewayError) -> None:
        """End every running turn with `error`, and begin no more. Does not block."""

    def stop(self) -> None:
        """Begin no more turns and end every process. Blocks until they are gone."""

    def health(self) -> Health:
        """Return its state now. Does not block."""

    # The service's own login

    def account_mark(self) -> str:
        """Return what tells the present login from another; what is encrypted for one is of no use to another."""

    def check_login(self) -> None:
        """Raise `UpstreamAuth` where a turn could only fail for want of a login."""

    def is_renewing_login(self) -> bool:
        """True while the end of a process could destroy the login: a stop waits, as long as its grace allows."""

    def note_login(self, *, accepted: bool) -> None:
        """Take what an answer told about the login: refused by the upstream, or good for an answer."""

    # Turns

    def models(self, deadline: float) -> tuple[Model, ...]:
        """Return the models on offer, waiting until `deadline` (monotonic seconds). Raises `WorkerUnavailable`."""

    def open(
        self, request: TurnRequest, lease: Lease, deadline: float, observer: RequestObserver
    ) -> Turn:
        """Begin a turn, waiting for a ready process until `deadline` (monotonic seconds). Blocks.

        The lease is the turn's once there is one; on failure its slot is still the caller's. Raises `WorkerLost` where
        the process went away before the turn had begun (it may be opened anew), `WorkerUnavailable`, `WorkerBusy`,
        `Draining`, `UpstreamError`, and `InvalidRequest` for what codex refuses.
        """
