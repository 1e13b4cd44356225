"""Reader of one JSON object, field by field; a mistake is refused with its place."""

from typing import Any


class ScriptError(ValueError):
    """The script's JSON is not a script; the message names the place."""


class Fields:
    """One JSON object being read: every field is taken once, what is left over is refused."""

    def __init__(self, raw: Any, where: str) -> None:
        if not isinstance(raw, dict):
            raise ScriptError(f"{where}: expected an object")
        self.left = dict(raw)
        self.where = where

    def take(self, name: str, kinds: type | tuple[type, ...], default: Any) -> Any:
        """Take a field of these types, or the default. Raises `ScriptError`, as all below do."""
        value = self.left.pop(name, default)
        kinds_named = kinds if isinstance(kinds, tuple) else (kinds,)
        is_stray_bool = isinstance(value, bool) and bool not in kinds_named
        if value is not default and (is_stray_bool or not isinstance(value, kinds)):
            names = " or ".join(kind.__name__ for kind in kinds_named)
            raise ScriptError(f"{self.where}.{name}: expected {names}")
        return value

    def need(self, name: str, kinds: type | tuple[type, ...]) -> Any:
        """Take a field that must be there."""
        if name not in self.left:
            raise ScriptError(f"{self.where}.{name}: is required")
        return self.take(name, kinds, None)

    def texts(self, name: str) -> tuple[str, ...]:
        """Take a list of strings; an absent one is empty."""
        values = self.take(name, list, [])
        if not all(isinstance(value, str) for value in values):
            raise ScriptError(f"{self.where}.{name}: expected a list of strings")
        return tuple(values)

    def count(self, name: str, default: Any, *, least: int = 0) -> Any:
        """Take a number that is not below `least`."""
        value = self.take(name, (int, float), default)
        if value is not default and value < least:
            raise ScriptError(f"{self.where}.{name}: must be at least {least}")
        return value

    def choice(self, name: str, choices: dict[Any, Any], default: Any) -> Any:
        """Take one of the keys of `choices` and return its value."""
        value = self.left.pop(name, default)
        if not isinstance(value, str | bool) or value not in choices:
            listed = ", ".join(str(choice) for choice in choices)
            raise ScriptError(f"{self.where}.{name}: expected one of {listed}")
        return choices[value]

    def done(self) -> None:
        """Refuse what nobody took."""
        if self.left:
            raise ScriptError(f"{self.where}: unknown field {min(self.left)!r}")
