import json
import shlex

import pytest

from scripts.invitation import invitation

KEY = "sk-local-1"


@pytest.mark.parametrize("address", ["http://127.0.0.1:1", "http://[::1]:1"])
@pytest.mark.parametrize("model", ["gpt-5.5", "it's a model"])
def test_what_is_printed_can_be_pasted_into_a_shell(address: str, model: str) -> None:
    begin, _, command = invitation(address, KEY, model).partition("\n\ncurl ")
    assert begin.strip().startswith(f"The gateway serves on {address} ")
    words = [word for word in shlex.split(command) if word != "\n"]
    assert f"{address}/v1/chat/completions" in words
    assert f"Authorization: Bearer {KEY}" in words
    assert json.loads(words[-1])["model"] == model


def test_an_address_with_brackets_is_quoted() -> None:
    assert "'http://[::1]:1/v1" in invitation("http://[::1]:1", KEY, "m")


def test_in_maintenance_nothing_is_offered_that_would_be_refused() -> None:
    said = invitation("http://h:1", KEY, "")
    assert "maintenance" in said
    assert "curl" not in said
