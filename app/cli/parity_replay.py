"""Replay of conversations against two gateways, one request at a time, in turn: what each answered, and how fast."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from http import HTTPStatus
from itertools import zip_longest
from statistics import median
from typing import Any

from app.cli.exit_codes import CheckFailed
from app.cli.gateway_client import Answer, GatewayClient
from app.cli.parity_compare import Exchange, Found, Outcome, differences, outcome
from app.cli.parity_conversations import Conversation, Step, answer_in, filled
from app.cli.parity_streams import read_stream
from app.cli.parity_values import Difference, Rules

_HIDDEN = b"[hidden]"
_NOT_SENT = "not sent"
_NOT_NOW = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS}
_CLOSED = {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two. `upstream` is the control address of a scripted upstream that records; None if there is none."""

    gateway: GatewayClient
    upstream: GatewayClient | None = None


Run = list[Exchange]


def compare_sides(
    conversation: Conversation, sides: tuple[Side, Side], model: str, *, rules: Rules, repeat: int
) -> Outcome:
    """Run a conversation `repeat` times on each side, by turns, and compare run by run. Blocks."""
    runs: list[tuple[Run, Run]] = []
    for at in range(repeat):
        # Who begins changes, so that what the first request warms up helps both alike.
        order = (0, 1) if at % 2 == 0 else (1, 0)
        done = {which: list(replay(conversation, sides[which], model)) for which in order}
        runs.append((done[0], done[1]))
    seen: Counter[tuple[int, Difference]] = Counter()
    first_of_place: dict[tuple[int, str], Difference] = {}
    for a, b in runs:
        for step, difference in _by_step(a, b, rules):
            shown = first_of_place.setdefault((step, difference.place), difference)
            seen[step, shown] += 1
    found = tuple(
        Found(conversation.name, step, difference, count)
        for (step, difference), count in seen.items()
    )
    missing = next((why for a, b in runs if (why := _nothing_to_compare(a, b))), "")
    return Outcome(
        conversation.name,
        found,
        _medians(runs, lambda exchange: exchange.first_ms),
        _medians(runs, lambda exchange: exchange.ms),
        missing,
    )


def _by_step(a: Run, b: Run, rules: Rules) -> Iterator[tuple[int, Difference]]:
    nothing = Exchange(failure=_NOT_SENT)
    for step, (one, other) in enumerate(zip_longest(a, b, fillvalue=nothing)):
        for difference in differences(one, other, rules):
            yield step, difference


def _nothing_to_compare(a: Run, b: Run) -> str:
    """Return why two runs are no comparison: at one step neither side says anything of what it was asked."""
    for one, other in zip(a, b, strict=False):
        if (one.failure or one.refused) and (other.failure or other.refused):
            return one.failure or other.failure or f"both answered {outcome(one)}"
    return ""


def _medians(runs: Sequence[tuple[Run, Run]], ms: Callable[[Exchange], int]) -> tuple[float, float]:
    a, b = (median(sum(map(ms, run[which])) for run in runs) for which in (0, 1))
    return a, b


def replay(conversation: Conversation, side: Side, model: str) -> Iterator[Exchange]:
    """Yield what the side answers to each step, up to one that cannot be sent or is not answered. Blocks.

    Raises `CheckFailed` where its upstream cannot be told what to say.
    """
    with (
        scripted(side.upstream, conversation.upstream),
        side.gateway.keeping_connection() as gateway,  # as SDKs do
    ):
        yield from _steps(conversation, replace(side, gateway=gateway), model)


@contextmanager
def scripted(upstream: GatewayClient | None, told: Mapping[str, Any] | None) -> Iterator[None]:
    """Have the upstream say what it is told, for as long as the context lasts. Blocks; raises `CheckFailed`."""
    if upstream is None or told is None:
        yield
        return
    upstream.send("/control/scripts", told).good()
    try:
        yield
    finally:
        upstream.send(f"/control/scripts/{told['marker']}", method="DELETE")


def _steps(conversation: Conversation, side: Side, model: str) -> Iterator[Exchange]:
    answer: Any = None
    known_id = ""
    for step in conversation.steps:
        try:
            body = filled(step.body, model, answer)
        except (LookupError, TypeError, AttributeError) as error:
            yield Exchange(failure=f"{_NOT_SENT}: {error}")
            return
        exchange = _exchange(side, step, step.path.replace("{id}", known_id), body)
        if conversation.upstream is not None:
            exchange = replace(exchange, refused=False)  # it was asked for
        yield exchange
        if exchange.failure:
            return
        answer = answer_in(exchange.payload)
        if isinstance(answer, dict) and isinstance(answer.get("id"), str):
            known_id = answer["id"]


def _exchange(side: Side, step: Step, path: str, body: Any) -> Exchange:
    before = _recorded(side.upstream)
    began = time.monotonic()
    try:
        answer = side.gateway.send(path, body, method=step.method, key=None if step.key else "")
    except CheckFailed as failed:
        return Exchange(failure=str(failed))
    ms = round((time.monotonic() - began) * 1000)
    sent = None
    if side.upstream is not None:
        last = max((record["sequence"] for record in before), default=0)
        records = _recorded(side.upstream)
        sent = [record["body"] for record in records if record["sequence"] > last]
    headers = {name.lower(): value for name, value in answer.headers.items()}
    payload = _payload(answer, side.gateway.key)
    refused = answer.status in _NOT_NOW or answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR
    refused |= step.key and answer.status in _CLOSED
    return Exchange(answer.status, headers, payload, answer.head_ms, ms, sent, refused=refused)


def _payload(answer: Answer, key: str) -> Any:
    """Return the body, parsed. Whatever repeats the key of this side does so without it."""
    body = answer.body.replace(key.encode(), _HIDDEN) if key else answer.body
    hidden = Answer(answer.status, answer.headers, body, answer.head_ms)
    try:
        if answer.headers.get("Content-Type", "").startswith("text/event-stream"):
            return read_stream(body)
        return hidden.json()
    except (CheckFailed, ValueError):
        return body.decode(errors="replace")


def _recorded(upstream: GatewayClient | None) -> list[Any]:
    """Return the turns that a recording upstream was asked for, oldest first. Blocks; raises `CheckFailed`."""
    if upstream is None:
        return []
    records = upstream.send("/control/requests").good().json()["requests"]
    return [record for record in records if record["path"].rstrip("/").endswith("/responses")]
