"""Traefik's rules of routers, evaluated for a request: enough of the language for the labels of ours."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

# Since version 3 each of these matchers takes one value.
_TOKEN = re.compile(r"\s*(&&|\|\||[!()]|(?P<matcher>\w+)\(`(?P<value>[^`]*)`\))")

_MATCHERS: Mapping[str, Callable[[str, str, str, str], bool]] = {
    "Host": lambda value, host, _method, _path: value == host.lower(),
    "Method": lambda value, _host, method, _path: value == method,
    "Path": lambda value, _host, _method, path: value == path,
    "PathPrefix": lambda value, _host, _method, path: path.startswith(value),
}


@dataclass
class _Reader:
    tokens: list[re.Match[str]]
    request: tuple[str, str, str]

    def either(self) -> bool:
        found = self.both()
        while self._take("||"):
            found = self.both() or found
        return found

    def both(self) -> bool:
        found = self.single()
        while self._take("&&"):
            found = self.single() and found
        return found

    def single(self) -> bool:
        if self._take("!"):
            return not self.single()
        if self._take("("):
            found = self.either()
            assert self._take(")")
            return found
        token = self.tokens.pop(0)
        return _MATCHERS[token["matcher"]](token["value"], *self.request)

    def _take(self, text: str) -> bool:
        if self.tokens and self.tokens[0][1] == text:
            self.tokens.pop(0)
            return True
        return False


def holds(rule: str, host: str, method: str, path: str) -> bool:
    """Whether a rule takes this request."""
    tokens, place = [], 0
    while place < len(rule):
        token = _TOKEN.match(rule, place)
        assert token, f"not understood: {rule[place:]}"
        tokens.append(token)
        place = token.end()
    reader = _Reader(tokens, (host, method, path))
    found = reader.either()
    assert not reader.tokens, rule
    return found


@dataclass
class Configuration:
    """What Traefik makes of labels: routers, services and middlewares by their names."""

    routers: dict[str, dict[str, str]] = field(default_factory=dict)
    services: dict[str, dict[str, str]] = field(default_factory=dict)
    middlewares: dict[str, dict[str, str]] = field(default_factory=dict)
    others: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, labels: Mapping[str, str]) -> Configuration:
        made = cls()
        for label, value in labels.items():
            kind = re.fullmatch(
                r"traefik\.http\.(routers|services|middlewares)\.([\w-]+)\.(.+)", label
            )
            if kind is None:
                made.others[label] = value
            else:
                named: Any = getattr(made, kind[1])
                named.setdefault(kind[2], {})[kind[3]] = value
        return made

    def route(self, host: str, method: str, path: str) -> str | None:
        """Return the router that takes the request, None for Traefik's 404."""
        taking = [
            n for n, router in self.routers.items() if holds(router["rule"], host, method, path)
        ]
        taking.sort(key=lambda name: int(self.routers[name]["priority"]))
        return taking[-1] if taking else None

    def middlewares_of(self, router: str) -> list[str]:
        return self.routers[router]["middlewares"].split(",")
