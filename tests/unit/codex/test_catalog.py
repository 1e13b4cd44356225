import copy
from typing import Any

import orjson
import pytest

from app.codex.catalog import STRIPPED, Offer, offering, strip

SPOKEN_FOR: dict[str, Any] = {
    "apply_patch_tool_type": "freeform",
    "tool_mode": "code_mode_only",
    "multi_agent_version": "v2",
    "multi_agent_reasoning_effort": "high",
    "use_responses_lite": True,
    "experimental_supported_tools": ["read_file"],
    "supports_search_tool": True,
    "base_instructions": "You are Codex.",
    "model_messages": {"instructions_template": "You are Codex."},
    "include_skills_usage_instructions": True,
    "include_plugin_usage_instructions": True,
    "include_apps_usage_instructions": True,
    "context_window": 272_000,
    "max_context_window": 400_000,
    "auto_compact_token_limit": 200_000,
    "truncation_policy": {"mode": "tokens", "limit": 10_000},
    "default_verbosity": "low",
    "supports_image_detail_original": False,
}


def test_the_table_has_every_member_that_is_rewritten() -> None:
    assert set(SPOKEN_FOR) == set(STRIPPED)


@pytest.mark.parametrize(("name", "value"), SPOKEN_FOR.items())
def test_a_member_that_speaks_for_the_caller_is_taken_out(name: str, value: Any) -> None:
    assert strip({"models": [{"slug": "m", name: value}]}) == {
        "models": [{"slug": "m", name: STRIPPED[name]}]
    }
    assert STRIPPED[name] != value


def test_no_window_is_ever_full_and_no_output_is_ever_cut() -> None:
    unbounded = 2**40
    assert STRIPPED["context_window"] == STRIPPED["max_context_window"] == unbounded
    assert STRIPPED["truncation_policy"] == {"mode": "bytes", "limit": unbounded}
    assert STRIPPED["auto_compact_token_limit"] is None


def test_everything_else_is_kept_in_its_order() -> None:
    model = {"slug": "m", "priority": 1, "base_instructions": "x", "supported_in_api": True}
    stripped = strip({"models": [model, {"slug": "n"}], "etag": "e"})
    assert stripped == {"models": [{**model, "base_instructions": ""}, {"slug": "n"}]}
    assert list(stripped["models"][0]) == list(model)


def test_a_member_that_an_entry_does_not_have_is_not_added() -> None:
    assert strip({"models": [{"slug": "m"}]}) == {"models": [{"slug": "m"}]}


def test_the_given_catalog_is_left_alone() -> None:
    catalog = {"models": [{"slug": "m", **SPOKEN_FOR}]}
    before = copy.deepcopy(catalog)
    strip(catalog)
    assert catalog == before


def test_stripping_twice_changes_nothing_more() -> None:
    once = strip({"models": [{"slug": "m", **SPOKEN_FOR}]})
    assert strip(once) == once
    assert orjson.dumps(strip(once)) == orjson.dumps(once)


@pytest.mark.parametrize("catalog", [{}, {"models": []}, {"models": None}, {"models": {"m": {}}}])
def test_a_catalog_without_models_is_refused(catalog: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="without models"):
        strip(catalog)


@pytest.mark.parametrize("catalog", [[], "text", None, {"models": ["m"]}])
def test_a_catalog_of_another_shape_is_refused(catalog: Any) -> None:
    with pytest.raises(ValueError, match="catalog"):
        strip(catalog)


# What is offered

OWN = [
    {"slug": "m", "visibility": "list", "priority": 3, "default_reasoning_level": "low", "x": 1},
    {"slug": "hidden", "visibility": "hide", "priority": 4, "default_reasoning_level": "high"},
]


def offered(*names: str, has_own: bool = False) -> list[dict[str, Any]]:
    models: list[dict[str, Any]] = offering({"models": OWN}, Offer(names, has_own))["models"]
    return models


def test_without_names_the_catalog_is_codexs_own() -> None:
    assert offering({"models": OWN}, Offer()) == {"models": OWN}
    assert offering({"models": [{}]}, Offer(("a",))) == {"models": [{}]}  # nothing to build it from


def test_a_model_that_codex_does_not_know_has_no_effort_of_its_own() -> None:
    (entry,) = offered("a/b:c")
    assert (entry["slug"], entry["display_name"], entry["x"]) == ("a/b:c", "a/b:c", 1)
    assert entry["default_reasoning_level"] is None
    efforts = [level["effort"] for level in entry["supported_reasoning_levels"]]
    assert efforts == ["low", "medium", "high"]
    assert entry["input_modalities"] == ["text", "image"]


def test_a_named_model_that_codex_knows_keeps_what_it_knows() -> None:
    first, second = offered("hidden", "m")
    assert (first["slug"], first["default_reasoning_level"]) == ("hidden", "high")
    assert first["visibility"] == second["visibility"] == "list"
    assert first["priority"] < second["priority"]


def test_codexs_own_come_before_the_named_ones_and_once() -> None:
    assert [entry["slug"] for entry in offered("a", "m", has_own=True)] == ["hidden", "a", "m"]
