"""The Dockerfile: a linter's rules, and those of ours that no linter has."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from app.settings import VARIABLES
from tests.e2e.dockerfile import DOCKERFILE, ROOT, lines, read

ENVIRONMENT, CODE, FINAL = read()


def test_the_linter_has_nothing_to_say() -> None:
    places = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    linter = shutil.which("hadolint", path=places)
    assert linter is not None
    done = subprocess.run(
        [linter, "--no-color", DOCKERFILE], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_all_stages_have_one_base_that_is_pinned_by_its_full_tag_and_can_be_by_a_digest() -> None:
    assert ENVIRONMENT.base == CODE.base == FINAL.base
    assert re.fullmatch(r"python:3\.\d+\.\d+-slim-[a-z]+", FINAL.base)
    digest = f"{FINAL.base}@sha256:{'0' * 64}"
    assert {stage.base for stage in read(arguments={"PYTHON_IMAGE": digest})} == {digest}


def test_nothing_that_compiles_or_downloads_is_in_the_final_stage() -> None:
    (users,) = FINAL.all("RUN")
    assert not re.search(r"apt|pip|curl|wget|gcc|build-essential|chmod -R|sudo", users.text)
    assert "--without-pip" in ENVIRONMENT.one("RUN").text


def test_what_is_installed_is_known_by_its_hash_and_needs_no_compiler() -> None:
    words = ENVIRONMENT.one("RUN").words
    assert {"--require-hashes", "--only-binary=:all:", "--no-cache-dir"} <= set(words)
    assert [words[n + 1] for n, word in enumerate(words) if word == "-r"] == ["requirements.lock"]
    # Nothing is installed beside it, which would have no hash.
    assert words[-1] == "requirements.lock"
    assert ENVIRONMENT.one("COPY").words == ["requirements.lock", "./"]


def test_it_runs_as_a_user_with_a_fixed_number_and_no_shell() -> None:
    number, group = FINAL.one("USER").text.split(":")
    assert number == group == "10001"
    made = FINAL.one("RUN").text
    assert f"groupadd --gid {group}" in made
    assert f"useradd --uid {number} --gid {group}" in made
    assert "/usr/sbin/nologin" in made
    copied = FINAL.all("COPY")
    assert not any({"chown", "chmod"} & set(each.flags) for each in copied), (
        "its code is not its own"
    )


def test_the_login_has_a_volume_and_settings_a_folder() -> None:
    home = FINAL.environment["CODEX_HOME"]
    assert FINAL.one("VOLUME").text == home
    assert f"install -d -m 700 -o 10001 -g 10001 {home}" in FINAL.one("RUN").text
    # Read where the application looks for it: beside its code.
    assert FINAL.one("WORKDIR").text == "/app"
    assert "ln -s /etc/codex-gateway/.env .env" in FINAL.one("RUN").text


def test_what_the_image_sets_are_settings_and_it_sets_few() -> None:
    settings = {variable.metadata["name"] for variable in VARIABLES}
    assert set(FINAL.environment) - {"PYTHONDONTWRITEBYTECODE"} <= settings
    assert set(FINAL.environment) == {"CODEX_HOME", "PROXY_HOST", "PORT", "PYTHONDONTWRITEBYTECODE"}


def test_it_is_asked_whether_it_is_ready_at_the_port_that_it_has() -> None:
    port = FINAL.environment["PORT"]
    assert FINAL.one("EXPOSE").text == port
    program = FINAL.healthcheck[-1]
    assert f"'127.0.0.1', {port}" in program
    assert "'/readyz'" in program
    assert FINAL.healthcheck[0] == ".venv/bin/python"
    flags = FINAL.one("HEALTHCHECK").flags
    assert set(flags) == {"interval", "timeout", "start-period", "retries"}


def test_gunicorn_is_the_first_process_and_gets_the_signal_itself() -> None:
    assert FINAL.one("STOPSIGNAL").text == "SIGTERM"
    assert FINAL.one("CMD").text.startswith("["), "a shell would be process 1"
    assert FINAL.one("CMD").words == [".venv/bin/gunicorn", "-c", "gunicorn.conf.py", "wsgi:app"]
    assert not FINAL.all("ENTRYPOINT")


def ignores() -> tuple[set[str], list[str]]:
    """Return what may be sent to the builder, and the rest of the patterns."""
    patterns = lines((ROOT / ".dockerignore").read_text())
    return {p[1:] for p in patterns if p[0] == "!"}, [p for p in patterns if p[0] != "!"]


def test_the_builder_is_sent_what_is_copied_and_nothing_else() -> None:
    taken = {
        word.removeprefix("./")
        for stage in (ENVIRONMENT, CODE, FINAL)
        for each in stage.all("COPY")
        if "from" not in each.flags
        for word in each.words[:-1]
    }
    allowed, refused = ignores()
    assert allowed == taken
    assert refused == ["*", "**/__pycache__", "**/*.pyc"]
    assert all((ROOT / name).exists() for name in taken)


@pytest.mark.parametrize("package", ["app", "forward_auth", "scripted_upstream"])
def test_every_package_that_serves_is_copied(package: str) -> None:
    """Which are all that the entry points import: `scripted_upstream` is the demo, a process of its own."""
    assert [package, f"./{package}"] in [each.words for each in CODE.all("COPY")]
    assert ["/app", "./"] in [each.words for each in FINAL.all("COPY")]
    top = {
        found[1]
        for path in (ROOT / package).rglob("*.py")
        for found in re.finditer(r"^\s*(?:from|import) (\w+)", path.read_text(), re.MULTILINE)
    }
    ours = {path.name for path in ROOT.iterdir() if (path / "__init__.py").exists()}
    assert top & ours <= {"app", "forward_auth", "scripted_upstream"}
