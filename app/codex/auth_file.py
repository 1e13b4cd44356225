"""Login file of codex (`auth.json`), parsed by codex's rules: what kind of login it holds, and when it is due. Pure.

A file is no login: codex starts with an empty, torn or foreign one as well, and then sends prompts without a key. A
ChatGPT login has an access token that codex renews by itself, in `initialize` or in a turn, once it is *due*.
"""

from __future__ import annotations

import binascii
import hashlib
import re
from base64 import urlsafe_b64decode
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any, TypeAlias

import orjson

_RENEWED_BEFORE_S = 300.0
"""How long before its expiry codex renews an access token (0.163, 0.171)."""

_MARGIN_S = 60.0
"""How much earlier it is taken for due: clocks differ, and a start takes its time."""

_REFRESHED_FOR_S = 8 * 86_400.0
"""How long codex believes a token whose expiry it cannot read."""


LoginMark: TypeAlias = str
"""What tells one login from another: a digest of its keys. codex also writes a file anew that holds the same ones."""


class LoginKind(Enum):
    """Kind of login. The value is codex's own word for it (`account/read`)."""

    API_KEY = "apiKey"
    CHATGPT = "chatgpt"


@dataclass(frozen=True, slots=True)
class StoredLogin:
    """Login in the file. `problem` is a sentence where it is of no use, and then `kind` is what it would have been.

    `due_at` is when codex may begin to renew it, `expires_at` when its token ends: Unix seconds, None for never and for
    unknown. `is_torn`: the content is no JSON, so it may be half written. `mark` is of a usable one.
    """

    kind: LoginKind | None = None
    problem: str = ""
    due_at: float | None = None
    expires_at: float | None = None
    is_torn: bool = False
    mark: LoginMark = ""

    @property
    def is_usable(self) -> bool:
        """True if codex sends a key with it."""
        return self.kind is not None and not self.problem

    def is_due(self, now: float, ahead_s: float = 0.0) -> bool:
        """True if codex may be renewing it at `now`, or will within `ahead_s`."""
        return self.due_at is not None and now >= self.due_at - ahead_s

    def is_expired(self, now: float) -> bool:
        """True if its access token is known to have ended."""
        return self.expires_at is not None and now >= self.expires_at


def parse(content: bytes) -> StoredLogin:
    """Return the login in a file with this content."""
    if not content.strip():
        return StoredLogin(problem="It is empty.", is_torn=True)
    try:
        found = orjson.loads(content)
    except orjson.JSONDecodeError:
        return StoredLogin(problem="It is no JSON, perhaps half written.", is_torn=True)
    if not isinstance(found, Mapping):
        return StoredLogin(problem="It is no JSON object.")
    mode, key = found.get("auth_mode"), found.get("OPENAI_API_KEY")
    if key is not None and not isinstance(key, str):
        return StoredLogin(problem="OPENAI_API_KEY is no text.")
    if mode == "apikey" or (mode is None and key is not None):
        return _api_key(key or "")
    if mode is None or mode in ("chatgpt", "chatgptAuthTokens"):
        return _chatgpt(found, is_renewed=mode != "chatgptAuthTokens")
    return StoredLogin(problem="It holds a kind of login that this gateway does not know.")


_HEADER_VALUE = re.compile(r"[!-~]+")


def _api_key(key: str) -> StoredLogin:
    # codex sends a key of blanks as it is, and none at all where it does not fit into a header.
    if not _HEADER_VALUE.fullmatch(key):
        return StoredLogin(LoginKind.API_KEY, "Its OPENAI_API_KEY is empty, or no key.")
    return StoredLogin(LoginKind.API_KEY, mark=_digest(key))


def _chatgpt(found: Mapping[str, Any], *, is_renewed: bool) -> StoredLogin:
    problem, tokens = "", found.get("tokens")
    if not isinstance(tokens, Mapping):
        return StoredLogin(problem="It holds neither an API key nor tokens of ChatGPT.")
    access, refresh = tokens.get("access_token"), tokens.get("refresh_token")
    refreshed_at = _time(found.get("last_refresh"))
    if not isinstance(access, str) or not _HEADER_VALUE.fullmatch(access):
        problem = "Its access token is missing."
    elif not isinstance(refresh, str):
        problem = "Its refresh token is missing."
    elif _claims(tokens.get("id_token")) is None:
        problem = "Its ID token is missing, or is none."
    elif refreshed_at is None:
        problem = "It does not say when it was last refreshed (last_refresh), or not as a time."
    expires_at = _expiry(access)
    due_at = None
    if is_renewed and expires_at is not None:
        due_at = expires_at - _RENEWED_BEFORE_S - _MARGIN_S
    elif is_renewed and refreshed_at is not None:
        due_at = refreshed_at + _REFRESHED_FOR_S - _MARGIN_S
    mark = "" if problem else _digest(access, refresh, tokens.get("account_id"))
    return StoredLogin(LoginKind.CHATGPT, problem, due_at, expires_at, mark=mark)


def _digest(*keys: object) -> LoginMark:
    return hashlib.sha256(repr(keys).encode(errors="replace")).hexdigest()


def _expiry(token: object) -> float | None:
    exp = (_claims(token) or {}).get("exp")
    return float(exp) if isinstance(exp, int) and not isinstance(exp, bool) else None


_JWT_PARTS = 3


def _claims(token: object) -> Mapping[str, Any] | None:
    """Return what a JWT claims, unchecked; None where it is none."""
    parts = token.split(".") if isinstance(token, str) else []
    if len(parts) != _JWT_PARTS or not all(parts):
        return None
    try:
        claims = orjson.loads(urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (binascii.Error, ValueError):
        return None
    return claims if isinstance(claims, Mapping) else None


def _time(value: object) -> float | None:
    try:
        at = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return at.timestamp() if at is not None and at.tzinfo is not None else None
