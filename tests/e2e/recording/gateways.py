"""Three gateways, the settings of each, and what is asked of it in which order."""

from __future__ import annotations

import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tests.e2e.harness import Gateway, Upstream, end, start_gateway, wait_until
from tests.e2e.raw_http import request_bytes
from tests.e2e.recording import doors, records, scrapes
from tests.e2e.recording.case import CHAT, Case, chat, get, say
from tests.e2e.recording.chats import CHATS, FIRST, THINKING
from tests.e2e.recording.exchange import Answer, asked, describe, play, send
from tests.e2e.recording.failures import FAILURES
from tests.e2e.recording.others import HEALTH, LEGACY, MODELS, OPTIONS, REFUSED
from tests.e2e.recording.volatile import Names

CLIENT_KEY = "recording-client-key-7xK4tB1wZ8cR"
OTHER_KEY = "recording-other-key-Q2mV7xK4tB1w"

# A failure before the first frame is to be an ordinary answer, however slow the machine is.
PATIENT = {"PROXY_STREAM_COMMIT_MS": "60000"}

OPEN = PATIENT | {
    "PROXY_ADMIN_KEY": doors.ADMIN_KEY,
    "PROXY_METRICS_TOKEN": doors.METRICS_TOKEN,
    "PROXY_API_KEYS": f"limited={doors.LIMITED_KEY}",
    "PROXY_RATE_LIMITS": "limited=2/hour",
    "PROXY_MODEL_ALIASES": "team/fast=gpt-5.5-low,dead=gpt-4",
    "PROXY_MAX_BODY_BYTES": "65536",
}

STRICT = PATIENT | {
    "PROXY_ENV": "prod",
    "PROXY_API_KEY": CLIENT_KEY,
    "PROXY_CORS_ALLOWED_ORIGINS": "https://chat.example,app://obsidian.md",
    "PROXY_PROTECT_MODELS": "false",
    "PROXY_DEFAULT_MODEL": "gpt-5.5",
    "PROXY_REASONING": "off",
    "PROXY_FETCH_IMAGES": "false",
    "PROXY_TRACE_BUFFER": "false",
    "WORKER_REQUEST_TIMEOUT_MS": "4000",
}

NARROW = {
    "PROXY_API_KEYS": f"other={OTHER_KEY}",
    "PROXY_STREAM_COMMIT_MS": "1",
    "PROXY_KEY_MAX_CONCURRENCY": "1",
    "PROXY_SSE_MAX_CONCURRENCY": "1",
    "PROXY_TRACE_CONTENT": "true",
    "WORKER_MAX_CONCURRENCY": "1",
    "WORKER_QUEUE_MAX": "0",
    "PROXY_HEAD_TIMEOUT_MS": "1000",
    "PROXY_BODY_TIMEOUT_MS": "1000",
}


_NEVER_SERVED = ('"INVALID_HTTP"', '"HEAD_TIMEOUT"')
"""Codes of answers to what never became a request, so that it has no line in the log."""


@dataclass
class Visit:
    """A gateway that is asked, and what is known of it so far."""

    gateway: Gateway
    upstream: Upstream
    requests: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    _answers: dict[str, tuple[Answer, Names]] = field(default_factory=dict)

    def ask(self, *cases: Case) -> None:
        """Send the requests, one after the other."""
        for case in cases:
            play(case, self.upstream)
            self.note(case, send(case, self.gateway, self.upstream))

    def ask_during(self, stream: Case, *cases: Case) -> None:
        """Send requests while a stream is open that waits for the upstream."""
        play(stream, self.upstream)
        answer = send(stream, self.gateway, self.upstream, lambda: self.ask(*cases))
        self.note(stream, answer)

    def note(self, case: Case, answer: Answer) -> None:
        """Record an answer, and what the upstream was asked."""
        if case.name in self.requests:
            raise AssertionError(f"two requests have the name {case.name}")
        names = Names()
        self._answers[case.name] = answer, names
        self.requests[case.name] = describe(case, answer, names)
        if case.plays:
            self.requests[case.name]["upstream"] = asked(case, self.upstream, names)

    def scrape(self, *cases: Case) -> None:
        """Ask for the metrics once every line of the log is there, for these two are written together."""
        self.settle()
        self.ask(*cases)
        answer, _ = self._answers[cases[0].name]
        self.metrics = scrapes.describe(answer.body.decode())

    def settle(self) -> None:
        """Wait until what was asked has left nothing behind that runs."""
        wait_until(self._is_quiet, "every request has its line, and no turn runs")

    def wait_for_trace(self, request_id: str) -> None:
        """Wait for the trace of a request, which is written a moment after its answer."""
        path = f"/internal/traces/{request_id}"
        wait_until(lambda: self.look(path).status == 200, f"there is a trace of {request_id}")

    def read_log(self) -> dict[str, Any]:
        """Return the log after the end, and add each request's line to what is recorded of it."""
        log = self.gateway.log()
        for name, (answer, names) in self._answers.items():
            line = records.line_of(log, answer.request_id)
            self.requests[name]["line"] = records.describe_line(line, len(answer.body), names)
        return records.describe_events(log)

    def _is_quiet(self) -> bool:
        written = {entry["request_id"] for entry in self.gateway.events("request")}
        served = {
            answer.request_id
            for name, (answer, _) in self._answers.items()
            if not any(code in self.requests[name].get("body", "") for code in _NEVER_SERVED)
        }
        return served - {""} <= written and not self.look("/healthz").json()["child"]["running"]

    def look(self, path: str) -> Answer:
        """Ask for what is not recorded."""
        settings = self.gateway.environment
        key = settings["PROXY_API_KEY"]
        if path.startswith("/internal/"):
            key = settings["PROXY_ADMIN_KEY"] or key
        return send(get("", path, key=key), self.gateway, self.upstream)


def _visit_open(visit: Visit) -> None:
    visit.ask(*HEALTH, FIRST)
    visit.wait_for_trace(FIRST.headers["X-Request-Id"])
    visit.ask(*doors.TRACES, *CHATS, *MODELS, *LEGACY, *OPTIONS, *REFUSED, *FAILURES)
    visit.ask(*doors.LOGIN, *doors.LIMITS, doors.ACCOUNT)
    wait_until(
        lambda: len(visit.look("/healthz").json()["account_limits"]) == 2,
        "the gateway has heard of the account's windows",
    )
    visit.ask(*doors.AFTER_ACCOUNT, *doors.MAINTENANCE)
    visit.scrape(*doors.METRICS)
    visit.ask(*doors.LOG_LEVEL)
    _lose_child(visit.gateway)
    _reload(visit.gateway)


def _lose_child(gateway: Gateway) -> None:
    gateway.child().kill()
    wait_until(lambda: len(gateway.events("child_ready")) == 2, "there is another child")


def _reload(gateway: Gateway) -> None:
    (old,) = gateway.workers()
    gateway.process.send_signal(signal.SIGHUP)
    wait_until(lambda: gateway.events("reload_done"), "the new worker accepts")
    wait_until(lambda: not old.is_running(), "the old worker is gone")


_IMAGE = {"type": "image_url", "image_url": {"url": "https://images.example/x.png"}}
_PREFLIGHT = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-a"}


def _strict_chat(name: str, *plays: Any, **fields: Any) -> Case:
    return chat(f"prod: {name}", *plays, key=CLIENT_KEY, **fields)


STRICT_CASES = (
    _strict_chat("no model is named", say("x"), model=None),
    _strict_chat("reasoning is not shown", THINKING),
    _strict_chat("reasoning is not streamed", THINKING, stream=True),
    _strict_chat("an image from the network", messages=[{"role": "user", "content": [_IMAGE]}]),
    _strict_chat("the upstream hangs", {"failure": "hang_before_headers"}),
    _strict_chat(
        "the upstream hangs in a stream",
        say("a", "b", failure={"name": "hang_mid_stream", "after_deltas": 1}),
        stream=True,
    ),
    get("prod: models without a key", "/v1/models/gpt-5.5", key=""),
    get("prod: no operator's key", "/internal/maintenance", key=CLIENT_KEY),
    get("prod: health from a page", "/livez", key="", headers={"Origin": "https://chat.example"}),
    get("prod: health from a strange page", "/livez", key="", headers={"Origin": "https://x.y"}),
    *(
        Case(
            name=f"prod: preflight of {origin}",
            method="OPTIONS",
            key="",
            headers={"Origin": origin, **_PREFLIGHT},
        )
        for origin in ("https://chat.example", "app://obsidian.md", "https://x.y")
    ),
)


def _visit_strict(visit: Visit) -> None:
    visit.ask(*STRICT_CASES)
    visit.scrape(get("prod: metrics", "/metrics", key=CLIENT_KEY))


_BUSY = frozenset({"retry-after"})
_HELD = chat("narrow: a stream is open", say("a", hold=True), stream=True, lets_go_at='"a"')
_MEANWHILE = (
    chat("narrow: the same key", say("x")),
    chat("narrow: another key", say("x"), key=OTHER_KEY),
    chat("narrow: another stream", say("x"), key=OTHER_KEY, stream=True),
)
_LATE = (
    chat(
        "narrow: a failure after the 200",
        {"hold_before_headers": True, "failure": "forbidden"},
        stream=True,
        lets_go_at='"role"',
    ),
    chat(
        "narrow: tried again after the 200",
        [{"hold_before_headers": True, "failure": "server_error"}, say("x")],
        stream=True,
        lets_go_at='"role"',
    ),
    Case(
        name="narrow: words in a trace",
        body=FIRST.body,
        plays=FIRST.plays,
        headers={"X-Request-Id": "recording.words"},
    ),
)
_SLOW = (
    Case(
        name="narrow: a body that does not come",
        by_hand=request_bytes("POST", CHAT, b"{", Content_Length="100"),
    ),
    Case(name="narrow: a head that does not come", by_hand=b"GET / HTTP/1.1\r\nHost: x\r\n"),
)


def _visit_narrow(visit: Visit) -> None:
    visit.ask_during(_HELD, *(replace(case, loose=_BUSY) for case in _MEANWHILE))
    for case in _LATE:
        visit.settle()  # there is one slot
        visit.ask(case)
    visit.wait_for_trace("recording.words")
    visit.ask(get("narrow: words in a trace, shown", "/internal/traces/recording.words"), *_SLOW)
    visit.scrape(get("narrow: metrics", "/metrics"))


VISITS: dict[str, tuple[dict[str, str], Callable[[Visit], None]]] = {
    "open": (OPEN, _visit_open),
    "strict": (STRICT, _visit_strict),
    "narrow": (NARROW, _visit_narrow),
}


def visit_all(upstream: Upstream, folder: Path) -> dict[str, Any]:
    """Ask every gateway, side by side, and return what was seen of all."""
    with ThreadPoolExecutor(len(VISITS)) as pool:
        asked_for = {name: pool.submit(_visit, name, upstream, folder) for name in VISITS}
        seen = {name: future.result() for name, future in asked_for.items()}
    return {
        what: {name: found[what] for name, found in seen.items()}
        for what in ("requests", "metrics", "log", "exit")
    }


def _visit(name: str, upstream: Upstream, folder: Path) -> dict[str, Any]:
    settings, ask_everything = VISITS[name]
    home = folder / name
    home.mkdir()
    # Whether a thread waits already is a matter of time.
    gateway = start_gateway(home, upstream, **{"WORKER_WARM_THREADS": "0", **settings})
    try:
        visit = Visit(gateway, upstream)
        wait_until(lambda: visit.look("/readyz").status == 200, "the gateway is ready")
        ask_everything(visit)
        status = gateway.stop()
        log = visit.read_log()
        return {"requests": visit.requests, "metrics": visit.metrics, "log": log, "exit": status}
    finally:
        end(gateway)
