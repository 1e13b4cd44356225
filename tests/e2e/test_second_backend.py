"""A second backend takes one folder, and the one line that chooses it: chat completions do not notice."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.e2e.harness import Gateway, start_gateway
from tests.fakes import table_backend

MAX_LINES = 120
TOOLS: list[Any] = [{"type": "function", "function": {"name": "f", "parameters": {}}}]


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("table")
    running = start_gateway(folder, None, app="tests.fakes.table_backend.wsgi:app")
    running.wait_ready()
    yield running
    assert running.stop() == 0
    assert [e for e in running.log() if e["level"] in {"error", "critical"}] == []


@pytest.fixture
def sdk(gateway: Gateway) -> Iterator[openai.OpenAI]:
    with gateway.sdk() as client:
        yield client


def asked(text: str) -> list[Any]:
    return [{"role": "user", "content": text}]


def test_it_is_small() -> None:
    source = Path(str(table_backend.__file__)).read_text()
    assert len(source.splitlines()) <= MAX_LINES
    assert "backends" not in source


def test_its_models_are_listed(sdk: openai.OpenAI) -> None:
    (model,) = sdk.models.list().data
    assert (model.id, model.owned_by) == ("table-1", "codex-table")


def test_it_answers_whole_several_times_at_once(sdk: openai.OpenAI) -> None:
    answer = sdk.chat.completions.create(model="table-1-high", messages=asked("hello"), n=3)
    assert [choice.message.content for choice in answer.choices] == ["hello"] * 3
    assert [choice.finish_reason for choice in answer.choices] == ["stop"] * 3
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (7, 9)


def test_it_streams(sdk: openai.OpenAI) -> None:
    options: Any = {"include_usage": True}
    stream = sdk.chat.completions.create(
        model="table-1", messages=asked("hello"), stream=True, stream_options=options
    )
    chunks = list(stream)
    texts = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices]
    assert texts == ["", "hel", "lo", None]
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.total_tokens == 10


@pytest.mark.parametrize("stream", [False, True])
def test_it_calls_tools(sdk: openai.OpenAI, *, stream: bool) -> None:
    answer: Any = sdk.chat.completions.create(
        model="table-1", messages=asked("call"), tools=TOOLS, stream=stream
    )
    if stream:
        calls = [call for c in answer for call in c.choices[0].delta.tool_calls or ()]
        assert [(call.id, call.function.arguments) for call in calls] == [
            ("c1", ""),
            (None, '{"a":1}'),
        ]
    else:
        (call,) = answer.choices[0].message.tool_calls
        assert (call.id, call.function.name, call.function.arguments) == ("c1", "f", '{"a":1}')
        assert answer.choices[0].finish_reason == "tool_calls"


def test_its_failures_are_in_the_endpoint_s_words(gateway: Gateway, sdk: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as raised:
        sdk.chat.completions.create(model="table-1", messages=asked("too long"))
    assert (raised.value.code, raised.value.param) == ("context_length_exceeded", "messages")
    with pytest.raises(openai.InternalServerError) as unavailable:
        sdk.chat.completions.create(model="table-1", messages=asked("nothing of the kind"))
    assert (unavailable.value.status_code, unavailable.value.code) == (503, "WORKER_UNAVAILABLE")
    with pytest.raises(openai.APIError, match="refused this request"):
        list(sdk.chat.completions.create(model="table-1", messages=asked("break"), stream=True))
    assert gateway.get("/healthz").json()["child"]["running"] == 0


def test_completions_work_too(sdk: openai.OpenAI) -> None:
    answer = sdk.completions.create(model="table-1", prompt=["hello", "hello"], n=2)
    assert [choice.text for choice in answer.choices] == ["hello"] * 4
    assert answer.usage is not None
    assert answer.usage.prompt_tokens == 14
