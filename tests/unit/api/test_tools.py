from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.answers.tools import BUILT_IN, MAX_TOOLS, Tool, names_by_alias, to_dynamic_tool
from app.api.tools import parse_tools
from app.errors import InvalidRequest
from tests.fakes.values import each

REQUIRED = "missing_required_parameter"
TYPE = "invalid_type"
VALUE = "invalid_value"
SCHEMA = "invalid_function_parameters"

NAMES = st.from_regex("[a-zA-Z0-9_.:-]{1,64}", fullmatch=True) | st.sampled_from(sorted(BUILT_IN))


def tool(name: Any = "f", **function: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, **function}}


def test_a_function_is_read_out_of_its_wrapper() -> None:
    function = {"name": "f", "description": "d", "parameters": {"properties": {"a": {}}}}
    schema = {"type": "object", "properties": {"a": {}}}
    assert parse_tools([{"type": "function", "function": function}]).offered == (
        Tool("f", "d", schema),
    )


def test_tools_keep_their_order() -> None:
    names = [f"f{i}" for i in range(MAX_TOOLS)]
    assert [t.name for t in parse_tools([tool(name) for name in names]).offered] == names
    assert parse_tools([]).offered == ()


PARAMETERS = "tools[0].function.parameters"
REFUSED: list[tuple[Any, str, str]] = [
    *((given, "tools", TYPE) for given in each({}, "f", 5, True, None)),
    ([tool(f"f{i}") for i in range(MAX_TOOLS + 1)], "tools", "array_above_max_length"),
    *(([tool("a"), entry], "tools[1]", TYPE) for entry in each(None, "f", 5, [])),
    ([{}], "tools[0].type", REQUIRED),
    ([{"type": None, "function": {"name": "f"}}], "tools[0].type", REQUIRED),
    *(
        ([{"type": kind, "function": {"name": "f"}}], "tools[0].type", VALUE)
        for kind in each("namespace", "web_search", "Function", "", 5, ["function"], {})
    ),
    ([{"type": "function"}], "tools[0].function", REQUIRED),
    ([{"type": "function", "function": None}], "tools[0].function", REQUIRED),
    *(
        ([{"type": "function", "function": function}], "tools[0].function", TYPE)
        for function in each("f", 5, [], True)
    ),
    ([{"type": "function", "function": {}}], "tools[0].function.name", REQUIRED),
    ([tool(None)], "tools[0].function.name", REQUIRED),
    *(([tool(name)], "tools[0].function.name", TYPE) for name in each(5, True, [], {})),
    *(
        ([tool(name)], "tools[0].function.name", VALUE)
        for name in ("", " ", "a b", "a/b", "é", "a\n", "x" * 65, "٣", "a\0")
    ),
    *(
        ([tool(description=description)], "tools[0].function.description", TYPE)
        for description in each(5, [], {}, True)
    ),
    *(
        ([tool(parameters=parameters)], "tools[0].function.parameters", TYPE)
        for parameters in each("{}", 5, [], True)
    ),
    *(
        ([tool(parameters={"type": kind})], "tools[0].function.parameters", SCHEMA)
        for kind in each("string", "array", 5, ["object"], "x" * 1000)
    ),
    *(
        ([tool(parameters={"properties": {"a": schema}})], f"{PARAMETERS}.properties.a{at}", SCHEMA)
        for schema, at in (
            *((entry, "") for entry in each(None, 5, "string", [])),
            ({"items": [{"type": "string"}]}, ".items"),
            ({"items": {"properties": {"b": 5}}}, ".items.properties.b"),
            ({"additionalProperties": "no"}, ".additionalProperties"),
            ({"additionalProperties": {"items": 5}}, ".additionalProperties.items"),
            ({"anyOf": {"type": "null"}}, ".anyOf"),
            ({"oneOf": [True, {"enum": "a"}]}, ".oneOf[1].enum"),
            ({"allOf": [5]}, ".allOf[0]"),
            *(({"required": given}, ".required") for given in each(True, "a", [5])),
            ({"description": 5}, ".description"),
            ({"$ref": 5}, ".$ref"),
            *(({"minItems": given}, ".minItems") for given in each(-1, 1.5, True, "1")),
            ({"$defs": {"b": 5}}, ".$defs.b"),
            ({"properties": []}, ".properties"),
        )
    ),
    ([tool("a"), tool("b"), tool("a")], "tools[2].function.name", VALUE),
]


@pytest.mark.parametrize(("given_tools", "param", "code"), REFUSED)
def test_a_refusal_names_the_field(given_tools: Any, param: str, code: str) -> None:
    with pytest.raises(InvalidRequest) as raised:
        parse_tools(given_tools, has_namespaces=False)
    assert (raised.value.param, raised.value.code) == (param, code)
    assert param in raised.value.message or code == VALUE
    assert len(raised.value.message) < 300


@given(st.lists(NAMES, unique=True, max_size=10))
def test_tools_with_names_of_their_own_are_all_offered(names: list[str]) -> None:
    offered = [
        to_dynamic_tool(t)["name"] for t in parse_tools([tool(name) for name in names]).offered
    ]
    by_alias = names_by_alias(names)
    assert [by_alias[alias] for alias in offered] == names
