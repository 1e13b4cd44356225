import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.process.stderr import CATEGORIES, UNCLASSIFIED, Category, classify, last_words

DISK = Category("disk_full", "error")
READ_ONLY = Category("not_writable", "error")
PANIC = Category("panic", "error")
DESCRIPTORS = Category("descriptors_exhausted", "error")
CONFIGURATION = Category("configuration", "warning")
SANDBOX = Category("sandbox_unavailable", "debug")
ALIASES = Category("path_aliases", "debug")
PROTO = Category("proto_routine", "debug")
DATABASE = Category("database", "warning")
ERROR = Category("error", "warning")
WARNING = Category("warning", "info")

LINES: list[tuple[str, Category]] = [
    ("write failed: No space left on device (os error 28)", DISK),
    ("database or disk is full", DISK),
    ("errno ENOSPC", DISK),
    ("Read-only file system (os error 30)", READ_ONLY),
    ("open /x: Permission denied", READ_ONLY),
    ("thread 'main' panicked at src/main.rs:1:1:", PANIC),
    ("stack backtrace:", PANIC),
    ("Too many open files (os error 24)", DESCRIPTORS),
    ("EMFILE", DESCRIPTORS),
    ("error loading config: bad", CONFIGURATION),
    ("unknown variant `x`, expected `y`", CONFIGURATION),
    ("TOML parse error at line 1", CONFIGURATION),
    ("Codex could not find bubblewrap on PATH", SANDBOX),
    ("WARNING: proceeding, even though we could not create PATH aliases: refused", ALIASES),
    ("2026-01-01T00:00:00Z ERROR os_info: Cannot invoke 'uname` to get architecture type", PROTO),
    ("ERROR codex_cli::proto: internal error; agent loop died unexpectedly", PROTO),
    ("sqlite error: locked", DATABASE),
    ("the DATABASE is busy", DATABASE),
    ("2026-01-01T00:00:00Z ERROR codex_core: it failed", ERROR),
    ("error: it failed", ERROR),
    ("2026-01-01T00:00:00Z  WARN codex_core: careful", WARNING),
    ("WARNING: careful", WARNING),
    ("terrors and forewarnings", UNCLASSIFIED),
    ("", UNCLASSIFIED),
    ("a user's prompt", UNCLASSIFIED),
]


@pytest.mark.parametrize(("line", "category"), LINES)
def test_a_line_leaves_as_its_category(line: str, category: Category) -> None:
    assert classify(line) == category


def test_the_table_has_a_line_for_every_category() -> None:
    assert {category.name for _, category in LINES} == CATEGORIES


@pytest.mark.parametrize("category", {category for _, category in LINES})
def test_every_level_is_the_name_of_a_log_level(category: Category) -> None:
    assert category.level.upper() in logging.getLevelNamesMapping()


def test_the_graver_category_wins_over_the_plainer_word() -> None:
    assert classify("ERROR sqlite: disk is full") == DISK
    assert classify("ERROR sqlite: locked") == DATABASE
    assert classify("WARN then ERROR") == ERROR


@given(st.text())
def test_no_line_says_more_than_one_of_the_known_words(line: str) -> None:
    assert classify(line).name in CATEGORIES


def test_the_last_words_are_the_reason_and_nothing_that_every_child_says() -> None:
    lines = [
        "WARNING: proceeding, even though we could not create PATH aliases: refused\n",
        "2026-01-01 ERROR codex_app_server: Codex could not find bubblewrap on PATH.\n",
        "Error: Codex executable path is not configured\n",
        "\n",
        "Stack backtrace:\n",
        "   0: <unknown>\n",
        "  12: main\n",
    ]
    assert last_words(lines) == "Error: Codex executable path is not configured"
    assert last_words(lines[:2]) == ""
    assert last_words(["a\n", "b", "c", "d", "sk-0123456789\n"]) == "b c d [hidden]"
