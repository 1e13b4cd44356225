from typing import Any

import pytest

from app.answers.model_names import Names, dangling, listed, resolve
from app.backend.request import Model
from app.errors import InvalidRequest, ModelNotFound, RequestPart

SOL = Model("gpt-6-sol", ("low", "high"), "low")
LUNA = Model("gpt-6-luna", (), "none")
# Its name is also that of another model and an effort, and a model of codex's may be called so.
MAX = Model("gpt-5.5-max", ("low", "max"), "max")
OLD = Model("gpt-5.5", ("low", "high", "max"), "low")
MODELS = (SOL, LUNA, MAX, OLD)

ALIASES = {
    "fast": "gpt-6-luna",
    "team/best": "gpt-6-sol-high",
    "codex-5": "gpt-6-sol",
    "gpt-6-luna": "gpt-6-sol",
    "gpt-5.5": "gpt-5.5-high",
    "nested": "codex-5",
    "dead": "gpt-4",
    "dull": "gpt-6-luna-high",
}
NAMES = Names(ALIASES)
NONE = Names()
FIELDS = {RequestPart.MODEL: "engine", RequestPart.EFFORT: "reasoning.effort"}


def refusal(names: Names, name: str | None, effort: str | None = None) -> Any:
    with pytest.raises(InvalidRequest) as raised:
        resolve(MODELS, names, FIELDS, name, effort)
    return raised.value


@pytest.mark.parametrize(
    ("names", "name", "model", "effort"),
    [
        # A model of codex's.
        (NONE, "gpt-6-sol", SOL, None),
        (NONE, "gpt-6-luna", LUNA, None),
        (NONE, "gpt-5.5", OLD, None),
        # With an effort.
        (NONE, "gpt-6-sol-high", SOL, "high"),
        (NONE, "gpt-5.5-low", OLD, "low"),
        (NONE, "gpt-5.5-max-low", MAX, "low"),
        (NONE, "gpt-5.5-max-max", MAX, "max"),
        # A model whose name looks like another's with an effort is that model.
        (NONE, "gpt-5.5-max", MAX, None),
        (Names({"gpt-5.5": "gpt-5.5-max"}), "gpt-5.5-max", MAX, None),
        # An alias.
        (NAMES, "codex-5", SOL, None),
        (NAMES, "team/best", SOL, "high"),
        (NAMES, "codex-5-high", SOL, "high"),
        (Names({"a-b": "gpt-5.5"}), "a-b-max", OLD, "max"),
        (Names({"fast-high": "gpt-6-sol-low", "fast": "gpt-6-sol"}), "fast-high", SOL, "low"),
        # An alias may hide a model. Its suffixes go with it, unless the alias sets an effort already.
        (NAMES, "gpt-6-luna", SOL, None),
        (NAMES, "gpt-6-luna-low", SOL, "low"),
        (NAMES, "gpt-5.5", OLD, "high"),
        (NAMES, "gpt-5.5-low", OLD, "low"),
        # The target of an alias is a model: it may hide that very model without a loop.
        (NAMES, "fast", LUNA, None),
    ],
)
def test_a_name_stands_for_a_model_and_an_effort(
    names: Names, name: str, model: Model, effort: str | None
) -> None:
    resolved = resolve(MODELS, names, FIELDS, name)
    assert (resolved.name, resolved.model, resolved.effort) == (name, model, effort)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "gpt",
        "GPT-6-SOL",
        "gpt-6-sol ",
        "models/gpt-6-sol",
        "gpt-6-sol-",
        "gpt-6-sol-max",
        "gpt-6-sol-HIGH",
        "gpt-6-sol-high-low",
        "gpt-6-luna-low",
        "-high",
        "high",
    ],
)
def test_a_name_that_is_no_model_s_is_not_found(name: str) -> None:
    error = refusal(NONE, name)
    assert isinstance(error, ModelNotFound)
    assert (error.status, error.code, error.param) == (404, "model_not_found", "engine")
    assert f"`{name}`" in error.message
    assert "GET /v1/models" in error.message


@pytest.mark.parametrize("name", ["nested", "dead", "dull"])
def test_an_alias_that_leads_nowhere_says_whom_to_tell(name: str) -> None:
    error = refusal(NAMES, name)
    assert (error.status, error.code, error.param) == (404, "model_not_found", "engine")
    assert f"`{name}` stands for `{ALIASES[name]}`" in error.message
    assert "PROXY_MODEL_ALIASES" in error.message


@pytest.mark.parametrize("name", ["team/best-low", "fast-low", "dead-low", "nested-low"])
def test_an_alias_takes_no_effort_that_it_cannot_have(name: str) -> None:
    assert refusal(NAMES, name).code == "model_not_found"


@pytest.mark.parametrize("names", [Names(), Names({"x" * 100_000: "y" * 100_000})])
def test_a_long_name_is_not_repeated_in_full(names: Names) -> None:
    assert len(refusal(names, "x" * 100_000).message) < 400


# The default


@pytest.mark.parametrize("absent", [None, ""])
@pytest.mark.parametrize(
    ("default", "given", "model", "effort"),
    [
        ("gpt-6-sol", None, SOL, None),
        ("gpt-6-sol", "high", SOL, "high"),
        ("gpt-6-sol-low", None, SOL, "low"),
        ("team/best", None, SOL, "high"),
        # Who names no model names no effort by it either.
        ("team/best", "low", SOL, "low"),
    ],
)
def test_the_default_stands_in_for_a_missing_name(
    default: str, given: str | None, model: Model, effort: str | None, absent: str | None
) -> None:
    resolved = resolve(MODELS, Names(ALIASES, default), FIELDS, absent, given)
    assert (resolved.name, resolved.model, resolved.effort) == (default, model, effort)


def test_the_default_is_no_way_out_for_a_wrong_name() -> None:
    assert refusal(Names({}, "gpt-6-sol"), "gpt-4").status == 404


def test_without_a_default_a_missing_model_is_a_missing_field() -> None:
    error = refusal(NAMES, None)
    assert (error.status, error.code, error.param) == (400, "missing_required_parameter", "engine")


def test_a_default_that_is_no_model_says_whom_to_tell() -> None:
    error = refusal(Names({}, "gpt-4"), None)
    assert (error.status, error.code, error.param) == (404, "model_not_found", "engine")
    assert "`gpt-4`" in error.message
    assert "PROXY_DEFAULT_MODEL" in error.message


def test_a_default_that_is_a_dead_alias_says_so() -> None:
    assert "PROXY_MODEL_ALIASES" in refusal(Names(ALIASES, "dead"), None).message


# The effort


@pytest.mark.parametrize(
    ("name", "given", "effort"),
    [
        ("gpt-6-sol", None, None),
        ("gpt-6-sol", "low", "low"),
        ("gpt-6-sol-high", "high", "high"),
        ("team/best", "high", "high"),
        ("codex-5", "low", "low"),
        ("fast", None, None),
    ],
)
def test_an_effort_that_the_model_knows_is_kept(
    name: str, given: str | None, effort: str | None
) -> None:
    assert resolve(MODELS, NAMES, FIELDS, name, given).effort == effort


@pytest.mark.parametrize(
    ("name", "effort"),
    [
        ("gpt-6-sol", "bogus"),
        ("gpt-6-sol", ""),
        ("gpt-6-sol", "LOW"),
        ("gpt-6-sol-high", "bogus"),
        ("codex-5", "max"),
        ("fast", "low"),
        ("codex-5", "xhigh"),
        ("codex-5", "None"),
    ],
)
def test_an_effort_that_the_model_does_not_know_is_refused(name: str, effort: str) -> None:
    error = refusal(NAMES, name, effort)
    assert (error.param, error.code) == ("reasoning.effort", "unsupported_value")


@pytest.mark.parametrize("asked", ["none", "minimal"])
@pytest.mark.parametrize(
    ("efforts", "lowest"),
    [
        (("low", "medium", "high"), "low"),
        (("high", "medium"), "medium"),
        (("max", "xhigh"), "xhigh"),
        (("ultra", "max"), "max"),
        (("none-of-ours", "other"), "none-of-ours"),
    ],
)
def test_an_effort_below_the_models_lowest_becomes_that_and_is_told(
    asked: str, efforts: tuple[str, ...], lowest: str
) -> None:
    model = Model("m", efforts, efforts[-1])
    found = resolve([model], NONE, FIELDS, "m", asked)
    assert (found.effort, found.adjusted) == (lowest, {"reasoning.effort": lowest})


@pytest.mark.parametrize(
    ("efforts", "asked", "effort", "adjusted"),
    [
        (("none", "low"), "none", "none", None),
        (("minimal", "low"), "minimal", "minimal", None),
        (("none", "minimal", "low"), "minimal", "minimal", None),
        (("minimal", "low"), "none", "minimal", "minimal"),
        (("none", "low"), "minimal", "none", "none"),
        ((), "none", None, "medium"),
        (("low",), "low", "low", None),
    ],
)
def test_what_a_model_has_is_kept(
    efforts: tuple[str, ...], asked: str, effort: str | None, adjusted: str | None
) -> None:
    found = resolve([Model("m", efforts, "medium")], NONE, FIELDS, "m", asked)
    assert found.effort == effort
    assert found.adjusted == ({} if adjusted is None else {"reasoning.effort": adjusted})


def test_a_model_without_efforts_that_does_none_is_not_adjusted() -> None:
    found = resolve(MODELS, NAMES, FIELDS, "fast", "none")
    assert (found.model, found.effort, found.adjusted) == (LUNA, None, {})


def test_an_adjusted_effort_may_be_the_one_that_the_name_means() -> None:
    assert resolve(MODELS, NAMES, FIELDS, "gpt-6-sol-low", "none").effort == "low"
    assert refusal(NAMES, "gpt-6-sol-high", "none").code == "invalid_value"


@pytest.mark.parametrize("name", ["gpt-6-sol-high", "team/best", "codex-5-high"])
def test_two_efforts_that_differ_are_a_contradiction(name: str) -> None:
    error = refusal(NAMES, name, "low")
    assert (error.status, error.code) == (400, "invalid_value")
    assert error.param == "reasoning.effort"
    assert f"`{name}`" in error.message
    assert "'high'" in error.message
    assert "'low'" in error.message


def test_the_refusal_of_an_effort_says_what_would_do() -> None:
    assert refusal(NONE, "gpt-6-sol", "x" * 1000).message == (
        f"Unsupported value: 'reasoning.effort' does not support '{'x' * 60}' with this model. "
        "Supported values are: 'low', 'high'."
    )


# The list


@pytest.mark.parametrize(
    ("names", "shown"),
    [
        (NONE, ("gpt-6-sol", "gpt-6-luna", "gpt-5.5-max", "gpt-5.5")),
        (
            NAMES,
            (*(model.id for model in MODELS), "fast", "team/best", "codex-5"),
        ),
        # Whatever is listed can be asked for.
        (Names({"gpt-5.5": "gpt-4"}), ("gpt-6-sol", "gpt-6-luna", "gpt-5.5-max")),
        (Names({}, "gpt-6-sol-high"), ("gpt-6-sol", "gpt-6-luna", "gpt-5.5-max", "gpt-5.5")),
    ],
)
def test_models_and_aliases_are_listed_once(names: Names, shown: tuple[str, ...]) -> None:
    assert listed(MODELS, names) == shown
    assert all(resolve(MODELS, names, FIELDS, name).name == name for name in shown)


@pytest.mark.parametrize(
    ("names", "wrong"),
    [
        (NONE, ()),
        (Names({"a": "gpt-5.5", "b": "gpt-6-sol-low"}, "a-low"), ()),
        (NAMES, ("nested=codex-5", "dead=gpt-4", "dull=gpt-6-luna-high")),
        (Names({}, "gpt-4"), ("gpt-4",)),
        (Names({"a": "gpt-4"}, "a"), ("a=gpt-4", "a")),
    ],
)
def test_names_that_lead_nowhere_are_found(names: Names, wrong: tuple[str, ...]) -> None:
    assert dangling(MODELS, names) == wrong
