"""What the check before a reload says; that it runs is tested in integration and end to end."""

import pytest

from app.runtime.check import problems_of
from app.settings import SettingsError

SECRET = "sk-a-secret-0123456789"


def raised(source: str) -> BaseException:
    try:
        exec(compile(source, "/srv/gateway/app/broken.py", "exec"))  # noqa: S102
    except BaseException as error:  # noqa: BLE001
        return error
    raise AssertionError(source)


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("import nothing_like_it", "ModuleNotFoundError in broken.py, line 1: No module named 'nothing_like_it'."),
        ("x = 1\nundefined_name", "NameError in broken.py, line 2: name 'undefined_name' is not defined."),
        (f"raise ValueError({SECRET!r})", "ValueError in broken.py, line 1."),
        (f"int({SECRET!r})", "ValueError in broken.py, line 1."),
        ("import sys\nsys.exit(2)", "gunicorn refuses its command line."),
        ("raise KeyboardInterrupt", "KeyboardInterrupt in broken.py, line 1."),
    ],
)  # fmt: skip
def test_an_exception_is_told_by_type_and_place(source: str, sentence: str) -> None:
    assert problems_of(raised(source)) == [sentence]


def test_code_that_cannot_be_compiled_is_told_by_its_place() -> None:
    error = raised("def (:\n")
    assert problems_of(error) == ["SyntaxError in broken.py, line 1: invalid syntax."]


def test_settings_speak_for_themselves() -> None:
    problems = ["PORT must be a number.", "PROXY_API_KEY is required."]
    assert problems_of(SettingsError(problems)) == problems
    assert problems_of(SystemExit("\n".join(problems))) == problems


def test_the_error_behind_gunicorns_exit_is_found() -> None:
    source = "try:\n    1 / 0\nexcept ZeroDivisionError:\n    raise SystemExit(1)\n"
    assert problems_of(raised(source)) == ["ZeroDivisionError in broken.py, line 2."]
