"""Rules about files that no linter has: sizes, names, docstrings, and where the outside world comes in."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

import pytest

from app.settings import ROOT

MAX_MODULE_LINES = 400
MAX_FUNCTION_LINES = 40

WIRING = {"create_app"}
"""Longer than the limit: a list of what is wired together, in app/factory.py."""

READS_THE_ENVIRONMENT = {
    "app/settings.py",
    "app/codex/launch.py",
    "app/cli/login.py",
    "app/observability/metrics.py",
}
"""Settings, the two places that pass an allow-list of variables on to codex, and the one that shares a library's."""

SAYS_NOTHING = {"utils", "util", "helpers", "helper", "manager", "managers", "common", "misc"}

Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef
Definition: TypeAlias = Function | ast.ClassDef

MODULES = sorted(
    path for package in ("app", "scripted_upstream") for path in (ROOT / package).rglob("*.py")
)


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.fixture(params=MODULES, ids=name_of)
def module(request: pytest.FixtureRequest) -> Path:
    path: Path = request.param
    return path


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def public_definitions(node: ast.Module | ast.ClassDef) -> Iterator[Definition]:
    """Public functions and classes, and the public members of public classes."""
    for child in node.body:
        if isinstance(child, Definition) and not child.name.startswith("_"):
            yield child
            if isinstance(child, ast.ClassDef):
                yield from public_definitions(child)


def test_a_module_fits_in_the_head(module: Path) -> None:
    assert len(module.read_text().splitlines()) <= MAX_MODULE_LINES


def test_a_function_fits_on_a_screen(module: Path) -> None:
    lengths = {
        node.name: (node.end_lineno or node.lineno) - node.lineno + 1
        for node in ast.walk(tree_of(module))
        if isinstance(node, Function)
    }
    exempt = WIRING if name_of(module) == "app/factory.py" else set()
    too_long = {name for name, lines in lengths.items() if lines > MAX_FUNCTION_LINES}
    assert too_long <= exempt


def test_a_module_is_named_after_what_it_holds(module: Path) -> None:
    parts = {*module.relative_to(ROOT).parent.parts, module.stem}
    assert not parts & SAYS_NOTHING


def test_every_package_has_a_charter(module: Path) -> None:
    assert ast.get_docstring(tree_of(module)), "a module begins with a docstring"


def test_every_folder_with_code_is_a_package() -> None:
    assert all((path.parent / "__init__.py").is_file() for path in MODULES)


def test_what_is_public_says_what_it_promises(module: Path) -> None:
    silent = [d.name for d in public_definitions(tree_of(module)) if not ast.get_docstring(d)]
    assert silent == []


def test_the_environment_is_read_in_few_places() -> None:
    readers = {
        name_of(path)
        for path in MODULES
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "os"
        and node.attr in {"environ", "getenv", "putenv"}
    }
    assert readers == READS_THE_ENVIRONMENT


def test_nothing_is_printed(module: Path) -> None:
    """The service's output is its log. The demo process says its address with sys.stdout.write."""
    printed = [
        node.lineno
        for node in ast.walk(tree_of(module))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "print"
    ]
    assert printed == []


def test_whoever_catches_everything_says_why(module: Path) -> None:
    lines = module.read_text().splitlines()
    for node in ast.walk(tree_of(module)):
        if not isinstance(node, ast.ExceptHandler):
            continue
        caught = (
            {n.id for n in ast.walk(node.type) if isinstance(n, ast.Name)} if node.type else {""}
        )
        if not caught & {"", "Exception"}:
            continue
        above = lines[node.lineno - 2].strip()
        assert above.startswith("# "), f"line {node.lineno}: no comment directly above"
