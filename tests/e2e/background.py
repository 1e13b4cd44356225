"""Background responses for tests: begun, polled, cancelled, and streams of them, held against OpenAI's own types."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import requests
from openai.types.responses import Response

from tests.e2e.harness import Gateway, Upstream, wait_until
from tests.e2e.responses_api import EVENTS, Event, frames, post

Json = dict[str, Any]
PENDING = {"queued", "in_progress"}


def begin(gateway: Gateway, marker: str, **more: Any) -> Json:
    """Begin a response, held against OpenAI's own type."""
    response = post(gateway, {"input": f"hi {marker}", "background": True, **more})
    assert response.status_code == 200, response.text
    begun: Json = response.json()
    Response.model_validate(begun, strict=True)
    assert begun["background"] is True
    assert begun["status"] in PENDING
    return begun


def get(
    gateway: Gateway, response_id: str, *, as_it_comes: bool = False, **query: Any
) -> requests.Response:
    return requests.get(
        f"{gateway.url}/v1/responses/{response_id}",
        params=query,
        headers=gateway.headers,
        timeout=60,
        stream=as_it_comes,
    )


def shown(gateway: Gateway, response_id: str) -> Json:
    response = get(gateway, response_id)
    assert response.status_code == 200, response.text
    found: Json = response.json()
    Response.model_validate(found, strict=True)
    return found


def ended(gateway: Gateway, response_id: str, within_s: float = 60) -> Json:
    """Poll as a client does, until the response has ended."""

    def look() -> Json | None:
        found = shown(gateway, response_id)
        return None if found["status"] in PENDING else found

    found: Json = wait_until(look, "the response ends", within_s)
    return found


def cancel(gateway: Gateway, response_id: str) -> requests.Response:
    url = f"{gateway.url}/v1/responses/{response_id}/cancel"
    return requests.post(url, headers=gateway.headers, timeout=60)


def told(response: requests.Response) -> list[Event]:
    """The events of a stream, each held against OpenAI's own type."""
    assert response.status_code == 200, response.text
    found = [event for _, event in frames(response)]
    for event in found:
        EVENTS.validate_python(event, strict=True)
    return found


def followed(gateway: Gateway, response_id: str) -> Iterator[Event]:
    """The events of a response as they come, each held against OpenAI's own type."""
    with get(gateway, response_id, as_it_comes=True, stream="true") as response:
        assert response.status_code == 200, response.text
        for line in response.iter_lines():
            if line.startswith(b"data: "):
                event: Event = json.loads(line.removeprefix(b"data: "))
                EVENTS.validate_python(event, strict=True)
                yield event


def held(upstream: Upstream, *deltas: str, after: int = 0) -> str:
    said = {"type": "message", "deltas": [*deltas] or ["a", "b", "c"]}
    where = {"hold_after": after} if after else {}
    return upstream.play({"hold": True, "items": [said], **where})
