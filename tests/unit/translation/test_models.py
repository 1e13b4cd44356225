import pytest

from app.codex.methods import Model
from app.errors import InvalidRequest, ModelNotFound
from app.translation.models import check_effort, find_model

SOL = Model("gpt-6-sol", ("low", "high"), "low")
LUNA = Model("gpt-6-luna", (), "none")


@pytest.mark.parametrize(("name", "model"), [("gpt-6-sol", SOL), ("gpt-6-luna", LUNA)])
def test_a_model_is_found_by_its_name(name: str, model: Model) -> None:
    assert find_model([SOL, LUNA], name) is model


@pytest.mark.parametrize("name", ["", "gpt", "GPT-6-SOL", "gpt-6-sol ", "models/gpt-6-sol"])
def test_a_name_that_is_no_model_s_is_not_found(name: str) -> None:
    with pytest.raises(ModelNotFound) as raised:
        find_model([SOL, LUNA], name)
    assert (raised.value.status, raised.value.code) == (404, "model_not_found")
    assert raised.value.param == "model"
    assert f"`{name}`" in raised.value.message


def test_a_long_name_is_not_repeated_in_full() -> None:
    with pytest.raises(ModelNotFound) as raised:
        find_model(iter([SOL]), "x" * 100_000)
    assert len(raised.value.message) < 300


@pytest.mark.parametrize(
    ("model", "effort"), [(SOL, None), (SOL, "low"), (SOL, "high"), (LUNA, None)]
)
def test_an_effort_that_the_model_knows_is_kept(model: Model, effort: str | None) -> None:
    assert check_effort(model, effort) == effort


@pytest.mark.parametrize(
    ("model", "effort"), [(SOL, "bogus"), (SOL, ""), (SOL, "LOW"), (LUNA, "low"), (LUNA, "none")]
)
def test_an_effort_that_the_model_does_not_know_is_refused(model: Model, effort: str) -> None:
    with pytest.raises(InvalidRequest) as raised:
        check_effort(model, effort)
    assert (raised.value.param, raised.value.code) == ("reasoning_effort", "unsupported_value")


def test_the_refusal_of_an_effort_says_what_would_do() -> None:
    with pytest.raises(InvalidRequest) as raised:
        check_effort(SOL, "x" * 1000)
    assert raised.value.message == (
        f"Unsupported value: 'reasoning_effort' does not support '{'x' * 60}' with this model. "
        "Supported values are: 'low', 'high'."
    )
