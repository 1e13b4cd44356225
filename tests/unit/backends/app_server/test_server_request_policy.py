import orjson
import pytest

from app.backends.app_server.server_request_policy import (
    ANSWERS,
    TOOL_CALL,
    Answer,
    Refusal,
    answer_to,
)
from app.rpc.messages import METHOD_NOT_FOUND

GRANTING = ("accept", "approve", "allow", "acceptForSession", "approved")


@pytest.mark.parametrize("method", ANSWERS)
def test_every_known_request_has_its_answer(method: str) -> None:
    assert answer_to(method) is ANSWERS[method]


@pytest.mark.parametrize("method", ["", "item/brandNew/requestApproval", "ITEM/TOOL/CALL"])
def test_an_unknown_request_is_refused_and_not_ignored(method: str) -> None:
    said = answer_to(method)
    assert isinstance(said, Refusal)
    assert said.code == METHOD_NOT_FOUND == -32601


@pytest.mark.parametrize("said", ANSWERS.values(), ids=ANSWERS.keys())
def test_no_answer_grants_anything(said: Answer | Refusal) -> None:
    if isinstance(said, Refusal):
        assert said.code == METHOD_NOT_FOUND
        return
    text = orjson.dumps(dict(said.result)).decode()
    assert not any(f'"{word}"' in text for word in GRANTING)
    assert said.result.get("permissions", {}) == {}
    assert said.result.get("success", False) is False


@pytest.mark.parametrize(
    "method", ["account/chatgptAuthTokens/refresh", "attestation/generate", "currentTime/read"]
)
def test_what_has_no_way_to_say_no_is_refused_as_an_error(method: str) -> None:
    assert isinstance(answer_to(method), Refusal)


def test_a_tool_of_nobody_s_fails_and_says_so() -> None:
    said = answer_to(TOOL_CALL)
    assert isinstance(said, Answer)
    assert said.result["success"] is False
    assert said.result["contentItems"] == [
        {"type": "inputText", "text": "This gateway runs no tools."}
    ]


def test_the_answers_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        ANSWERS["x"] = Answer({})  # type: ignore[index]
