"""Rules about files that no linter has: sizes, names, docstrings, purity, and where the outside world comes in.

Each rule is one test that lists every offender.
"""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import TypeAlias

from app.settings import ROOT

MAX_MODULE_LINES = 400
MAX_FUNCTION_LINES = 40

WIRING = {"app/factory.py: _services"}
"""Longer than the limit: a list of what is wired together."""

READS_THE_ENVIRONMENT = {
    "app/settings/table.py",
    "app/codex/launch.py",
    "app/cli/login.py",
    "app/observability/metrics.py",
}
"""Settings, the two places that pass an allow-list of variables on to codex, and the one that shares a library's."""

SAYS_NOTHING = {"utils", "util", "helpers", "helper", "manager", "managers", "common", "misc"}
QUESTIONS = {"what", "who", "whose", "how", "which", "when", "where", "why"}
SAYS_PURE = re.compile(r"\bPure\b(?! but)")

Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef
Definition: TypeAlias = Function | ast.ClassDef

MODULES = sorted(
    path
    for package in ("app", "forward_auth", "scripted_upstream")
    for path in (ROOT / package).rglob("*.py")
)
TESTS = sorted((ROOT / "tests").rglob("*.py"))


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def dotted(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def nodes() -> Iterator[tuple[Path, ast.AST]]:
    return ((path, node) for path in MODULES for node in ast.walk(tree_of(path)))


def public_definitions(node: ast.Module | ast.ClassDef) -> Iterator[Definition]:
    """Public functions and classes, and the public members of public classes."""
    for child in node.body:
        if isinstance(child, Definition) and not child.name.startswith("_"):
            yield child
            if isinstance(child, ast.ClassDef):
                yield from public_definitions(child)


def nobody(offenders: Iterable[str]) -> None:
    """Fail with every offender, each on a line of its own."""
    found = sorted(offenders)
    assert not found, "\n" + "\n".join(found)


def charter(path: Path) -> str:
    """Return the docstring of a module, empty where it has none."""
    return ast.get_docstring(tree_of(path)) or ""


def test_a_module_fits_in_the_head() -> None:
    lengths = {name_of(path): len(path.read_text().splitlines()) for path in MODULES}
    nobody(f"{name}: {lines} lines" for name, lines in lengths.items() if lines > MAX_MODULE_LINES)


def test_a_function_fits_on_a_screen() -> None:
    too_long = {
        f"{name_of(path)}: {node.name}"
        for path, node in nodes()
        if isinstance(node, Function)
        and (node.end_lineno or node.lineno) - node.lineno + 1 > MAX_FUNCTION_LINES
    }
    nobody(too_long - WIRING)


def test_a_module_is_named_after_what_it_holds() -> None:
    named = {path: {*path.relative_to(ROOT).parent.parts, path.stem} for path in MODULES}
    nobody(name_of(path) for path, parts in named.items() if parts & SAYS_NOTHING)


def test_every_module_has_a_charter() -> None:
    nobody(name_of(path) for path in MODULES if not charter(path))


def test_a_charter_begins_with_what_a_reader_searches_for() -> None:
    first_words = {name_of(path): re.split(r"\W", charter(path), maxsplit=1)[0] for path in MODULES}
    nobody(f"{name}: {word}" for name, word in first_words.items() if word.lower() in QUESTIONS)


def test_whatever_says_pure_is_on_the_list_of_the_contract_and_says_so() -> None:
    """A package's charter speaks of several modules, so it is not asked."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    (contract,) = (
        contract
        for contract in settings["tool"]["importlinter"]["contracts"]
        if contract["name"].startswith("The pure core")
    )
    modules = [path for path in MODULES if path.stem != "__init__"]
    says = {dotted(path) for path in modules if SAYS_PURE.search(charter(path))}
    listed = {
        dotted(path)
        for path in modules
        for pattern in contract["source_modules"]
        if fnmatchcase(dotted(path), pattern) and dotted(path).count(".") == pattern.count(".")
    }
    nobody(
        [
            *(f"says so, not listed: {name}" for name in says - listed),
            *(f"listed, does not say so: {name}" for name in listed - says),
        ]
    )


def test_every_folder_with_code_is_a_package() -> None:
    folders = {path.parent for path in MODULES}
    nobody(name_of(folder) for folder in folders if not (folder / "__init__.py").is_file())


def test_what_is_public_says_what_it_promises() -> None:
    silent = [
        f"{name_of(path)}: {definition.name}"
        for path in MODULES
        for definition in public_definitions(tree_of(path))
        if not ast.get_docstring(definition)
    ]
    nobody(silent)


def test_the_environment_is_read_in_few_places() -> None:
    readers = {
        name_of(path)
        for path, node in nodes()
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "os"
        and node.attr in {"environ", "getenv", "putenv"}
    }
    assert readers == READS_THE_ENVIRONMENT


def test_nothing_is_printed() -> None:
    """The service's output is its log. The demo process says its address with sys.stdout.write."""
    printed = [
        f"{name_of(path)}:{node.lineno}"
        for path, node in nodes()
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "print"
    ]
    nobody(printed)


def catches_everything(node: ast.ExceptHandler) -> bool:
    if node.type is None:
        return True
    return any(isinstance(n, ast.Name) and n.id == "Exception" for n in ast.walk(node.type))


def test_whoever_catches_everything_says_why() -> None:
    silent = [
        f"{name_of(path)}:{node.lineno}: no comment directly above"
        for path, node in nodes()
        if isinstance(node, ast.ExceptHandler) and catches_everything(node)
        if not path.read_text().splitlines()[node.lineno - 2].strip().startswith("# ")
    ]
    nobody(silent)


def test_no_test_file_imports_from_another() -> None:
    """Whatever two of them share lies in a module of its own, or in a conftest."""
    offenders = [
        f"{name_of(path)}: {node.module}"
        for path in TESTS
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.ImportFrom)
        and (node.module or "").rpartition(".")[2].startswith("test_")
    ]
    nobody(offenders)
