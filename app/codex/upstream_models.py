"""Models of a configured upstream: those that a setting names, and those that its `/models` lists.

A start never depends on that list: it is read within a short time, or not. The last one that could be read is kept in
CODEX_HOME, so that an upstream that is away takes none of its models with it.
"""

from __future__ import annotations

import logging
from codecs import BOM_UTF8
from collections.abc import Iterable, Iterator
from typing import Any

import orjson

from app.codex.catalog import Offer
from app.codex.home import Home
from app.codex.upstream_http import Unreachable, UpstreamHttp

log = logging.getLogger("codex_api.codex")

AUTO = "auto"
"""The word for what the upstream's `/models` lists."""

OWN = "codex"
"""The word for the models that codex itself knows."""

_TIMEOUT_S = 2.0
_MOST_BYTES = 8 << 20
_MOST_MODELS = 2000
_MOST_CHARACTERS = 200


class UpstreamModels:
    """The models of one upstream. `words` are names, `auto` and `codex`, in the order of the setting."""

    def __init__(
        self, words: tuple[str, ...], url: str, key: str, home: Home, http: UpstreamHttp
    ) -> None:
        self.is_read = AUTO in words
        self._words = words
        self._url = url
        self._key = key
        self._file = home.private / "upstream-models.json"
        self._http = http
        self._was_tried = False
        self._last_cause = ""
        self._listed = tuple(self._load())

    def offer(self) -> Offer:
        """Return what is to be offered now. Blocks for a moment where the list was never read and never tried."""
        if self.is_read and not self._listed and not self._was_tried:
            self.refresh()
        names: list[str] = []
        for word in self._words:
            if word == AUTO:
                names += self._listed
            elif word != OWN:
                names.append(word)
        return Offer(tuple(dict.fromkeys(names)), has_own=OWN in self._words or not names)

    def refresh(self) -> bool:
        """Read the list anew; False where that failed, and the last one holds. Blocks for two seconds or so at most."""
        self._was_tried = True
        try:
            listed = read_list(self._url, self._key, self._http)
        except Unreachable as error:
            self._note_failure(error)
            return False
        self._last_cause = ""
        if set(listed) != set(self._listed):  # the order of some lists is another one each time
            self._listed = listed
            log.info("upstream_models_read", extra={"models": len(listed)})
            self._save()
        return True

    def _note_failure(self, error: Unreachable) -> None:
        """Log it once for each cause in a row: it is tried again and again."""
        if error.cause != self._last_cause:
            self._last_cause = error.cause
            fields = {"cause": error.cause, "detail": str(error), "models": len(self._listed)}
            log.warning("upstream_models_not_read", extra=fields)

    def _load(self) -> Iterator[str]:
        """Yield the list that was kept for this upstream; nothing if there is none, or it cannot be read."""
        try:
            kept = orjson.loads(self._file.read_bytes()) if self.is_read else None
        except (OSError, ValueError):
            return
        if isinstance(kept, dict) and kept.get("url") == self._url:
            yield from _names(kept.get("models"))

    def _save(self) -> None:
        part = self._file.with_suffix(".part")
        try:
            self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            part.write_bytes(orjson.dumps({"url": self._url, "models": self._listed}))
            part.replace(self._file)
        except OSError:
            log.warning("upstream_models_not_kept", exc_info=True)


def read_list(url: str, key: str, http: UpstreamHttp) -> tuple[str, ...]:
    """Return the names that the upstream lists. Blocks for two seconds or so at most; raises `Unreachable`."""
    where = f"{url}/models"
    return parse_list(http.read(where, key, timeout_s=_TIMEOUT_S, most_bytes=_MOST_BYTES))


def parse_list(body: bytes) -> tuple[str, ...]:
    """Return the names in an answer to `GET /models`. Raises `Unreachable` where it is no list, or has no model."""
    try:
        answer = orjson.loads(body.removeprefix(BOM_UTF8))
    except ValueError:
        raise Unreachable("other", "What it answered is no JSON.") from None
    found = answer.get("data") if isinstance(answer, dict) else answer
    entries = found if isinstance(found, list) else []
    names = dict.fromkeys(_names(entry.get("id") for entry in entries if isinstance(entry, dict)))
    if not names:
        raise Unreachable("other", "What it answered lists no model.")
    return tuple(names)[:_MOST_MODELS]


def _names(found: Iterable[Any] | None) -> Iterator[str]:
    """Yield what can be a model's name."""
    for name in found or ():
        if isinstance(name, str) and 0 < len(name) <= _MOST_CHARACTERS and name.isprintable():
            yield name
