"""The documents against the code, both ways: what exists is described, and what is described exists."""

from __future__ import annotations

import ast
import inspect
import json
import re
import tomllib
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from flask import Flask
from prometheus_client.metrics import MetricWrapperBase

from app import create_app, errors
from app.api import BLUEPRINTS
from app.backend.observer import TurnState
from app.errors import GatewayError
from app.observability import labels
from app.observability.gauges import Gauges
from app.observability.logs import GunicornFilter
from app.observability.metrics import Metrics
from app.process.lifecycle import TRANSITIONS
from app.settings import ROOT, VARIABLES, load_settings

DOCS = ROOT / "docs"
PAGES = [*sorted(ROOT.glob("*.md")), *sorted(DOCS.rglob("*.md"))]
NONE = "\N{EN DASH}"
LOG_METHODS = {"debug", "info", "warning", "error", "exception", "critical", "log"}


def page(name: str) -> str:
    return (DOCS / name).read_text()


def cells(text: str) -> Iterator[list[str]]:
    """Every table row: its cells without backticks."""
    for line in text.splitlines():
        if line.startswith("| "):
            # An escaped bar is part of its cell.
            row = re.split(r"(?<!\\)\|", line.strip()[1:-1])
            yield [cell.strip().replace("`", "") for cell in row]


def calls() -> Iterator[ast.Call]:
    """Every call in the modules that serve: what gunicorn.conf.py, create_app and ForwardAuth lead to."""
    found: set[Path] = set()
    roots = ("app/__init__.py", "gunicorn.conf.py", "forward_auth/keys.py")
    to_read = [ROOT / name for name in roots]
    while to_read:
        path = to_read.pop()
        if path in found or not path.is_file():
            continue
        found.add(path)
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                yield node
                if isinstance(node.func, ast.Name) and node.func.id == "_load":
                    (name,) = node.args  # how gunicorn.conf.py imports
                    if isinstance(name, ast.Constant):
                        place = ROOT.joinpath(*str(name.value).split("."))
                        to_read.append(place.with_suffix(".py"))
            elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("app"):
                place = ROOT.joinpath(*str(node.module).split("."))
                places = [place, *(place / alias.name for alias in node.names)]
                to_read += [p.with_suffix(".py") for p in places]
                to_read += [p / "__init__.py" for p in places]


# Settings

DEFAULTS = {variable.metadata["name"]: variable.metadata["default"] for variable in VARIABLES}


def test_every_setting_is_in_the_configuration_table_with_its_default() -> None:
    table = page("configuration.md").split("## Where a value comes from")[0]
    rows = {row[0]: row[1] for row in cells(table) if row[0].isupper()}
    assert rows == {name: default or NONE for name, default in DEFAULTS.items()}


def test_every_setting_is_in_the_example_file_with_its_default_and_its_sentence() -> None:
    lines = (ROOT / ".env.example").read_text().splitlines()
    given = {}
    for sentence, line in pairwise(lines):
        if match := re.fullmatch(r"#?([A-Z_]+)=(.*)", line):
            given[match[1]] = (match[2], sentence.removeprefix("# "))
    wanted = {v.metadata["name"]: (v.metadata["default"], v.metadata["meaning"]) for v in VARIABLES}
    assert {name: value[0] for name, value in given.items()} == DEFAULTS
    # make run creates the first line of a real .env, and the example says so.
    del given["PROXY_API_KEY"], wanted["PROXY_API_KEY"]
    assert given == wanted


# Routes


@pytest.fixture
def app(tmp_path: Path) -> Flask:
    return create_app(
        load_settings(
            {
                "PROXY_API_KEY": "x" * 32,
                "CODEX_HOME": str(tmp_path),
                "CODEX_UPSTREAM_URL": "http://127.0.0.1:9/v1",
            }
        )
    )


def test_every_route_has_a_heading(app: Flask) -> None:
    automatic = {"HEAD", "OPTIONS"}
    routes = {
        f"{method} {rule.rule}"
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - automatic
    }
    assert set(re.findall(r"^## `([A-Z]+ /\S*)`$", page("api.md"), re.MULTILINE)) == routes


def test_every_endpoint_is_in_the_readme_the_changelog_the_contract_and_a_test(app: Flask) -> None:
    told = {name: (ROOT / name).read_text() for name in ("README.md", "CHANGELOG.md")}
    tests = "".join(path.read_text() for path in (ROOT / "tests/e2e").glob("test_*.py"))
    for rule in app.url_map.iter_rules():
        path = rule.rule.split("<")[0].rstrip("/")
        assert path in tests, f"no test in tests/e2e speaks of {path}"
        for name, text in told.items():
            assert path in text or not path.startswith("/v1/"), f"{name} does not name {path}"
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    (listed,) = [
        contract["modules"]
        for contract in contracts["contracts"]
        if contract["name"] == "Endpoints do not know each other"
    ]
    served = {blueprint.import_name.removesuffix(".routes") for blueprint, _ in BLUEPRINTS}
    assert set(listed) == served


def test_the_endpoint_that_is_shown_is_the_one_that_is_tested() -> None:
    modules = [path.read_text() for path in (ROOT / "tests/fakes/summaries").glob("*.py")]
    blocks = re.findall(
        r"^```python\n(.*?)^```$", page("adding-an-endpoint.md"), re.DOTALL | re.MULTILINE
    )
    shown = [block for block in blocks if not block.startswith("BLUEPRINTS")]
    assert len(shown) == 4
    for block in shown:
        assert any(block in module for module in modules), block


def test_the_health_of_the_api_page_has_the_members_of_the_real_one(app: Flask) -> None:
    section = page("api.md").split("With a key, `/readyz` and `/healthz` also have:")[1]
    shown = json.loads(section.split("```json\n")[1].split("```")[0])
    with app.test_client() as client:
        key = {"Authorization": f"Bearer {'x' * 32}"}
        real = {path: client.get(path, headers=key).json or {} for path in ("/healthz", "/readyz")}
    assert set(real["/healthz"]) == set(shown) | {"status", "reason"}
    assert set(real["/readyz"]) == set(shown) | {"status", "reason"}
    for name in ("child", "maintenance", "reload", "versions"):
        assert set(shown[name]) == set(real["/healthz"][name]), name
    table = section.split("\n## ")[0]
    explained = {name.split(".")[-1] for row in cells(table) for name in re.split(r"[, ]+", row[0])}
    assert set(shown["child"]) | set(shown["reload"]) | {"account_limits"} <= explained


# Errors


def error_classes() -> dict[str, type[GatewayError]]:
    return {
        name: found
        for name, found in inspect.getmembers(errors, inspect.isclass)
        if issubclass(found, GatewayError) and found is not GatewayError
    }


def test_every_error_has_a_row_that_is_right() -> None:
    known = error_classes()
    tree = page("errors.md").split("## The tree")[1].split("## Finer codes")[0]
    rows = {row[0]: row[1:6] for row in cells(tree) if re.fullmatch(r"[A-Z]\w+[a-z]\w*", row[0])}
    rows.pop("Class")
    assert set(rows) == set(known)
    for name, (status, kind, code, retryable, retry_after) in rows.items():
        error = known[name]
        assert (status, kind) == (str(error.status), error.type), name
        assert code.split(",")[0] == error.default_code, name
        assert retryable == ("yes" if error.retryable else "no"), name
        assert retry_after == str(error.default_retry_after_s or NONE), name


def test_every_finer_code_has_a_row() -> None:
    used = {"INVALID_HTTP", "HEAD_TIMEOUT"}  # app/runtime/worker.py answers below the application
    for call in calls():
        used |= {
            keyword.value.value
            for keyword in call.keywords
            if keyword.arg == "code"
            and isinstance(keyword.value, ast.Constant)
            and isinstance(keyword.value.value, str)
        }
    finer = page("errors.md").split("## Finer codes")[1]
    assert used <= {row[0] for row in cells(finer)}


# Logging


def log_events() -> set[str]:
    found = {event for _, event in GunicornFilter._QUOTING}
    for call in calls():
        function = call.func
        if not (isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name)):
            continue
        if function.value.id == "log" and function.attr in LOG_METHODS:
            name = call.args[1] if function.attr == "log" else call.args[0]
            assert isinstance(name, ast.Constant), f"no static event name: {ast.unparse(call)}"
            found.add(str(name.value))
    return found


def test_every_log_event_has_a_row() -> None:
    table = page("logging.md").split("## Every event")[1]
    rows = [row[0] for row in cells(table) if row[0] != "Event"]
    assert len(rows) == len(set(rows))
    assert set(rows) == log_events()


def alternatives(pattern: str) -> list[str]:
    """Every text that a pattern of the runbook means: `child_(replaced|exited)` means two."""
    found = re.fullmatch(r"(.*?)\((.*)\)(.*)", pattern)
    if not found:
        return [pattern]
    before, inner, after = found.groups()
    return [before + part + after for part in inner.split("|")]


def test_every_event_and_code_that_a_page_searches_the_log_for_exists() -> None:
    events = log_events()
    for path in PAGES:
        text = path.read_text()
        for pattern in re.findall(r"""grep -?\S* ?'"event": "([\w(|)]+)"?'""", text):
            for name in alternatives(pattern):
                is_beginning = name.endswith("_")
                known = any(e.startswith(name) for e in events) if is_beginning else name in events
                assert known, f"{path.name}: {name}"
        for pattern in re.findall(r"""grep -?\S* ?'"error_code": "([\w(|)]+)"'""", text):
            assert set(alternatives(pattern)) <= labels.CODES, path.name


# Metrics


def metrics() -> dict[str, tuple[str, str]]:
    """Every metric: its type and its labels, as the registry has them."""
    everything = Metrics()
    Gauges(everything, lambda: pytest.fail("nothing is read"))
    found: dict[str, tuple[str, str]] = {}
    for collector in everything.registry._collector_to_names:
        assert isinstance(collector, MetricWrapperBase)
        assert collector._type is not None
        suffix = "_total" if collector._type == "counter" else ""
        names = ", ".join(collector._labelnames) or NONE
        found[collector._name + suffix] = (collector._type, names)
    return found


def test_every_metric_has_a_row_with_its_type_and_labels() -> None:
    table = page("metrics.md").split("## Every metric")[1].split("## Every label")[0]
    rows = [row for row in cells(table) if row[0].startswith("codex_")]
    assert len(rows) == len({row[0] for row in rows})
    assert {row[0]: (row[1], row[2]) for row in rows} == metrics()


def test_every_metric_that_a_page_names_exists() -> None:
    known = {name + suffix for name in metrics() for suffix in ("", "_bucket", "_sum", "_count")}
    families = tuple({"_".join(name.split("_")[:2]) + "_" for name in known})
    for path in PAGES:
        named = re.findall(r"(?<![\w\"'])codex_\w+(?=[`\[{ )])", path.read_text())
        assert {name for name in named if name.startswith(families)} <= known, path.name


def test_every_label_is_explained() -> None:
    used = {name for _, names in metrics().values() for name in names.split(", ")} - {NONE}
    table = page("metrics.md").split("## Every label")[1]
    assert {row[0].split(" of ")[0] for row in cells(table)} - {"Label"} == used


def test_the_codes_that_may_be_a_label_are_the_documented_ones() -> None:
    text = page("errors.md").split("## The tree")[1]
    known = {error.default_code for error in error_classes().values()}
    section = text.split("## Finer codes")[1].split("\n## ")[0]
    finer = {row[0] for row in cells(section)} - {"Code"}
    # What is no whole HTTP is answered below the application, and counted nowhere as a request.
    assert known | (finer - {"INVALID_HTTP", "HEAD_TIMEOUT"}) == labels.CODES


# Pictures


def picture(heading: str) -> str:
    section = page("architecture.md").split(f"### {heading}\n")[1]
    return section.split("```mermaid\n")[1].split("```")[0]


def test_the_picture_of_the_process_is_its_table() -> None:
    edges = re.findall(r"(\w+) --> (\w+): (\w+)", picture("The process"))
    assert len(edges) == len(set(edges))
    assert set(edges) == {
        (state.name, target.name, signal.value) for (state, signal), target in TRANSITIONS.items()
    }


def test_the_picture_of_the_turn_has_its_states() -> None:
    edges = re.findall(r"(\w+) --> (\w+): ", picture("The turn"))
    assert {state for edge in edges for state in edge} == {state.name for state in TurnState}


# Links, lengths, lists


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_relative_link_leads_somewhere(path: Path) -> None:
    prose = re.sub(r"^```.*?^```", "", path.read_text(), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", prose):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        led_to = (path.parent / file).resolve() if file else path
        assert led_to.exists(), target
        if anchor:
            assert anchor in anchors(led_to), target


def anchors(path: Path) -> set[str]:
    """Headings as GitHub makes anchors of them."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in headings}


def test_the_readme_has_commands_that_any_shell_takes_as_pasted() -> None:
    blocks = re.findall(
        r"^```(\w+)\n(.*?)^```$", (ROOT / "README.md").read_text(), re.DOTALL | re.MULTILINE
    )
    assert {language for language, _ in blocks} == {"sh", "text"}
    for text in (text for language, text in blocks if language == "sh"):
        assert text.isascii()
        # A prompt is no command, and zsh takes a comment for an argument.
        assert not re.search(r"^\$ | # ", text, re.MULTILINE), text


def test_commands_are_written_as_they_can_be_typed() -> None:
    pages = [*PAGES, ROOT / ".env.example", *(ROOT / "app").rglob("*.py")]
    for path in [*pages, *(ROOT / "scripted_upstream").rglob("*.py")]:
        for line in path.read_text().splitlines():
            assert not re.search(r"(?<!\.venv/bin/)flask --app", line), f"{path}: {line}"


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150


def test_every_recorded_client_is_on_the_page_of_clients() -> None:
    recorded = {
        json.loads(path.read_text())["client"]
        for path in (ROOT / "tests/e2e/recorded").glob("*.json")
    }
    table, _, rest = page("clients.md").partition("The requests of these programs are replayed")
    tried = set(re.findall(r"^\| ([^|]+?) \| [\d]", table, re.MULTILINE))
    named = re.sub(r"\s+", " ", rest.split("as they write them: ")[1].split(".\n")[0])
    replayed = set(named.split(", "))
    assert recorded <= tried | replayed
    assert replayed <= recorded


ADR_HEADINGS = ["Context", "Decision", "Consequences", "We would revisit this if"]


def test_every_decision_is_in_the_index_and_has_the_four_headings() -> None:
    files = sorted((DOCS / "adr").glob("[0-9]*.md"))
    assert re.findall(r"\]\((\d{4}-[\w-]+\.md)\)", page("adr/README.md")) == [f.name for f in files]
    numbers = [path.name[:4] for path in files]
    assert len(set(numbers)) == len(numbers)
    for number, path in zip(numbers, files, strict=True):
        text = path.read_text()
        assert text.startswith(f"# ADR-{number}: ")
        assert re.findall(r"^## (.+)$", text, re.MULTILINE) == ADR_HEADINGS, path.name
