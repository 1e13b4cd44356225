"""Colours of the service's own pages, for pictures beside them: a style with a light and a dark scheme. Pure."""

from __future__ import annotations

import re

FONT = "ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace"
NAMES = ("ground", "raised", "ink", "soft", "line", "accent", "wait")


def schemes(page_css: str) -> tuple[dict[str, str], dict[str, str]]:
    """Return the light and the dark colours of a page by their names."""
    light, dark = re.findall(r":root \{(.*?)\}", page_css, re.DOTALL)[:2]
    return _colours(light), _colours(dark)


def style(page_css: str) -> str:
    """Return CSS that sets the page's colours, those of the reader's scheme."""
    light, dark = schemes(page_css)
    return f":root{{{_set(light)}}}@media (prefers-color-scheme:dark){{:root{{{_set(dark)}}}}}"


def _colours(block: str) -> dict[str, str]:
    found = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block))
    return {name: found[name] for name in NAMES}


def _set(colours: dict[str, str]) -> str:
    return ";".join(f"--{name}:{value}" for name, value in colours.items())
