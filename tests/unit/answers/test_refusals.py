"""Refusals as the upstreams word them: whose fault it is, which field, and that nobody is told to try again."""

from __future__ import annotations

import re

import orjson
import pytest

from app import errors
from app.answers.plan import RequestWords
from app.answers.turn_errors import to_error
from app.api.chat_completions import routes as chat
from app.api.completions import routes as completions
from app.backend.events import TurnFailure
from app.errors import GatewayError


def refusal(status: int, body: object) -> TurnFailure:
    """Return a failure as codex hands it on: of a 400 the body alone, of OpenAI's form elsewhere only the sentence."""
    text = body if isinstance(body, str) else orjson.dumps(body).decode()
    if status == 400:
        return TurnFailure(text)
    if isinstance(body, dict) and isinstance(body.get("error"), dict):
        text = body["error"]["message"]
    sentence = f"unexpected status {status} Any: {text[:1000]}, url: http://secret.example/v1, request id: req_1"
    return TurnFailure(sentence, "httpConnectionFailed", status)


NEWER = "The 'gpt-7' model requires a newer version of Codex. Please upgrade and try again."
NOT_FOR_CHATGPT = "The 'gpt-x' model is not supported when using Codex with a ChatGPT account."
CLOSED = "Invalid workspace selected."

# status, body, what it becomes: class, status, param of chat completions, what its message has
REFUSALS: list[tuple[int, object, type[GatewayError], int, str | None, str]] = [
    (400, {"detail": NOT_FOR_CHATGPT}, errors.InvalidRequest, 400, "model", NOT_FOR_CHATGPT),
    (400, {"detail": NEWER}, errors.CodexOutdated, 400, "model", "openai-codex-cli-bin"),
    (404, {"detail": NEWER}, errors.CodexOutdated, 400, "model", NEWER),
    (400, {"detail": "Bad Request"}, errors.InvalidRequest, 400, "messages", "images"),
    (400, "", errors.InvalidRequest, 400, "messages", "images"),
    (
        400,
        {"detail": "Unsupported service_tier: flex"},
        errors.InvalidRequest,
        400,
        "service_tier",
        "Unsupported service_tier: flex.",
    ),
    (400, {"detail": {"code": "x", "message": "So."}}, errors.InvalidRequest, 400, None, "So."),
    (
        422,
        {"detail": [{"loc": ["body", "input", 0], "msg": "Field required", "type": "missing"}]},
        errors.InvalidRequest,
        400,
        None,
        "body.input.0: Field required.",
    ),
    (400, {"message": "Plain member."}, errors.InvalidRequest, 400, None, "Plain member."),
    (400, {"error": "Text only."}, errors.InvalidRequest, 400, None, "Text only."),
    (400, "Plain words", errors.InvalidRequest, 400, None, "Plain words."),
    (
        402,
        {"detail": {"code": "deactivated_workspace"}},
        errors.UpstreamAuth,
        503,
        None,
        "deactivated_workspace",
    ),
    (402, {"error": {"message": "Pay."}}, errors.UpstreamAuth, 503, None, "Pay."),
    (
        403,
        {"detail": {"code": "invalid_workspace_selected", "message": CLOSED}},
        errors.UpstreamAuth,
        503,
        None,
        CLOSED,
    ),
    (403, {"error": {"message": CLOSED}}, errors.UpstreamAuth, 503, None, CLOSED),
    (
        403,
        {"detail": "This workspace is disabled."},
        errors.UpstreamAuth,
        503,
        None,
        "This workspace is disabled.",
    ),
    (
        403,
        {"detail": "Your workspace does not have this feature."},
        errors.UpstreamForbidden,
        403,
        None,
        "does not have this feature.",
    ),
    (403, "<html>blocked</html>", errors.UpstreamForbidden, 403, None, "does not allow"),
    (404, {"detail": "Not Found"}, errors.ModelNotFound, 404, "model", "Not Found."),
    (413, {"detail": "Too large"}, errors.InvalidRequest, 400, "messages", "Too large."),
    (413, "<h1>413</h1>", errors.InvalidRequest, 400, "messages", "too large"),
    (405, {"detail": "Method Not Allowed"}, errors.InvalidRequest, 400, None, "Not Allowed."),
    (409, {"detail": "Conflict"}, errors.InvalidRequest, 400, None, "Conflict."),
    (
        400,
        {
            "error": {
                "message": "The encrypted content gAAA could not be verified.",
                "code": "invalid_encrypted_content",
            }
        },
        errors.ReasoningRefused,
        400,
        None,
        "could not be verified.",
    ),
    (
        400,
        {"error": {"message": "No.", "code": "invalid_encrypted_content", "param": "input[2]"}},
        errors.ReasoningRefused,
        400,
        None,
        "No.",
    ),
    (
        400,
        {"detail": "Encrypted content could not be decrypted or parsed."},
        errors.ReasoningRefused,
        400,
        None,
        "decrypted",
    ),
]


@pytest.mark.parametrize(("status", "body", "kind", "becomes", "param", "has"), REFUSALS)
def test_a_refusal_has_its_status_its_field_and_its_words(
    status: int, body: object, kind: type[GatewayError], becomes: int, param: str | None, has: str
) -> None:
    error = to_error(refusal(status, body))
    chat.WORDS.put_into(error)
    assert type(error) is kind
    assert (error.status, error.param, error.retryable) == (becomes, param, False)
    assert has in error.message
    assert error.message.endswith(".")
    for leak in ("secret.example", "req_1", "<h", "request id"):
        assert leak not in error.message


@pytest.mark.parametrize(
    ("param", "sentence", "chat_field", "completions_field"),
    [
        ("input", "Bad.", "messages", "prompt"),
        ("input[3]", "Bad.", "messages", "prompt"),
        ("input[3].content[0].text", "Bad.", "messages", "prompt"),
        ("inputs", "Bad.", None, None),
        ("tools[0].parameters", "Bad.", "tools", None),
        ("text.format", "Bad.", "response_format", None),
        ("text.format.schema", "Bad.", "response_format", None),
        ("text.verbosity", "Bad.", "verbosity", None),
        ("reasoning.effort", "Bad.", "reasoning_effort", None),
        ("model", "Bad.", "model", "model"),
        ("service_tier", "Bad.", "service_tier", None),
        ("store", "Bad.", None, None),
        (None, "Bad.", None, None),
        # where there is no param, the sentence names it
        (None, "Invalid 'input[3].content[0].text': too long.", "messages", "prompt"),
        (
            None,
            "Unsupported parameter: 'reasoning.effort' is not for it.",
            "reasoning_effort",
            None,
        ),
        (None, "Unsupported value: 'x' is not one of them.", None, None),
        (None, "Invalid schema for function 'model'.", None, None),
    ],
)
def test_a_field_of_the_upstream_is_the_caller_s_own_or_none(
    param: str | None, sentence: str, chat_field: str | None, completions_field: str | None
) -> None:
    body = {"error": {"message": sentence, "param": param, "code": "some_code"}}
    for words, field in ((chat.WORDS, chat_field), (completions.WORDS, completions_field)):
        error = to_error(refusal(400, body))
        words.put_into(error)
        assert (error.param, error.code, error.message) == (field, "some_code", sentence)


# What clients look for in an error before they compact a conversation, as their sources have it

CLIENTS: dict[str, str] = {
    "LiteLLM, and with it aider, DSPy and OpenHands": r"input tokens exceed the configured limit",
    "OpenHands": r"please reduce the length of",
    "LangChain": r"Input tokens exceed the configured limit",
    "pi, opencode": r"reduce the length of the messages|exceeds the context window",
    "Cline, Roo Code": r"input tokens exceed|context\s*(?:length|window)",
    "Letta": r"exceeds the context window|Input tokens exceed the configured limit",
}

OVERFLOWS: list[tuple[TurnFailure, str]] = [
    (TurnFailure("Codex ran out of room.", "contextWindowExceeded"), "limit: your input exceeds"),
    (
        refusal(400, {"error": {"message": "Too long.", "code": "context_length_exceeded"}}),
        "limit: your input exceeds",
    ),
    (
        refusal(
            400,
            {
                "error": {
                    "message": "Input tokens exceed the configured limit of 272000 tokens. Your messages resulted in "
                    "305127 tokens. Please reduce the length of the messages.",
                    "code": "context_length_exceeded",
                    "param": "messages",
                }
            },
        ),
        "limit of 272000 tokens. Your messages resulted in 305127 tokens.",
    ),
    (
        refusal(
            400,
            {
                "error": {
                    "message": "This model's maximum context length is 16384 tokens. However, you requested 20000 "
                    "tokens (19000 in the messages, 1000 in the completion).",
                    "code": 400,
                }
            },
        ),
        "limit of 16384 tokens. Your messages resulted in 20000 tokens.",
    ),
    (
        refusal(
            400,
            {"detail": "Maximum context length is 400,000 tokens, but you sent 1,500,123 tokens."},
        ),
        "limit of 400000 tokens. Your messages resulted in 1500123 tokens.",
    ),
    (refusal(400, {"detail": "Input is too long for requested model."}), "limit: your input"),
    (refusal(400, {"detail": "The context window was exceeded by 9 tokens."}), "limit: your input"),
    (
        refusal(400, {"detail": "This request exceeds the available context size."}),
        "limit: your input",
    ),
    (
        refusal(413, {"detail": "Your input exceeds the context window of this model."}),
        "limit: your input exceeds",
    ),
]


@pytest.mark.parametrize(("failure", "has"), OVERFLOWS)
def test_a_conversation_that_is_too_long_is_told_in_the_words_that_clients_know(
    failure: TurnFailure, has: str
) -> None:
    error = to_error(failure)
    chat.WORDS.put_into(error)
    assert (error.status, error.code, error.param) == (400, "context_length_exceeded", "messages")
    assert has in error.message
    for client, pattern in CLIENTS.items():
        flags = re.IGNORECASE if client != "LangChain" else 0
        assert re.search(pattern, error.message, flags), client
    assert not re.search(r"rate[\s_-]*limit|\b429\b", error.message), "LiteLLM looks for it first"


def test_each_endpoint_names_its_own_field_and_advice() -> None:
    words = RequestWords(
        {errors.RequestPart.PROMPT: "text"}, "Please reduce the length of the text."
    )
    for own, field in ((words, "text"), (completions.WORDS, "prompt"), (chat.WORDS, "messages")):
        error = to_error(OVERFLOWS[0][0])
        own.put_into(error)
        assert error.param == field
        assert error.message.endswith("Please reduce the length of the " + field + ".")
