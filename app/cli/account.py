"""Login of the service as codex reports it: account, plan, use of its limits. No token is ever kept here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from app.backend.account import WINDOWS, AccountWindow
from app.backends.app_server.connection import Connection
from app.cli.child import ChildFailed, ask
from app.codex.account import parse_window
from app.codex.auth_file import LoginKind, StoredLogin
from app.codex.home import Home

CHATGPT = LoginKind.CHATGPT.value
API_KEY = LoginKind.API_KEY.value

_NAMES = {CHATGPT: "ChatGPT", API_KEY: "API key"}


@dataclass(frozen=True, slots=True)
class Limit:
    """One of the account's windows: how full it is, how long it is, when it starts again (ISO-8601, UTC)."""

    name: str
    used_percent: int
    window_minutes: int | None
    resets_at: str | None

    def __str__(self) -> str:
        window = f", window of {self.window_minutes / 60:g} h" if self.window_minutes else ""
        resets = f", starts again at {self.resets_at}" if self.resets_at else ""
        return f"{self.name}{window}: {self.used_percent} % used{resets}"

    @classmethod
    def of(cls, name: str, window: AccountWindow) -> Limit:
        """Return the window with its time as a person reads it."""
        at = window.resets_at and datetime.fromtimestamp(window.resets_at, UTC)
        resets_at = f"{at:%Y-%m-%dT%H:%M:%SZ}" if at else None
        return cls(name, window.used_percent, window.window_minutes, resets_at)


@dataclass(frozen=True, slots=True)
class Account:
    """Account that is logged in. `email` and `plan` are known for ChatGPT only."""

    type: str
    email: str | None = None
    plan: str | None = None

    def __str__(self) -> str:
        details = [self.email, f"plan {self.plan}" if self.plan else None]
        return ", ".join([_NAMES.get(self.type, self.type), *filter(None, details)])


@dataclass(frozen=True, slots=True)
class Login:
    """Login as codex reported it. A problem is codex's own sentence, empty where there was none."""

    account: Account | None = None
    problem: str = ""
    limits: tuple[Limit, ...] = ()
    limits_problem: str = ""


def look_up(connection: Connection, home: Home, timeout_s: float) -> Login:
    """Ask a child about the login in its CODEX_HOME. Blocks; a ChatGPT login is looked up over the network."""
    try:
        account = parse_account(ask(connection, "account/read", {"refreshToken": False}, timeout_s))
    except ChildFailed as error:
        stored = home.read_login()
        if stored.kind is None and home.auth_file.exists():
            return _no_login(stored)
        return Login(Account(stored.kind.value) if stored.kind else None, problem=str(error))
    if account is None and home.auth_file.exists():
        return _no_login(home.read_login())
    if account is None or account.type != CHATGPT:
        return Login(account)
    try:
        limits = ask(connection, "account/rateLimits/read", None, timeout_s)
    except ChildFailed as error:
        return Login(account, limits_problem=str(error))
    return Login(account, limits=tuple(parse_limits(limits)))


def _no_login(stored: StoredLogin) -> Login:
    return Login(problem=f"auth.json is no login. {stored.problem or 'codex does not take it.'}")


def parse_account(result: object) -> Account | None:
    """Return the account in the result of `account/read`; None if nobody is logged in."""
    found = result.get("account") if isinstance(result, Mapping) else None
    if not isinstance(found, Mapping):
        return None
    return Account(str(found.get("type")), found.get("email"), found.get("planType"))


def parse_limits(result: object) -> Iterator[Limit]:
    """Yield every window in the result of `account/rateLimits/read`."""
    answer: Mapping[str, Any] = result if isinstance(result, Mapping) else {}
    buckets = answer.get("rateLimitsByLimitId") or {"codex": answer.get("rateLimits")}
    for limit_id, bucket in buckets.items():
        for which in WINDOWS:
            window = parse_window(bucket.get(which)) if isinstance(bucket, Mapping) else None
            if window is not None:
                yield Limit.of(f"{bucket.get('limitName') or limit_id} {which}", window)
