"""Tools that are too much for codex, whatever way they come in."""

from __future__ import annotations

from typing import Any

import pytest

from app.api.responses.request import parse_body, to_request
from app.errors import InvalidRequest

Body = dict[str, Any]

HI = {"role": "user", "content": "hi"}


def functions(count: int, prefix: str = "f", **members: Any) -> list[Body]:
    return [{"type": "function", "name": f"{prefix}{n}", **members} for n in range(count)]


def space(*inner: Body, name: Any = "n") -> Body:
    return {"type": "namespace", "name": name, "tools": [*inner]}


def among(*tools: Body) -> Body:
    return {"type": "additional_tools", "tools": [*tools]}


def custom(definition: str) -> Body:
    form = {"type": "grammar", "syntax": "lark", "definition": definition}
    return {"type": "custom", "name": "c", "format": form}


def read(body: Body) -> Any:
    return to_request(parse_body({"model": "m", "input": [HI], **body}))


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"tools": functions(129)}, "array_above_max_length"),
        ({"tools": [space(*functions(129))]}, "array_above_max_length"),
        (
            {"input": [HI, *(among(*functions(1, f"f{n}_")) for n in range(129))]},
            "array_above_max_length",
        ),
        (
            {"tools": functions(100), "input": [HI, among(*functions(29, "g"))]},
            "array_above_max_length",
        ),
        ({"tools": [custom("x" * (3 << 20))]}, "TOOLS_TOO_LARGE"),
        (
            {
                "tools": functions(3, description="x" * (1 << 19)),
                "input": [HI, among(*functions(3, "g", description="x" * (1 << 19)))],
            },
            "TOOLS_TOO_LARGE",
        ),
        ({"tools": [space(*functions(2), name="n" * 65)]}, "invalid_value"),
        ({"tools": [space(*functions(2), name="a b")]}, "invalid_value"),
    ],
    ids=["list", "space", "items", "both", "grammar", "texts", "long name", "odd name"],
)
def test_what_is_too_much_together_is_refused(body: Body, code: str) -> None:
    with pytest.raises(InvalidRequest) as raised:
        read(body)
    assert raised.value.code == code
    assert raised.value.param is not None
    assert raised.value.param.startswith("tools")


def test_a_tool_that_comes_again_counts_once() -> None:
    again = [among(*functions(20)) for _ in range(20)]
    assert len(read({"input": [HI, *again]}).tools.tools) == 20
