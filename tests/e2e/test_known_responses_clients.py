"""Rounds of well-known clients over the Responses API, replayed; asserted is what they read and what the model is told.

Each file in `recorded_responses/` has the requests of one task as a client sent them, one after the other, and what the
scripted upstream says to each. A body has the members of the one before it, too, but for those in `without`.
`{response 0}` and `{item 0.2}` are ids of the answers before; `{marker}` and `{key}` are filled in.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests
from openai.types.responses import Response

from app.answers.tools import alias_of
from tests.e2e.harness import DEADLINE_S, KEY, Gateway, Upstream
from tests.e2e.responses_api import EVENTS, frames

FOLDER = Path(__file__).parent / "recorded_responses"


@dataclass(frozen=True, kw_only=True)
class Round:
    """One request, the kinds of items that answer it, and the parameters that are reported as ignored."""

    body: dict[str, Any]
    answer: list[str]
    ignored: list[str]
    without: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Recording:
    """One file. `asked` are the kinds of items that the model is asked with in the last round, in order."""

    client: str
    about: str
    path: str
    headers: dict[str, str]
    upstream: list[dict[str, Any]]
    rounds: list[Round]
    asked: list[str]


def load(path: Path) -> Recording:
    # A misspelt member would go unchecked in silence: both classes refuse what they do not know.
    data = json.loads(path.read_text())
    return Recording(**{**data, "rounds": [Round(**given) for given in data["rounds"]]})


RECORDINGS = {path.stem: load(path) for path in sorted(FOLDER.glob("*.json"))}


def play(upstream: Upstream, recording: Recording) -> str:
    """Script the upstream; a model calls a function by the name under which it was offered."""
    script = json.loads(json.dumps(recording.upstream))
    for response in script:
        for item in response["items"]:
            if item["type"] == "function_call":
                item["name"] = alias_of(item["name"])
    return upstream.play(script)


def filled(body: dict[str, Any], marker: str, answers: list[dict[str, Any]]) -> bytes:
    """The body with the ids of the answers that it goes on with."""

    def id_of(found: re.Match[str]) -> str:
        answer = answers[int(found[1])]
        item_id: str = answer["id"] if found[2] is None else answer["output"][int(found[2])]["id"]
        return item_id

    text = json.dumps(body, ensure_ascii=False).replace("{marker}", marker)
    return re.sub(r"\{(?:response|item) (\d+)(?:\.(\d+))?\}", id_of, text).encode()


def read(response: requests.Response, *, is_stream: bool) -> dict[str, Any]:
    """The response as the client has it in the end, held against OpenAI's own types."""
    assert response.status_code == 200, response.text
    if is_stream:
        events = [event for _, event in frames(response)]
        for event in events:
            EVENTS.validate_python(event)
        whole = events[-1]["response"]
    else:
        whole = response.json()
    Response.model_validate(whole)
    assert whole["status"] == "completed"
    return dict(whole)


@pytest.mark.parametrize("name", RECORDINGS)
def test_a_task_goes_on_to_its_end(gateway: Gateway, upstream: Upstream, name: str) -> None:
    recording = RECORDINGS[name]
    marker = play(upstream, recording)
    headers = {key: value.replace("{key}", KEY) for key, value in recording.headers.items()}
    answers: list[dict[str, Any]] = []
    body: dict[str, Any] = {}
    for turn in recording.rounds:
        body = {key: value for key, value in body.items() if key not in turn.without} | turn.body
        response = requests.post(
            gateway.url + recording.path,
            data=filled(body, marker, answers),
            headers=headers,
            timeout=DEADLINE_S,
        )
        answers.append(read(response, is_stream=bool(body.get("stream"))))
        assert [item["type"] for item in answers[-1]["output"]] == turn.answer
        assert answers[-1]["codex_metadata"]["ignored_parameters"] == turn.ignored
    *_, seen = upstream.control.requests(marker)
    asked = [item.get("role") or item["type"] for item in seen["body"]["input"]]
    assert asked == recording.asked
