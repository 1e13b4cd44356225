"""Requests of operators, and those that depend on what was set or has happened before."""

from __future__ import annotations

from tests.e2e.harness import MODEL
from tests.e2e.recording.case import CHAT, COMPLETIONS, Case, chat, get, say

ADMIN_KEY = "recording-admin-key-9fQ2mV7xK4tB"
METRICS_TOKEN = "recording-metrics-token-4tB1wZ8c"
LIMITED_KEY = "recording-limited-key-1wZ8cR5yQ2mV"

TRACES = (
    get("traces: list", "/internal/traces", key=ADMIN_KEY),
    get("traces: one", "/internal/traces/recording.the-first_1", key=ADMIN_KEY),
    get("traces: unknown", "/internal/traces/nothing", key=ADMIN_KEY),
    get("traces: with a client's key", "/internal/traces"),
)

LOGIN = (
    chat("login: refused", {"failure": "invalid_api_key"}),
    get("login: health after that", "/readyz", key=""),
    chat("login: accepted again", say("x")),
    get("login: health after all", "/readyz", key=""),
)

LIMITS = tuple(
    chat(f"limit: request {number} of 2", say("x"), key=LIMITED_KEY) for number in (1, 2, 3)
)

ACCOUNT = chat(
    "account: the upstream tells of its windows",
    say(
        "x",
        headers={
            "x-codex-primary-used-percent": "37",
            "x-codex-primary-window-minutes": "300",
            "x-codex-primary-reset-at": "4102444800",
            "x-codex-secondary-used-percent": "81",
            "x-codex-secondary-window-minutes": "10080",
            "x-codex-secondary-reset-at": "4102444801",
        },
    ),
)
AFTER_ACCOUNT = (
    get("account: models", "/v1/models/gpt-5.5"),
    chat("account: refused", model=None),
    chat("account: stream", say("x"), stream=True),
    get("account: without a key", "/v1/models", key=""),
    chat("account: a spent quota", {"failure": "usage_limit_reached"}),
)


def _maintenance(name: str, **order: object) -> Case:
    return Case(
        name=f"maintenance: {name}", path="/internal/maintenance", body=order, key=ADMIN_KEY
    )


_STATE = get("maintenance: state", "/internal/maintenance", key=ADMIN_KEY)

MAINTENANCE = (
    _STATE,
    _maintenance("on", enabled=True),
    chat("maintenance: a chat", say("x")),
    _maintenance(
        "on with words",
        enabled=True,
        reason="We move.",
        until="2099-12-01T10:00:00Z",
        retry_after_s=17,
    ),
    chat("maintenance: a stream", say("x"), stream=True),
    Case(name="maintenance: a prompt", path=COMPLETIONS, body={"model": MODEL, "prompt": "x"}),
    get("maintenance: models", "/v1/models"),
    get("maintenance: no key", "/v1/models", key=""),
    get("maintenance: no such path", "/v1/nothing"),
    Case(name="maintenance: options", method="OPTIONS", path=CHAT, key=""),
    get("maintenance: readyz", "/readyz", key=""),
    get("maintenance: healthz", "/healthz", key=""),
    _maintenance("off", enabled=False),
    get("maintenance: models again", "/v1/models/gpt-5.5"),
    Case(name="maintenance: reset", method="DELETE", path="/internal/maintenance", key=ADMIN_KEY),
    _maintenance("nothing said"),
    _maintenance("an end that is past", enabled=True, until="2001-01-01T00:00:00Z"),
    _maintenance("a reason of two lines", enabled=True, reason="a\nb"),
    _maintenance("a wait of another type", enabled=True, retry_after_s="long"),
    Case(name="maintenance: a client's key", path="/internal/maintenance", body={"enabled": True}),
)


def _level(name: str, level: str) -> Case:
    path = "/internal/log-level"
    return Case(name=f"log level: {name}", path=path, body={"level": level}, key=ADMIN_KEY)


LOG_LEVEL = (
    get("log level: state", "/internal/log-level", key=ADMIN_KEY),
    _level("one that there is not", "loud"),
    _level("less", "warning"),
    _level("as before", "info"),
)

METRICS = (
    get("metrics: text", "/metrics", key=METRICS_TOKEN),
    get(
        "metrics: OpenMetrics",
        "/metrics",
        key=METRICS_TOKEN,
        headers={"Accept": "application/openmetrics-text"},
    ),
    get("metrics: with a client's key", "/metrics"),
)
