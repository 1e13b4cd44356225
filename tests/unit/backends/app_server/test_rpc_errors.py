import pytest

from app.answers.plan import RequestWords
from app.backends.app_server.rpc_errors import to_gateway_error
from app.errors import InvalidRequest, RequestPart
from app.rpc.errors import CallRefused

WORDS = RequestWords(
    {RequestPart.TOOLS: "tools"},
    "",
    tools={"mcp": ("mcp", "tools[0].function.name"), "fn_a_b_1": ("a.b", "tools[3].function.name")},
)


@pytest.mark.parametrize(
    ("sentence", "param", "message"),
    [
        (
            "dynamic tool name is reserved: mcp",
            "tools[0].function.name",
            "The tool 'mcp' was refused by codex: dynamic tool name is reserved: mcp.",
        ),
        (
            "dynamic tool input schema is not supported for fn_a_b_1: invalid type: null, expected a map",
            "tools[3].function.name",
            (
                "The tool 'a.b' was refused by codex: dynamic tool input schema is not supported for a.b: "
                "invalid type: null, expected a map."
            ),
        ),
        ("dynamic tool name is reserved: unknown", "tools", "A tool was refused by codex."),
        ("dynamic tools are off", "tools", "A tool was refused by codex."),
    ],
)
def test_a_refused_tool_is_named_in_the_endpoints_words(
    sentence: str, param: str, message: str
) -> None:
    error = to_gateway_error(CallRefused("thread/start", -32600, sentence))
    WORDS.put_into(error)
    assert isinstance(error, InvalidRequest)
    assert (error.status, error.param, error.message) == (400, param, message)


def test_what_codex_says_of_a_tool_is_bounded() -> None:
    sentence = "dynamic tool input schema is not supported for mcp: " + "x" * 10_000
    error = to_gateway_error(CallRefused("thread/start", -32600, sentence))
    WORDS.put_into(error)
    assert len(error.message) < 300
