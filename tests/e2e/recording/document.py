"""The whole recording: what was seen of the gateways, and what the settings and the errors are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.e2e.harness import KEY, Upstream
from tests.e2e.recording import surface
from tests.e2e.recording.gateways import visit_all

BEFORE = Path(__file__).with_name("before.json")


def record(upstream: Upstream, folder: Path) -> dict[str, Any]:
    """Return the recording of what is checked out; the gateways live in `folder`."""
    seen = visit_all(upstream, folder)
    told = {
        "settings": surface.settings(),
        "settings that are refused": _refused_settings(),
        "errors": surface.error_codes(),
    }
    document: dict[str, Any] = json.loads(to_text({**seen, **told}))
    return document


def to_text(document: dict[str, Any]) -> str:
    """Return the recording as it lies in the file."""
    return json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def _refused_settings() -> dict[str, list[str]]:
    nonsense = dict.fromkeys(surface.settings(), "nonsense, =;")
    key = {"PROXY_API_KEY": KEY}
    prod = {"PROXY_ENV": "prod", "PROXY_API_KEY": "change-me", "PROXY_ADMIN_KEY": "change-me"}
    return {
        "nonsense": surface.problems(nonsense),
        "no key": surface.problems({}),
        "no conflict": surface.problems(key),
        "conflicts": surface.problems(
            key
            | {
                "WORKER_BACKOFF_INITIAL_MS": "9000",
                "PROXY_API_KEYS": f"default=a,b={KEY}",
                "PROXY_ADMIN_KEY": KEY,
                "PROXY_RATE_LIMITS": "nobody=1/hour",
            }
        ),
        "prod": surface.problems(
            prod
            | {
                "PROXY_METRICS_TOKEN": "change-me",
                "PROXY_TRACE_CONTENT": "true",
                "PROXY_HOST": "0.0.0.0",
                "PROXY_TRUSTED_PROXIES": "*",
            }
        ),
    }
