"""The doctor with the real binary: all is well, and each failure that can be provoked."""

from __future__ import annotations

import re
import shutil
import socket
from pathlib import Path

import pytest

from app.answer_store.sqlite_store import SqliteStore
from tests.e2e.tls_front import CA, TlsFront
from tests.fakes.stored_answers import GB, MONTH_S, stored
from tests.integration.cli.conftest import FakeCodex, Operator

SECRET = "sk-operator-secret-0123456789"
NO_UPSTREAM = "http://127.0.0.1:9/v1"


def levels(results: dict[str, dict[str, str]], *names: str) -> list[str]:
    return [results[name]["level"] for name in names]


def test_all_is_well_with_an_upstream_that_is_reached(
    operator: Operator, upstream_port: int
) -> None:
    url = f"http://127.0.0.1:{upstream_port}/v1"
    done = operator.types("doctor", CODEX_UPSTREAM_URL=url)
    assert done.returncode == 0, done.stdout
    assert "FAILED" not in done.stdout
    assert re.search(rf"^ok      upstream +\d+ ms  Reached {url}\.$", done.stdout, re.MULTILINE)
    assert done.stdout.splitlines()[-1].startswith("Passed")


def test_looking_changes_nothing(operator: Operator) -> None:
    operator.types("doctor", "--offline", CODEX_UPSTREAM_URL=NO_UPSTREAM)
    left = [path for path in operator.folder.iterdir() if path != operator.home]
    assert left == []
    assert not operator.home.exists()


def test_every_check_that_is_not_ok_has_a_remedy_or_was_not_tried(operator: Operator) -> None:
    for result in operator.examine("--offline").values():
        assert result["sentence"].endswith((".", "codex")), result
        assert bool(result["remedy"]) is (result["level"] in {"warn", "fail"}), result


def test_offline_leaves_the_network_out(operator: Operator) -> None:
    results = operator.examine("--offline", CODEX_UPSTREAM_URL=NO_UPSTREAM)
    assert levels(results, "upstream", "codex child") == ["skip", "ok"]
    assert operator.types("doctor", "--offline").returncode == 0


def test_an_upstream_that_is_not_reached(operator: Operator) -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        url = f"http://127.0.0.1:{sock.getsockname()[1]}/v1"
    done = operator.types("doctor", CODEX_UPSTREAM_URL=url)
    assert done.returncode == 1
    assert "Connection refused" in done.stdout
    assert "FAILED: upstream." in done.stdout


def test_the_login(operator: Operator) -> None:
    assert operator.examine("--offline")["login"]["level"] == "warn"
    operator.types("login", "--api-key-stdin", given=SECRET)
    found = operator.examine("--offline")["login"]
    assert (found["level"], found["sentence"]) == ("ok", "API key.")
    operator.types("logout")
    assert operator.examine("--offline")["login"]["level"] == "fail"


def test_a_foreign_config(operator: Operator) -> None:
    operator.home.mkdir(mode=0o700)
    (operator.home / "config.toml").write_text("model = 'x'")
    results = operator.examine("--offline")
    assert levels(results, "codex home", "codex child", "login") == ["fail", "ok", "skip"]
    assert (operator.home / "config.toml").exists()


def test_a_home_that_cannot_be_made(operator: Operator, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    results = operator.examine("--offline", CODEX_HOME=f"{tmp_path}/file/home")
    assert levels(results, "codex home", "codex child", "login") == ["fail", "ok", "skip"]


def test_a_home_that_others_may_enter(operator: Operator) -> None:
    operator.home.mkdir(mode=0o755)
    operator.home.chmod(0o755)
    assert operator.examine("--offline")["codex home"]["level"] == "warn"


def test_the_store_of_answers(operator: Operator) -> None:
    folder = operator.home / "gateway"
    assert (
        operator.examine("--offline")["answer store"]["sentence"]
        == "sqlite: nothing was stored yet."
    )
    store = SqliteStore(folder, GB, MONTH_S)
    store.put(stored("resp_1", size=1_000_000))
    store.close()
    found = operator.examine("--offline")["answer store"]
    assert (found["level"], found["sentence"]) == ("ok", "sqlite: 1 answers, 2 MB.")
    (folder / "answers-1.sqlite").write_bytes(b"no database" * 1000)
    assert operator.examine("--offline")["answer store"]["level"] == "warn"
    assert [path.name for path in folder.iterdir()] == ["answers-1.sqlite"]  # nothing is repaired
    off = operator.examine("--offline", PROXY_RESPONSE_STORE="off")["answer store"]
    assert (off["level"], off["sentence"]) == ("ok", "off: no answer is stored.")
    address = f"redis://:{SECRET}@127.0.0.1:9/0"
    done = operator.types("doctor", PROXY_RESPONSE_STORE=address)
    assert "redis: ConnectionError; no answer can be stored or read." in done.stdout
    assert SECRET not in done.stdout + done.stderr


def test_no_binary(operator: Operator) -> None:
    results = operator.examine("--offline", CODEX_BIN="/nowhere/codex")
    assert levels(results, "codex child", "login") == ["fail", "skip"]
    assert "/nowhere/codex" in results["codex child"]["sentence"]


def test_a_binary_that_is_not_executable(operator: Operator, fake_codex: FakeCodex) -> None:
    binary = fake_codex()
    binary.chmod(0o644)
    found = operator.examine("--offline", CODEX_BIN=str(binary))["codex child"]
    assert found["level"] == "fail"
    assert f"Permission denied: '{binary}'" in found["sentence"]


def test_a_binary_that_is_no_codex(operator: Operator) -> None:
    results = operator.examine("--offline", CODEX_BIN=str(shutil.which("false")))
    assert levels(results, "codex child", "login") == ["fail", "skip"]


def test_a_binary_of_another_version(operator: Operator, fake_codex: FakeCodex) -> None:
    results = operator.examine("--offline", CODEX_BIN=str(fake_codex()))
    assert levels(results, "codex child") == ["warn"]
    assert "codex 1.2.3 starts" in results["codex child"]["sentence"]


def test_a_child_that_does_not_shake_hands(operator: Operator, fake_codex: FakeCodex) -> None:
    answers: list[list[dict[str, object]]] = [[{"exit": 3}], [{"result": {}}], []]
    for steps in answers:
        binary = fake_codex({"initialize": steps})
        settings = {"CODEX_BIN": str(binary), "WORKER_STARTUP_TIMEOUT_MS": "1000"}
        found = operator.examine("--offline", **settings)["codex child"]
        assert found["level"] == "fail"
        assert found["sentence"].startswith("codex did not shake hands: ")


def test_a_port_that_another_program_has(operator: Operator) -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        number = str(sock.getsockname()[1])
        found = operator.examine("--offline", PORT=number)["port"]
    assert found["level"] == "fail"
    assert number in found["remedy"]


def test_a_name_that_is_no_setting(operator: Operator) -> None:
    operator.settings["PROXY_APIKEY"] = "typing error"
    found = operator.examine("--offline")["settings"]
    assert found["level"] == "warn"
    assert "PROXY_APIKEY" in found["sentence"]


APPS = ["app.cli.group:commands_only()", "wsgi"]


@pytest.mark.parametrize("app", APPS)
def test_settings_that_are_refused(operator: Operator, app: str) -> None:
    operator.app = app
    bad = {"PORT": "99999", "PROXY_API_KEY": ""}
    results = operator.examine("--offline", **bad)
    assert results["settings"]["level"] == "fail"
    assert "PORT must be" in results["settings"]["sentence"]
    assert "PROXY_API_KEY is required" in results["settings"]["sentence"]
    assert levels(results, "codex home", "port") == ["skip", "skip"]
    for command in ("login", "logout", "models", "status"):
        done = operator.types(command, **bad)
        assert done.returncode == 1
        assert done.stderr.startswith("PORT must be a whole number")


@pytest.mark.parametrize("app", APPS)
def test_a_home_that_cannot_be_written_to_keeps_no_command_from_speaking(
    operator: Operator, app: str
) -> None:
    """The application notes that it saw a login, and cannot."""
    operator.app = app
    operator.home.mkdir()
    (operator.home / "auth.json").write_text("{}")
    (operator.home / "gateway").touch()
    done = operator.types("doctor", "--offline")
    assert done.returncode == 1


# The real home


def test_a_broken_database_in_the_real_home_is_found_in_codexs_words(operator: Operator) -> None:
    (operator.home / "state_5.sqlite").mkdir(parents=True)
    operator.home.chmod(0o700)
    found = operator.examine("--offline")["codex child"]
    assert found["level"] == "fail"
    assert "it said: Error: failed to initialize sqlite state runtime" in found["sentence"]


def test_the_databases_of_the_real_home_are_tried_and_its_login_is_not(operator: Operator) -> None:
    operator.json("models")  # makes them
    login = '{"OPENAI_API_KEY": "sk-0123456789abcdef"}'
    (operator.home / "auth.json").write_text(login)
    before = {path.name for path in operator.home.iterdir() if ".sqlite-" not in path.name}
    assert operator.examine("--offline", "--json")["codex child"]["level"] == "ok"
    after = {path.name for path in operator.home.iterdir() if ".sqlite-" not in path.name}
    assert after == before
    assert (operator.home / "auth.json").read_text() == login


def test_a_launcher_for_a_program_that_the_child_has_not(
    operator: Operator, tmp_path: Path
) -> None:
    launcher = tmp_path / "codex.js"
    launcher.write_text("#!/usr/bin/env no-such-node\n")
    launcher.chmod(0o755)
    found = operator.examine("--offline", CODEX_BIN=str(launcher))["codex child"]
    assert found["level"] == "fail"
    assert "a script for no-such-node" in found["sentence"]


# The way to the upstream


@pytest.mark.parametrize(
    ("proxies", "level"),
    [
        ({"HTTP_PROXY": "http://127.0.0.1:9", "NO_PROXY": "10.0.0.0/8,127.0.0.0/8"}, "ok"),
        ({"HTTP_PROXY": "http://127.0.0.1:9", "NO_PROXY": "::1/128"}, "fail"),
        ({"HTTP_PROXY": "::::no address", "HTTPS_PROXY": "http://a:b:c"}, "warn"),
        ({"HTTP_PROXY": "http://[::1"}, "warn"),
        ({"HTTP_PROXY": "http://127.0.0.1:9"}, "fail"),
    ],
)
def test_odd_proxies(
    operator: Operator, upstream_port: int, proxies: dict[str, str], level: str
) -> None:
    url = f"http://127.0.0.1:{upstream_port}/v1"
    found = operator.examine(CODEX_UPSTREAM_URL=url, **proxies)["upstream"]
    assert (found["level"], "not what belongs there" in found["sentence"]) == (level, False)
    assert ("HTTP_PROXY" in found["sentence"]) is (level == "warn")


@pytest.mark.parametrize("content", [None, "no certificate", ""])
def test_certificates_that_are_none(
    operator: Operator, tmp_path: Path, content: str | None
) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    found = operator.examine("--offline", CODEX_CA_CERTIFICATE=str(path))["settings"]
    assert found["level"] == "fail"
    assert "CODEX_CA_CERTIFICATE must be a file that can be read" in found["sentence"]


def test_a_private_ca(operator: Operator, upstream_port: int) -> None:
    front = TlsFront(upstream_port)
    try:
        url = f"https://localhost:{front.port}/v1"
        without = operator.examine(CODEX_UPSTREAM_URL=url)["upstream"]
        assert (without["level"], ": tls." in without["sentence"]) == ("fail", True)
        with_it = operator.examine(CODEX_UPSTREAM_URL=url, CODEX_CA_CERTIFICATE=str(CA))
        assert levels(with_it, "upstream", "settings") == ["ok", "ok"]
    finally:
        front.close()


# Models of the upstream's


def test_names_that_lead_nowhere_are_a_finding(operator: Operator) -> None:
    settings = {
        "CODEX_UPSTREAM_URL": NO_UPSTREAM,
        "CODEX_UPSTREAM_MODELS": "a/b:c",
        "PROXY_MODEL_ALIASES": "fine=a/b:c-high",
    }
    assert operator.examine("--offline", **settings)["codex child"]["level"] == "ok"
    assert [model["id"] for model in operator.json("models", **settings)] == ["a/b:c"]
    settings["PROXY_MODEL_ALIASES"] = "dead=gpt-5.5"
    found = operator.examine("--offline", **settings)["codex child"]
    assert (found["level"], "dead=gpt-5.5" in found["sentence"]) == ("warn", True)


def test_a_list_of_models_that_cannot_be_read(operator: Operator, upstream_port: int) -> None:
    url = f"http://127.0.0.1:{upstream_port}/v1"
    found = operator.examine(CODEX_UPSTREAM_URL=url, CODEX_UPSTREAM_MODELS="auto")["upstream"]
    assert found["level"] == "warn"
    assert "Its models could not be read (status)" in found["sentence"]
