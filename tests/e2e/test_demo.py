"""A newcomer's first answer: no login, no upstream, the built-in one serves through the real child."""

from __future__ import annotations

import json
from datetime import date
from enum import StrEnum
from typing import Any, Literal

import openai
import requests
from openai.types.chat import ChatCompletionToolParam
from pydantic import BaseModel, Field

from tests.e2e.harness import MODEL, Gateway, ask, wait_until
from tests.e2e.raw_http import stream_frames


def test_the_demo_answers_and_says_what_it_is(make_gateway: Any) -> None:
    gateway: Gateway = make_gateway(with_upstream=False)
    _, frames = stream_frames(gateway, ask("hello"))
    text = "".join(f["choices"][0]["delta"].get("content", "") for f in frames[:-1])
    assert ".venv/bin/flask --app wsgi codex login" in text
    assert frames[-2]["codex_metadata"]["upstream"] == "demo"
    owners = {model["owned_by"] for model in gateway.get("/v1/models").json()["data"]}
    assert owners == {"codex-demo"}
    (notice,) = gateway.events("demo_upstream_serves")
    assert "codex login" in notice["remedy"]
    (worker,) = gateway.workers()
    assert len(worker.children()) == 2
    family = worker.children(recursive=True)
    assert gateway.stop() == 0
    assert not any(process.is_running() for process in family)


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


class Party(BaseModel):
    """What codex hands on of a function's schema."""

    guests: list[str] = Field(min_length=2)
    colour: Colour
    kind: Literal["public", "private"]
    share: float | None
    before: Party | None


class Place(BaseModel):
    code: str = Field(pattern=r"^[A-Z]{3}-\d{2}$")
    floor: int = Field(ge=3, le=9)
    share: float = Field(gt=0, lt=1)


class Event(Party):
    """What the upstream enforces in an answer beside that."""

    day: date
    places: list[Place] = Field(min_length=2)


WEATHER: ChatCompletionToolParam = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "unit": {"enum": ["c", "f"]}},
            "required": ["city", "unit"],
        },
    },
}
PARTY = openai.pydantic_function_tool(Party)


def test_the_first_experiments_of_an_sdks_user_work(make_gateway: Any) -> None:
    gateway: Gateway = make_gateway(with_upstream=False)
    chat: Any = gateway.sdk().chat.completions
    asked: Any = {"model": MODEL, "messages": [{"role": "user", "content": "A party on Friday"}]}
    parsed = chat.parse(response_format=Event, **asked).choices[0].message.parsed
    assert parsed is not None
    assert len(parsed.places) == 2
    with chat.stream(response_format=Event, **asked) as stream:
        assert stream.get_final_completion().choices[0].message.parsed == parsed
    (call,) = chat.parse(tools=[PARTY], **asked).choices[0].message.tool_calls
    assert isinstance(call.function.parsed_arguments, Party)
    plain = chat.create(response_format={"type": "json_object"}, **asked).choices[0].message
    assert "demo upstream" in json.loads(plain.content)["answer"]


def test_a_loop_over_tools_ends_with_a_text_that_holds_their_results(make_gateway: Any) -> None:
    gateway: Gateway = make_gateway(with_upstream=False)
    chat: Any = gateway.sdk().chat.completions
    for prompt, choice in (
        ("How is the weather in Bern?", "auto"),
        ("The weather!", "required"),
        ("Hello!", {"type": "function", "function": {"name": "get_weather"}}),
    ):
        messages: list[Any] = [{"role": "user", "content": prompt}]
        wanted: Any = {"model": MODEL, "tools": [PARTY, WEATHER]}
        message = chat.create(messages=messages, tool_choice=choice, **wanted).choices[0].message
        (call,) = message.tool_calls
        assert call.function.name == "get_weather"
        assert json.loads(call.function.arguments) == {"city": "city", "unit": "c"}
        result = {"role": "tool", "tool_call_id": call.id, "content": "17 degrees"}
        answer = chat.create(messages=[*messages, message, result], **wanted).choices[0]
        assert answer.finish_reason == "stop"
        assert "17 degrees" in answer.message.content
        assert "demo upstream" in answer.message.content


def test_the_demo_comes_back_on_the_same_port(make_gateway: Any) -> None:
    gateway: Gateway = make_gateway(with_upstream=False)
    (worker,) = gateway.workers()

    def starts() -> list[Any]:
        return [e for e in gateway.events("child_ready") if e["child"] == "demo_upstream"]

    # The codex child may be ready first, and a demo that dies while it starts was never there.
    wait_until(starts, "the demo upstream is there")
    (demo,) = [process for process in worker.children() if process.name() != "codex"]
    demo.kill()
    wait_until(lambda: starts()[1:], "the demo upstream is back")
    assert gateway.post(ask("hello")).status_code == 200


def test_a_service_that_was_logged_in_never_falls_back_to_the_demo(
    make_gateway: Any, tmp_path: Any
) -> None:
    home = tmp_path / "home"
    (home / "gateway").mkdir(parents=True)
    (home / "gateway" / "login-seen").touch()
    gateway: Gateway = make_gateway(with_upstream=False, ready=False, CODEX_HOME=str(home))
    answer = gateway.post(ask("hello"))
    assert_needs_login(answer)
    wait_until(lambda: gateway.get("/readyz").json().get("reason") == "upstream_auth", "a reason")
    assert gateway.get("/healthz").json()["status"] == "degraded"


def test_there_is_no_demo_in_production(make_gateway: Any) -> None:
    gateway: Gateway = make_gateway(with_upstream=False, ready=False, PROXY_ENV="prod")
    assert_needs_login(gateway.post(ask("hello")))


def assert_needs_login(answer: requests.Response) -> None:
    assert answer.status_code == 503
    error = answer.json()["error"]
    assert error["code"] == "UPSTREAM_AUTH"
    assert error["retryable"] is False
    assert "codex login" in error["message"]
