"""ChatGPT logins that codex renews: with the real child, the renewal outlives whatever limit is reached meanwhile."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from codex_cli_bin import bundled_codex_path

from tests.e2e.harness import Gateway, ask, wait_until
from tests.fakes.accounts import Accounts, token

Make = Callable[..., Gateway]
Start = Callable[..., Gateway]
DUE_S = 100
RECENT = "2026-11-27T00:00:00Z"
QUICK = {
    "WORKER_STARTUP_TIMEOUT_MS": "3000",
    "WORKER_PROBE_INTERVAL_MS": "200",
    "WORKER_PROBE_TIMEOUT_MS": "1000",
    "WORKER_RPC_TIMEOUT_MS": "2000",
    "WORKER_BACKOFF_MAX_MS": "300",
    "WORKER_QUEUE_TIMEOUT_MS": "2000",
}


@pytest.fixture
def accounts() -> Iterator[Accounts]:
    with Accounts() as accounts:
        yield accounts
        accounts.may_renew.set()
        accounts.shutdown()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


@pytest.fixture
def start(make_gateway: Make, accounts: Accounts, home: Path, tmp_path: Path) -> Start:
    """A gateway whose codex takes the fake for OpenAI; nothing leaves this machine."""

    def start(*, ready: bool = False, **settings: str) -> Gateway:
        binary = tmp_path / "codex"
        options = [
            f'model_providers.gateway.base_url="{accounts.url}/v1"',
            f'chatgpt_base_url="{accounts.url}/backend-api/"',
        ]
        binary.write_text(
            "#!/bin/sh\n"
            f"export CODEX_REFRESH_TOKEN_URL_OVERRIDE={accounts.url}/oauth/token\n"
            f'exec {shlex.quote(str(bundled_codex_path()))} "$@" '
            + " ".join(f"-c {shlex.quote(option)}" for option in options)
            + "\n"
        )
        binary.chmod(0o755)
        settings = {"CODEX_BIN": str(binary), "CODEX_HOME": str(home), **QUICK, **settings}
        return make_gateway(with_upstream=False, ready=ready, **settings)

    return start


def reason(gateway: Gateway) -> str | None:
    found: str | None = gateway.get("/readyz", key=False).json().get("reason")
    return found


def wait_for_reason(gateway: Gateway, expected: str | None) -> None:
    wait_until(lambda: reason(gateway) == expected, f"/readyz says {expected}")


def refresh_token(home: Path) -> str:
    """The refresh token in the file; a file that is being written is read again."""
    found: str = wait_until(
        lambda: json.loads((home / "auth.json").read_text())["tokens"]["refresh_token"], "a login"
    )
    return found


def assert_renewed_once(accounts: Accounts, home: Path) -> None:
    wait_until(lambda: refresh_token(home) == "refresh-1", "the new login is on the disk")
    assert accounts.renewals == [("refresh-0", True)]


def renewing(accounts: Accounts, home: Path) -> None:
    """Leave a login that is due, and an accounts server that answers when it is told to."""
    accounts.write_login(home / "auth.json", RECENT, DUE_S)
    accounts.may_renew.clear()


def await_limits(gateway: Gateway) -> None:
    """Wait until every limit of `QUICK` has been reached, some of them twice."""
    until = time.monotonic() + 4
    wait_until(lambda: time.monotonic() > until and gateway.log(), "the limits are over")


def content(answer: Any) -> str:
    text: str = answer.json()["choices"][0]["message"]["content"]
    return text


def test_the_first_start_waits_for_the_renewal(
    start: Start, accounts: Accounts, home: Path
) -> None:
    renewing(accounts, home)
    gateway = start()
    wait_until(lambda: accounts.renewals, "the renewal has begun")
    wait_for_reason(gateway, "login_renewal")
    await_limits(gateway)
    assert reason(gateway) == "login_renewal"
    assert gateway.events("login_renewal")
    assert gateway.post(ask("x")).json()["error"]["code"] == "WORKER_UNAVAILABLE"
    accounts.may_renew.set()
    gateway.wait_ready()
    assert content(gateway.post(ask("x"))) == "Hi"
    assert accounts.turns == ["access-1"]
    assert_renewed_once(accounts, home)
    assert gateway.events("child_exited") == gateway.events("child_handshake_failed") == []


def test_a_restarted_child_has_its_time(start: Start, accounts: Accounts, home: Path) -> None:
    accounts.write_login(home / "auth.json", RECENT)
    gateway = start(ready=True)
    before = len(gateway.events("child_exited"))
    renewing(accounts, home)
    gateway.child().kill()
    wait_until(lambda: accounts.renewals, "the renewal has begun")
    wait_for_reason(gateway, "login_renewal")
    await_limits(gateway)
    accounts.may_renew.set()
    gateway.wait_ready()
    assert_renewed_once(accounts, home)
    assert len(gateway.events("child_exited")) == before + 1


def test_a_reload_waits_for_the_new_child_and_the_old_one_serves(
    start: Start, accounts: Accounts, home: Path
) -> None:
    accounts.write_login(home / "auth.json", RECENT)
    gateway = start(ready=True, WORKER_PROBE_INTERVAL_MS="60000")
    renewing(accounts, home)
    gateway.process.send_signal(signal.SIGHUP)
    wait_until(lambda: accounts.renewals, "the new child renews")
    waits_for = wait_until(
        lambda: "renew" in str(gateway.get("/healthz").json()["reload"]["waits_for"]), "it is said"
    )
    assert waits_for
    await_limits(gateway)
    gateway.process.send_signal(signal.SIGHUP)  # the one that renews is in its way, and has time
    await_limits(gateway)
    assert accounts.renewals == [("refresh-0", True)]
    accounts.may_renew.set()
    wait_until(lambda: len(gateway.events("reload_done")) >= 1, "the reload is done")
    wait_until(lambda: len(gateway.workers()) == 1, "the others have gone")
    assert content(gateway.post(ask("x"))) == "Hi"
    assert accounts.turns == ["access-1"]
    assert_renewed_once(accounts, home)
    assert gateway.events("login_renewal_cut") == []


def test_a_login_is_renewed_before_a_turn_has_to_and_no_limit_ends_that(
    start: Start, accounts: Accounts, home: Path
) -> None:
    """In a turn codex gives up after five seconds, and the login is gone."""
    accounts.may_renew.clear()
    accounts.write_login(home / "auth.json", RECENT, 370 + 300)  # soon, and not yet
    gateway = start(ready=True, WORKER_MEMORY_LIMIT_BYTES=str(1 << 26))  # which any child breaks
    wait_until(lambda: accounts.renewals, "the renewal has begun")
    assert content(gateway.post(ask("x"))) == "Hi"
    child = gateway.child()
    child.send_signal(signal.SIGSTOP)  # it hangs, too
    wait_until(lambda: gateway.events("child_spared"), "the probe has found it")
    wait_for_reason(gateway, "login_renewal")
    await_limits(gateway)
    assert child.is_running()
    child.send_signal(signal.SIGCONT)
    accounts.may_renew.set()
    wait_until(lambda: gateway.events("child_recycled"), "it was ended, but later")
    gateway.wait_ready()
    assert_renewed_once(accounts, home)
    assert accounts.turns == ["access-0"]


def test_a_child_that_has_renewed_its_login_goes_on_with_it(
    start: Start, accounts: Accounts, home: Path
) -> None:
    accounts.write_login(home / "auth.json", RECENT, 370 + 300)
    gateway = start(ready=True, WORKER_STARTUP_TIMEOUT_MS="10000", WORKER_PROBE_TIMEOUT_MS="10000")
    child = gateway.child()
    wait_until(lambda: gateway.events("login_renewed"), "the login is renewed")
    await_limits(gateway)
    assert content(gateway.post(ask("x"))) == "Hi"
    assert accounts.turns == ["access-1"]
    assert gateway.events("child_replaced") == gateway.events("child_exited") == []
    assert gateway.child().pid == child.pid


@pytest.mark.parametrize("is_in_time", [True, False])
def test_a_stop_waits_for_the_renewal_as_long_as_its_grace_allows(
    start: Start, accounts: Accounts, home: Path, *, is_in_time: bool
) -> None:
    renewing(accounts, home)
    gateway = start(WORKER_SHUTDOWN_GRACE_MS="20000" if is_in_time else "1000")
    wait_until(lambda: accounts.renewals, "the renewal has begun")
    gateway.process.send_signal(signal.SIGTERM)
    wait_until(lambda: gateway.events("drain_began"), "the stop has begun")
    if is_in_time:
        await_limits(gateway)
        accounts.may_renew.set()
    assert gateway.process.wait(30) == 0
    remedies = [entry["remedy"] for entry in gateway.events("login_renewal_cut")]
    if is_in_time:
        assert remedies == []
        assert_renewed_once(accounts, home)
    else:
        assert len(remedies) == 1
        assert "codex login" in remedies[0]


def test_an_accounts_server_out_of_order_is_a_state_and_not_many_renewals(
    start: Start, accounts: Accounts, home: Path
) -> None:
    accounts.failure = 500
    accounts.refused = {"access-0"}
    accounts.write_login(home / "auth.json", RECENT, -10)
    gateway = start()
    wait_for_reason(gateway, "upstream_auth")
    before = len(accounts.renewals)
    for _ in range(3):
        answer = gateway.post(ask("x"))
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "UPSTREAM_AUTH")
        assert answer.json()["error"]["retryable"] is False
        assert "accounts server" in answer.json()["error"]["message"]
    # The gateway's own attempt, and the child's look at the account's limits; a turn cost a dozen.
    assert len(accounts.renewals) - before <= 3
    assert accounts.turns == []
    assert gateway.events("login_not_renewed")
    accounts.failure = None
    (home / "auth.json").unlink()
    accounts.write_login(home / "auth.json", RECENT)
    accounts.refused = set()
    gateway.wait_ready()
    assert content(gateway.post(ask("x"))) == "Hi"


@pytest.mark.parametrize("failure", [200, 429, 500, 503])
def test_no_turn_tries_what_the_accounts_server_fails_to_do(
    start: Start, accounts: Accounts, home: Path, failure: int
) -> None:
    """Also while the token is still good, for a few minutes: each turn would try ten times."""
    accounts.failure = failure
    accounts.write_login(home / "auth.json", RECENT, DUE_S)
    gateway = start()
    wait_until(lambda: len(gateway.events("login_not_renewed")) > 1, "the child has tried, too")
    before = len(accounts.renewals)
    for _ in range(3):
        assert is_refused(gateway)
    await_limits(gateway)  # a file with the same tokens in it is no new login
    assert reason(gateway) == "upstream_auth"
    assert len(accounts.renewals) - before <= 6
    assert accounts.turns == []
    assert gateway.events("child_replaced") == []


def test_a_token_that_is_still_good_serves_where_codex_has_given_up(
    start: Start, accounts: Accounts, home: Path
) -> None:
    accounts.failure = 401
    accounts.write_login(home / "auth.json", RECENT, DUE_S)
    gateway = start()
    wait_until(lambda: not is_refused(gateway), "codex has been asked")
    before = len(accounts.renewals)
    assert content(gateway.post(ask("x"))) == "Hi"
    assert len(accounts.renewals) == before
    assert set(accounts.turns) == {"access-0"}


USELESS = {
    "empty": "",
    "torn": '{"OPENAI_API_KEY": "sk-',
    "object": "{}",
    "null": "null",
    "no key": '{"OPENAI_API_KEY": null, "tokens": null}',
    "blank": '{"OPENAI_API_KEY": "  "}',
}


def is_refused(gateway: Gateway) -> bool:
    answer = gateway.post(ask("x"))
    if answer.status_code == 200:
        return False
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "UPSTREAM_AUTH")
    return True


@pytest.mark.parametrize("useless", USELESS)
def test_a_file_is_no_login(start: Start, accounts: Accounts, home: Path, useless: str) -> None:
    (home / "auth.json").write_text(USELESS[useless])
    gateway = start()
    wait_until(lambda: gateway.events("child_ready"), "the child is there")
    wait_for_reason(gateway, "upstream_auth")
    assert is_refused(gateway)
    assert gateway.events("demo_upstream_serves") == []
    (home / "auth.json").write_text(json.dumps({"OPENAI_API_KEY": token("key")}))
    wait_until(lambda: not is_refused(gateway), "the login is taken")
    assert accounts.turns == ["key"]


def test_a_pipe_in_the_place_of_the_file_holds_up_nobody(
    start: Start, accounts: Accounts, home: Path
) -> None:
    os.mkfifo(home / "auth.json")
    gateway = start()
    wait_for_reason(gateway, "home_refused")
    assert "Move it away" in gateway.get("/healthz").json()["child"]["last_exit"]["detail"]
    (home / "auth.json").unlink()
    (home / "auth.json").write_text(json.dumps({"OPENAI_API_KEY": token("key")}))
    gateway.wait_ready()
    (home / "auth.json").unlink()
    os.mkfifo(home / "auth.json")
    wait_for_reason(gateway, "upstream_auth")
    assert is_refused(gateway)
    assert accounts.turns == []


def test_a_link_to_what_is_not_there_yet_does_not_bring_the_demo(
    start: Start, accounts: Accounts, home: Path
) -> None:
    """As the link into a volume that is mounted later."""
    (home / "auth.json").symlink_to("later.json")
    gateway = start()
    wait_for_reason(gateway, "upstream_auth")
    assert is_refused(gateway)
    (home / "later.json").write_text(json.dumps({"OPENAI_API_KEY": token("key")}))
    wait_until(lambda: not is_refused(gateway), "the login is taken")
    assert accounts.turns == ["key"]


def test_a_file_that_becomes_useless_costs_no_good_child(
    start: Start, accounts: Accounts, home: Path
) -> None:
    login = json.dumps({"OPENAI_API_KEY": token("key")})
    (home / "auth.json").write_text(login)
    gateway = start(ready=True)
    child = gateway.child()
    for useless in USELESS.values():
        (home / "auth.json").write_text(useless)
        wait_for_reason(gateway, "upstream_auth")
        assert is_refused(gateway)
    assert gateway.child().pid == child.pid
    assert gateway.events("child_replaced") == []
    (home / "auth.json").write_text(login)
    gateway.wait_ready()
    assert content(gateway.post(ask("x"))) == "Hi"
    assert set(accounts.turns) == {"key"}


@pytest.fixture
def read_only_file(home: Path) -> Iterator[Path]:
    """A file that is a mount of its own, as a Secret's is."""
    path = home / "auth.json"
    source = home.parent / "auth.json"
    source.touch()
    path.touch()
    yield source
    subprocess.run(["umount", "--lazy", str(path)], check=True)


def mount_read_only(source: Path, path: Path) -> None:
    subprocess.run(["mount", "--bind", str(source), str(path)], check=True)
    subprocess.run(["mount", "-o", "remount,bind,ro", str(path)], check=True)


@pytest.mark.system
def test_a_login_that_cannot_be_kept_is_not_renewed(
    start: Start, accounts: Accounts, home: Path, read_only_file: Path
) -> None:
    accounts.write_login(read_only_file, RECENT, DUE_S)
    mount_read_only(read_only_file, home / "auth.json")
    gateway = start()
    wait_for_reason(gateway, "login_read_only")
    answer = gateway.post(ask("x"))
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "UPSTREAM_AUTH")
    assert "cannot be written" in answer.json()["error"]["message"]
    assert "writable" in gateway.get("/healthz").json()["child"]["last_exit"]["detail"]
    assert accounts.renewals == []


@pytest.mark.system
def test_a_key_needs_no_writing(
    start: Start, accounts: Accounts, home: Path, read_only_file: Path
) -> None:
    read_only_file.write_text(json.dumps({"OPENAI_API_KEY": token("key")}))
    mount_read_only(read_only_file, home / "auth.json")
    gateway = start(ready=True)
    assert content(gateway.post(ask("x"))) == "Hi"
    assert accounts.turns == ["key"]
