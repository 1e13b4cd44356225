from typing import Any

import pytest

from scripted_upstream.tool_choice import chosen_tools


def tool(name: str, description: str = "") -> dict[str, Any]:
    return {"type": "function", "name": name, "description": description}


WEATHER = tool("get_weather", "How warm it is in a city. Never asks about oranges.")
ADD = tool("add", "The sum of two integers")
TIME = tool("currentTime")
TOKYO = tool("tenki", "指定した都市の天気を取得します。")
SIZE = tool("groesse", "Größe eines Hauses")
ALL = [WEATHER, ADD, TIME, TOKYO, SIZE]


def chosen(tools: Any, prompt: str, choice: Any = "auto", **more: Any) -> list[str]:
    given = {"orders": "", "has_results": False, **more}
    return [found["name"] for found in chosen_tools(tools, choice, prompt=prompt, **given)]


@pytest.mark.parametrize(
    ("prompt", "names"),
    [
        # a whole name
        ("call ADD, please", ["add"]),
        ("get_weather, then add", ["get_weather", "add"]),
        ("what is my address?", []),
        # a word of a name, also of several
        ("Weather?", ["get_weather"]),
        ("what time is it", ["currentTime"]),
        ("the times of the weather get better", ["get_weather"]),
        # a word of a description, of its first sentence alone
        ("Which cities are warm?", ["get_weather"]),
        ("the integers of 3", ["add"]),
        ("oranges", []),
        # other languages
        ("東京の天気は?", ["tenki"]),
        ("Die Größe, bitte!", ["groesse"]),
        ("你好", []),
        ("", []),
        ("Tell me what this is.", []),
    ],
)
def test_the_prompt_decides_where_nothing_is_demanded(prompt: str, names: list[str]) -> None:
    assert chosen(ALL, prompt) == names
    assert chosen(ALL, prompt, has_results=True) == []
    assert chosen(ALL, prompt, "none") == []
    assert chosen(ALL, prompt, "required") == (names or ["get_weather"])


def test_the_only_tool_is_called_once_whatever_the_prompt_is() -> None:
    assert chosen([WEATHER], "Bonjour") == ["get_weather"]
    assert chosen([WEATHER], "Bonjour", has_results=True) == []


@pytest.mark.parametrize("has_results", [False, True])
def test_an_order_wins(*, has_results: bool) -> None:
    by_name = {"type": "function", "name": "add"}
    for order in ({"choice": by_name}, {"orders": "You must call the function add in this turn"}):
        assert chosen(ALL, "the weather", has_results=has_results, **order) == ["add"]
    assert chosen(ALL, "Hi", "required", has_results=has_results) == ["get_weather"]


@pytest.mark.parametrize("tools", [[], [WEATHER]])
def test_a_tool_that_was_not_offered_is_not_called(tools: Any) -> None:
    assert chosen(tools, "add", {"type": "function", "name": "add"}) == []
