"""Modules of `app` that the recording reads: the only place that names them.

A refactoring may move and rename them; then only this file follows. What it returns must stay as it is.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from app import errors
from app.settings import VARIABLES, SettingsError, load_settings
from tests.e2e.harness import ROOT

_EXAMPLE = ROOT / ".env.example"


def settings() -> dict[str, Any]:
    """Return every variable: its default, its meaning, and its line in `.env.example`."""
    lines = {
        line.lstrip("#").partition("=")[0]: line
        for line in _EXAMPLE.read_text().splitlines()
        if line and not line.startswith("# ")
    }
    known = {
        variable.metadata["name"]: {
            "default": variable.metadata["default"],
            "meaning": variable.metadata["meaning"],
            "is_secret": not variable.repr,
        }
        for variable in VARIABLES
    }
    return {name: {**known.get(name, {}), "example": lines.get(name)} for name in {*known, *lines}}


def problems(variables: Mapping[str, str]) -> list[str]:
    """Return what the settings say against these values, a sentence for each."""
    try:
        load_settings(variables)
    except SettingsError as refused:
        return sorted(refused.problems)
    return []


def error_codes() -> dict[str, list[dict[str, Any]]]:
    """Return the kinds of errors by their code; their classes' names are nobody's business outside."""
    codes: dict[str, list[dict[str, Any]]] = {}
    for _, kind in inspect.getmembers(errors, inspect.isclass):
        if not issubclass(kind, errors.GatewayError) or kind is errors.GatewayError:
            continue
        shown = {
            "status": kind.status,
            "type": kind.type,
            "retryable": kind.retryable,
            "retry_after_s": kind.default_retry_after_s,
            "is_tried_again_here": kind.is_transient,
        }
        codes.setdefault(kind.default_code, []).append(shown)
    return {code: sorted(kinds, key=str) for code, kinds in codes.items()}
