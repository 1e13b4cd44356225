"""LangChain's own integration tests of a chat model, over ChatOpenAI, the gateway and the real child; over both APIs.

The model is the scripted upstream with the answers of `upstream.py`.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any, Literal

import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from langchain_tests.integration_tests import ChatModelIntegrationTests
from picture import red_square
from pydantic import BaseModel

Detail = Literal[
    "audio_input", "audio_output", "reasoning_output", "cache_read_input", "cache_creation_input"
]

NO_FILES = "Files are refused with 400: codex takes text and images."
NO_SOUND = "Audio is refused with 400: codex takes text and images."
NOTHING_ASKED = "A benchmark of the client over recorded answers; nothing is asked."
RESPONSES: Mapping[str, Any] = {"use_responses_api": True}


def options(service: dict[str, str]) -> dict[str, Any]:
    # ChatOpenAI asks for no usage in a stream of any other server than OpenAI's, if not told to.
    return {**service, "model": "gpt-5.5", "stream_usage": True, "max_retries": 0, "timeout": 30}


class TestChatOpenAI(ChatModelIntegrationTests):
    """The suite, over chat completions."""

    service: dict[str, str]

    HIGH: Mapping[str, Any] = {"reasoning_effort": "high"}
    EXCLUDED: Mapping[str, str] = {
        "test_pdf_inputs": NO_FILES,
        "test_pdf_tool_message": "The same, and a tool message holds text only, as with OpenAI.",
        "test_audio_inputs": NO_SOUND,
        "test_image_tool_message": "A tool message holds text only, as with OpenAI's endpoint.",
        "test_stream_time": NOTHING_ASKED,
    }

    @property
    def chat_model_class(self) -> type[ChatOpenAI]:
        return ChatOpenAI

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return options(self.service)

    @property
    def model_override_value(self) -> str:
        return "gpt-5.6-sol"

    @property
    def supports_json_mode(self) -> bool:
        return True

    @property
    def supports_image_inputs(self) -> bool:
        return True

    @property
    def supports_image_urls(self) -> bool:
        return (
            False  # The test names an address in the internet, where the gateway would go itself.
        )

    @property
    def supports_anthropic_inputs(self) -> bool:
        return True

    @property
    def supported_usage_metadata_details(self) -> dict[Literal["invoke", "stream"], list[Detail]]:
        details: list[Detail] = ["reasoning_output", "cache_read_input"]
        return {"invoke": details, "stream": details}

    def invoke_with_reasoning_output(self, *, stream: bool = False) -> AIMessage:
        model = ChatOpenAI(**self.chat_model_params, **self.HIGH, streaming=stream)
        message = model.invoke("Think about it.")
        assert message.usage_metadata["output_token_details"]["reasoning"] > 0
        return message

    def invoke_with_cache_read_input(self, *, stream: bool = False) -> AIMessage:
        model = ChatOpenAI(**self.chat_model_params, streaming=stream)
        message = model.invoke(
            [HumanMessage("long " * 99), AIMessage("Yes."), HumanMessage("And?")]
        )
        assert message.usage_metadata["input_token_details"]["cache_read"] > 0
        return message


class TestChatOpenAIResponses(TestChatOpenAI):
    """The suite, over the Responses API."""

    HIGH = {"reasoning": {"effort": "high", "summary": "auto"}}  # noqa: RUF012
    EXCLUDED = {  # noqa: RUF012
        "test_pdf_inputs": NO_FILES,
        "test_pdf_tool_message": NO_FILES,
        "test_audio_inputs": NO_SOUND,
        "test_stream_time": NOTHING_ASKED,
    }

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {**super().chat_model_params, **RESPONSES}

    @property
    def supports_image_tool_message(self) -> bool:
        return True


@tool
def count_letters(word: str) -> int:
    """Count the letters of a word."""
    return len(word)


class Person(BaseModel):
    """A person."""

    name: str
    age: int


class TestWhatTheSuiteTakesOnTrust:
    """LangChain's tests ask for an answer; these ask for the right one."""

    service: dict[str, str]

    @pytest.fixture(params=["chat", "responses"])
    def params(self, request: pytest.FixtureRequest) -> dict[str, Any]:
        return {**options(self.service), **(RESPONSES if request.param == "responses" else {})}

    def test_an_agent_hears_what_its_tool_said(self, params: dict[str, Any]) -> None:
        model = ChatOpenAI(**params).bind_tools([count_letters])
        messages = [HumanMessage("How many letters has the word 'gateway'? Count them.")]
        messages.append(model.invoke(messages))
        (call,) = messages[-1].tool_calls
        assert call["args"] == {"word": "gateway"}
        messages.append(count_letters.invoke(call))
        assert isinstance(messages[-1], ToolMessage)
        assert model.invoke(messages).text.startswith("count_letters answered: 7")

    def test_a_form_is_filled_from_the_prompt(self, params: dict[str, Any]) -> None:
        model = ChatOpenAI(**params)
        for method in ("json_schema", "function_calling"):
            form = model.with_structured_output(Person, method=method)
            assert form.invoke("Alice is 30 years old.") == Person(name="Alice", age=30)
            assert list(form.stream("Bob is 31 years old."))[-1] == Person(name="Bob", age=31)

    def test_a_picture_arrives(self, params: dict[str, Any]) -> None:
        picture = {
            "type": "image",
            "base64": base64.b64encode(red_square()).decode(),
            "mime_type": "image/png",
        }
        message = HumanMessage([{"type": "text", "text": "What is it?"}, picture])
        assert "I see 1 picture." in ChatOpenAI(**params).invoke([message]).text

    def test_what_was_said_is_remembered(self, params: dict[str, Any]) -> None:
        messages = [
            HumanMessage("My name is Ada."),
            AIMessage("Hello!"),
            HumanMessage("What is my name?"),
        ]
        chunks = ChatOpenAI(**params).stream(messages)
        assert "".join(chunk.text for chunk in chunks) == "The name is Ada."

    def test_a_conversation_is_continued_by_its_response(self) -> None:
        model = ChatOpenAI(**options(self.service), use_previous_response_id=True)
        messages = [HumanMessage("My name is Ada.")]
        messages.append(model.invoke(messages))
        messages.append(HumanMessage("What is my name?"))
        assert "Ada" in model.invoke(messages).text
