import json
from typing import Any

import pytest

from app.answers.output_format import parse_format
from app.answers.tools import Tool, to_dynamic_tool
from scripted_upstream.rule_based_model import think
from scripted_upstream.script import FunctionCall, Message, Reasoning, Response, Usage

TEXT = {"type": "string"}
NUMBER = {"type": "integer"}
MUST = "You must call one of the functions in this turn; do not answer in words."


def tool(name: str, description: str = "", /, **members: Any) -> dict[str, Any]:
    parameters = {"type": "object", "properties": members, "required": list(members)}
    return {
        "type": "function",
        "name": name,
        "description": description,
        "parameters": parameters,
    }


WEATHER = tool("get_weather", "How warm and how wet it is somewhere.", location=TEXT)
ADD = tool("add", "Adds two integers, a and b.", a=NUMBER, b=NUMBER)
MAIL = tool("send", "Sends an email to a colleague with a subject.", to=TEXT)
NOW = tool("current_time")
TOOLS = [WEATHER, ADD, MAIL, NOW]


def says(role: str, text: str) -> dict[str, Any]:
    kind = "output_text" if role == "assistant" else "input_text"
    return {"type": "message", "role": role, "content": [{"type": kind, "text": text}]}


def result(name: str, output: Any) -> list[dict[str, Any]]:
    return [
        {"type": "function_call", "call_id": "c", "name": name, "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": output},
    ]


def thought(*entries: Any, **fields: Any) -> Any:
    (item,) = think(Response(), {"input": list(entries), **fields}).items
    return item


def said(*entries: Any, **fields: Any) -> str:
    item = thought(*entries, **fields)
    assert isinstance(item, Message)
    return "".join(item.deltas)


def called(*entries: Any, **fields: Any) -> tuple[str, Any]:
    item = thought(*entries, **fields)
    assert isinstance(item, FunctionCall)
    return item.name, json.loads(item.arguments)


# Tools


@pytest.mark.parametrize(
    ("prompt", "call"),
    [
        ("What is the weather in Bern?", ("get_weather", {"location": "Bern"})),
        (
            "weather for San Francisco, CA please",
            ("get_weather", {"location": "San Francisco, CA"}),
        ),
        ("How warm and wet is it somewhere, say 'home'?", ("get_weather", {"location": "home"})),
        ("Add 17 and 25.", ("add", {"a": 17, "b": 25})),
        ("Adding: b = 3, a = -4", ("add", {"a": -4, "b": 3})),
        ("Use a tool to sum the integers 1 and 2.", ("add", {"a": 1, "b": 2})),
        ("What does current_time() say?", ("current_time", {})),
        ("Send it by email to my colleague Eve, subject: lunch.", ("send", {"to": "Eve"})),
    ],
)
def test_it_calls_the_tool_that_the_prompt_asks_for(prompt: str, call: tuple[str, Any]) -> None:
    assert called(says("user", prompt), tools=TOOLS) == call


@pytest.mark.parametrize("prompt", ["Hello!", "Who are you?", "Tell me about the sea."])
def test_it_calls_nothing_that_nobody_asks_for(prompt: str) -> None:
    assert prompt in said(says("user", prompt), tools=TOOLS)


@pytest.mark.parametrize(
    ("order", "choice", "name"),
    [
        (MUST, "auto", "get_weather"),
        ("You must call the function add in this turn; do not answer in words.", "auto", "add"),
        ("You must call one of the functions now, and say nothing else.", "auto", "get_weather"),
        ("Be brief.", "required", "get_weather"),
        ("Be brief.", {"type": "function", "name": "add"}, "add"),
    ],
)
def test_it_calls_what_it_is_told_to(order: str, choice: Any, name: str) -> None:
    entries = [says("user", "The weather is nice."), says("developer", order)]
    assert called(*entries, tools=TOOLS, tool_choice=choice)[0] == name


def test_an_order_holds_for_its_own_place_only() -> None:
    entries = [says("developer", MUST), says("user", "Hello!")]
    assert "Hello!" in said(*entries, tools=TOOLS)


@pytest.mark.parametrize("choice", ["auto", "required"])
def test_who_must_call_in_every_round_gets_on(choice: str) -> None:
    entries = [says("user", "weather in Bern?"), *result("get_weather", "wet")]
    entries += [says("developer", MUST)] * (choice == "auto")
    offered = [WEATHER, tool("final_result", answer=TEXT)]
    assert called(*entries, tools=offered, tool_choice=choice)[0] == "final_result"
    assert called(*entries, tools=[WEATHER], tool_choice=choice)[0] == "get_weather"


def test_a_forbidden_tool_is_not_called() -> None:
    assert said(says("user", "weather in Bern"), tools=TOOLS, tool_choice="none")


def test_the_schema_that_codex_cannot_carry_is_read_from_the_description() -> None:
    schema = {"type": "object", "properties": {"n": {**NUMBER, "minimum": 7}}, "required": ["n"]}
    carried = to_dynamic_tool(Tool("f.g", "Rolls.", schema))
    offered = {**carried, "parameters": {"type": "object", "properties": {"n": NUMBER}}}
    entries = [says("user", "3 or 9"), says("developer", MUST)]
    assert called(*entries, tools=[offered]) == (carried["name"], {"n": 9})


@pytest.mark.parametrize("output", ["It's sunny.", [{"type": "input_text", "text": "It's sunny."}]])
def test_it_quotes_what_a_tool_answered(output: Any) -> None:
    entries = [says("user", "weather in Bern?"), *result("get_weather", output)]
    assert said(*entries, tools=TOOLS) == "get_weather answered: It's sunny."


def test_it_calls_again_for_a_new_prompt() -> None:
    entries = [says("user", "weather in Bern?"), *result("get_weather", "wet")]
    entries += [says("assistant", "It is wet."), says("user", "And the weather in Rome?")]
    assert called(*entries, tools=TOOLS) == ("get_weather", {"location": "Rome"})


# Forms

PERSON = {
    "type": "object",
    "properties": {"name": TEXT, "age": NUMBER},
    "required": ["name", "age"],
    "additionalProperties": False,
}


def test_a_strict_schema_is_filled() -> None:
    wanted = {"format": {"type": "json_schema", "name": "x", "strict": True, "schema": PERSON}}
    answer = said(says("user", "Alice is 30 years old."), text=wanted)
    assert json.loads(answer) == {"name": "Alice", "age": 30}


def test_a_tool_comes_before_the_form_and_its_result_into_it() -> None:
    wanted = {"format": {"type": "json_schema", "schema": PERSON}}
    entries = [says("user", "Use a tool: how old is Alice?")]
    fields: dict[str, Any] = {"tools": [tool("age_of", name=TEXT)], "text": wanted}
    assert called(*entries, **fields) == ("age_of", {"name": "Alice"})
    answer = said(*entries, *result("age_of", "30"), **fields)
    assert json.loads(answer) == {"name": "Alice", "age": 30}


OPEN_PERSON = {"type": "object", "properties": PERSON["properties"], "required": ["age"]}


@pytest.mark.parametrize(
    ("given", "prompt", "filled"),
    [
        (
            {"type": "json_schema", "json_schema": {"name": "p", "schema": OPEN_PERSON}},
            "Bob is 31 years old.",
            {"age": 31},
        ),
        (
            {"type": "json_object"},
            "A pun, as an object with 'setup' and 'end' keys: setup is 'knock', end is 'who'",
            {"setup": "knock", "end": "who"},
        ),
    ],
)
def test_the_gateways_instruction_for_a_form_is_obeyed(
    given: Any, prompt: str, filled: Any
) -> None:
    output = parse_format(given)
    assert output.instruction
    answer = said(says("user", prompt), says("developer", output.instruction))
    assert json.loads(answer) == filled
    assert output.problem(answer) is None


def test_json_is_not_given_where_it_is_only_talked_about() -> None:
    assert "JSON" in said(says("user", "What is JSON?"))


# Words


@pytest.mark.parametrize(
    ("entries", "answer"),
    [
        ([says("user", "Reply with exactly: pong")], "pong"),
        ([says("user", "Please say 'hi there', then stop.")], "hi there"),
        ([says("user", "Hello")], "This answers “Hello”."),
        ([says("user", "")], "There was nothing to read."),
        ([says("developer", "Be nice.")], "There was nothing to read."),
        (
            [says("user", "My name is Bob."), says("user", "What is my name?")],
            "The name is Bob.",
        ),
        (
            [says("user", "I'm Eve, hi!"), says("assistant", "Hi!"), says("user", "Who? My name?")],
            "The name is Eve.",
        ),
        (
            [
                says("user", "My cat is Tom."),
                says("user", "My cat is Kit."),
                says("user", "What is my cat?"),
            ],
            "The cat is Kit.",
        ),
        (
            [
                says("developer", "The code word is swordfish."),
                says("user", "What's the code word?"),
            ],
            "The code word is swordfish.",
        ),
        ([says("user", "Recall my shoe size!")], "This answers “Recall my shoe size!”."),
    ],
)
def test_it_answers_in_words(entries: list[Any], answer: str) -> None:
    assert said(*entries) == answer


def test_a_prompt_may_be_one_string() -> None:
    (item,) = think(Response(), {"input": "say yes"}).items
    assert item == Message(("yes",))


def test_it_says_how_many_pictures_it_saw() -> None:
    picture = {"type": "input_image", "image_url": "data:image/png;base64,AA"}
    words = {"type": "input_text", "text": "Look"}
    one, two = ({"role": "user", "content": [words, *[picture] * count]} for count in (1, 2))
    assert said(two).startswith("I see 2 pictures. ")
    assert said(two, one) == "I see 1 picture. This answers “Look”."
    assert said(two, says("user", "And?")) == "This answers “And?”."


def test_a_long_text_is_quoted_in_part() -> None:
    entries = [says("user", "weather?"), *result("get_weather", "wet " * 1000)]
    assert len(said(*entries)) < 500


# What the script keeps


def test_the_rest_of_the_script_stays() -> None:
    scripted = Response(brain=True, interval_ms=5, usage=Usage(7, 2), split_seed=1)
    response = think(scripted, {"input": "say a"})
    assert (response.interval_ms, response.usage, response.split_seed) == (5, Usage(7, 2), 1)


def test_what_an_earlier_request_held_counts_as_cached() -> None:
    entries = [says("user", "x" * 400), says("assistant", "ok"), says("user", "say a")]
    cached = think(Response(), {"input": entries}).usage.cached_tokens
    assert 100 < cached < 150
    assert think(Response(), {"input": entries[:1]}).usage.cached_tokens == 0


@pytest.mark.parametrize(
    ("fields", "thoughts"),
    [
        ({}, []),
        ({"reasoning": {"summary": "none"}}, []),
        ({"reasoning": {"summary": "auto"}}, [None]),
        (
            {"reasoning": {"summary": "auto"}, "include": ["reasoning.encrypted_content"]},
            ["sealed-thought"],
        ),
    ],
)
def test_it_thinks_aloud_only_if_asked(fields: Any, thoughts: list[Any]) -> None:
    items = think(Response(), {"input": "hi", **fields}).items
    seen = [item for item in items if isinstance(item, Reasoning)]
    assert [item.encrypted_content for item in seen] == thoughts
    assert all(item.summary_deltas for item in seen)
