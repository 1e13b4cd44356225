import copy
from typing import Any

import orjson
import pytest

from app.codex.catalog import STRIPPED, strip

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
