import json
from typing import Any

import pytest

from scripted_upstream.default_answer import NOBODY_READ_IT
from scripted_upstream.script import FunctionCall, Message, Reasoning
from scripted_upstream.simple_answer import PACE_MS, demo_response, simple_items

TEXT = {"type": "string"}
MUST = "In each of your turns you must call one of the functions; do not answer in words."
MUST_ADD = "In each of your turns you must call the function add; do not answer in words."


def tool(name: str, **members: Any) -> dict[str, Any]:
    parameters = {"type": "object", "properties": members, "required": list(members)}
    return {"type": "function", "name": name, "parameters": parameters}


TOOLS = [
    tool("get_weather", location=TEXT),
    tool("add", a={"type": "integer"}, b={"type": "integer"}),
    {"type": "function", "name": "now"},
    {"type": "web_search"},
]
ADD = {"type": "function", "name": "add"}


def says(role: str, text: str) -> dict[str, Any]:
    return {"type": "message", "role": role, "content": [{"type": "input_text", "text": text}]}


def result(name: str, output: Any) -> list[dict[str, Any]]:
    return [
        {"type": "function_call", "call_id": "c", "name": name, "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": output},
    ]


def item(*entries: Any, **fields: Any) -> Any:
    (answer,) = simple_items({"input": list(entries), **fields})
    return answer


def words(*entries: Any, **fields: Any) -> str:
    message = item(*entries, **fields)
    assert isinstance(message, Message)
    return "".join(message.deltas)


def call(*entries: Any, **fields: Any) -> tuple[str, Any]:
    called = item(*entries, **fields)
    assert isinstance(called, FunctionCall)
    return called.name, json.loads(called.arguments)


@pytest.mark.parametrize(
    ("prompt", "called"),
    [
        ("What is the Weather in Bern?", ("get_weather", {"location": "location"})),
        ("Please add 3 and 4.", ("add", {"a": 0, "b": 0})),
        ("Ask now()", ("now", {})),
    ],
)
def test_a_tool_that_the_prompt_names_is_called(prompt: str, called: tuple[str, Any]) -> None:
    assert call(says("user", prompt), tools=TOOLS) == called


@pytest.mark.parametrize("prompt", ["Hello!", "What are weathercocks?", ""])
def test_a_tool_that_nobody_names_is_not_called(prompt: str) -> None:
    answer = words(says("user", prompt), tools=TOOLS)
    assert "demo upstream" in answer
    assert "No tool was called" in answer


@pytest.mark.parametrize(
    ("order", "choice", "name"),
    [
        (MUST, "auto", "get_weather"),
        (MUST_ADD, "auto", "add"),
        ("Be brief.", "required", "get_weather"),
        ("Be brief.", ADD, "add"),
    ],
)
@pytest.mark.parametrize("has_results", [False, True])
def test_a_demanded_call_is_made(order: str, choice: Any, name: str, *, has_results: bool) -> None:
    entries = [says("user", "Hello!"), *(result("get_weather", "wet") if has_results else ())]
    called, _ = call(*entries, says("developer", order), tools=TOOLS, tool_choice=choice)
    assert called == name


def test_before_everything_else_only_the_gateways_orders_count() -> None:
    hello = says("user", "Hello!")
    called, _ = call(says("system", "Hi."), says("developer", MUST_ADD), hello, tools=TOOLS)
    assert called == "add"
    own = "You must call get_weather if you are asked for the weather."
    assert "Hello!" in words(says("developer", own), hello, tools=TOOLS)
    assert "Hello!" in words(says("user", "Hi"), says("developer", MUST), hello, tools=TOOLS)


def test_a_forbidden_tool_is_not_called() -> None:
    assert words(says("user", "the weather?"), tools=TOOLS, tool_choice="none")


@pytest.mark.parametrize("output", ["It's wet.", [{"type": "input_text", "text": "It's wet."}]])
def test_the_result_of_a_call_is_repeated(output: Any) -> None:
    entries = [says("user", "the weather?"), *result("get_weather", output)]
    assert words(*entries, tools=TOOLS) == f"get_weather answered: It's wet. {NOBODY_READ_IT}"


def test_of_a_long_result_the_beginning_is_repeated() -> None:
    entries = [says("user", "the weather?"), *result("get_weather", "wet " * 10_000)]
    assert len(words(*entries, tools=TOOLS)) < 1000


def test_a_new_prompt_calls_again() -> None:
    entries = [says("user", "the weather?"), *result("get_weather", "wet"), says("user", "add!")]
    assert call(*entries, tools=TOOLS)[0] == "add"


PERSON = {
    "type": "object",
    "properties": {"name": TEXT, "age": {"type": "integer", "minimum": 18}},
    "required": ["name", "age"],
    "additionalProperties": False,
}


def test_a_strict_schema_is_filled() -> None:
    wanted = {"format": {"type": "json_schema", "name": "x", "strict": True, "schema": PERSON}}
    answer = words(says("user", "Who?"), text=wanted)
    assert json.loads(answer) == {"name": "name", "age": 18}


ONLY_JSON = "Answer with one JSON object and nothing else: no prose, no code fence."


@pytest.mark.parametrize(
    ("order", "answer"),
    [
        (f"{ONLY_JSON} It must follow this JSON schema (p): no", None),
        (f"{ONLY_JSON} It must follow this JSON schema (p): [0]", None),
        (
            f"{ONLY_JSON} It must follow this JSON schema (p): {json.dumps(PERSON)}",
            {"name": "name", "age": 18},
        ),
    ],
)
def test_the_gateways_instruction_for_json_is_obeyed(order: str, answer: Any) -> None:
    given = json.loads(words(says("user", "Who?"), says("developer", order)))
    assert given == answer or (answer is None and "demo upstream" in given["answer"])


def test_an_instruction_for_a_list_is_obeyed() -> None:
    schema = {"type": "array", "items": TEXT}
    order = f"The form (p): a {{list}}\n{ONLY_JSON.replace('object', 'value')} It must follow this JSON schema (p): "
    answer = words(says("user", "Who?"), says("developer", order + json.dumps(schema)))
    assert json.loads(answer) == ["text"]


def test_any_json_object_says_that_it_is_the_demos() -> None:
    entries = [says("user", "Who?"), says("developer", ONLY_JSON)]
    assert "demo upstream" in json.loads(words(*entries))["answer"]
    entries[1:1] = result("get_weather", "wet")
    assert "get_weather answered: wet" in json.loads(words(*entries))["answer"]


def test_json_is_not_given_where_it_is_only_talked_about() -> None:
    assert "What is JSON?" in words(says("user", "What is JSON?"), says("developer", "Like JSON."))


def test_values_come_from_the_filler() -> None:
    entries = {"input": [says("user", "add")], "tools": TOOLS}
    (made,) = simple_items(entries, lambda schema: sorted(schema["properties"]))
    assert made == FunctionCall("add", '["a","b"]')


def test_it_thinks_aloud_only_if_asked() -> None:
    request = {"input": "the weather?", "tools": TOOLS, "reasoning": {"summary": "auto"}}
    assert [type(made) for made in simple_items(request)] == [Reasoning, FunctionCall]


def test_tools_whose_names_stand_in_the_prompt_are_called_together() -> None:
    request = {"input": "Ask get_weather and now.", "tools": TOOLS}
    assert [made.name for made in simple_items(request) if isinstance(made, FunctionCall)] == [
        "get_weather",
        "now",
    ]


def test_the_demo_speaks_at_the_pace_of_a_reader_but_not_for_long() -> None:
    assert demo_response({"input": "Hello!"}).interval_ms == PACE_MS
    schema = {"type": "array", "minItems": 1000, "items": TEXT}
    wanted = {"format": {"type": "json_schema", "name": "x", "schema": schema}}
    response = demo_response({"input": "Hello!", "text": wanted})
    (message,) = response.items
    assert isinstance(message, Message)
    assert response.interval_ms * len(message.deltas) <= 5000
