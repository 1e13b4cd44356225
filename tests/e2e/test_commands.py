"""`flask codex ask`, `reload` and `stop` beside a running gateway, as processes that an operator starts."""

from __future__ import annotations

import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.commands import command, run
from tests.e2e.harness import DEADLINE_S, Gateway, Upstream, end, start_gateway, wait_until
from tests.e2e.reloading import Site, events, reload_state

DELTAS = ["He", "l", "l", "o ", "e\u0301", " \U0001f469\u200d", "\U0001f467", "\n\n", "aaa", "a"]


@pytest.fixture
def running(tmp_path: Path, upstream: Upstream) -> Iterator[Gateway]:
    gateway = start_gateway(tmp_path, upstream)
    gateway.wait_ready()
    yield gateway
    end(gateway)


def test_a_question_and_what_is_piped_in_are_asked_and_only_the_answer_is_printed(
    running: Gateway, upstream: Upstream
) -> None:
    thought = {"type": "reasoning", "summary_deltas": ["hm ", "hm"]}
    marker = upstream.play({"items": [thought, {"type": "message", "deltas": DELTAS}]})
    options = ("--system", "Be brief.", "--effort", "low", "--model", "gpt-5.5")
    done = run(running, "ask", *options, "What", f"does {marker} change?", given=b"+ a\n- b\n")
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.decode() == "".join(DELTAS)
    (sent,) = upstream.control.requests(marker)
    said = [
        (item["role"], item["content"][0]["text"])
        for item in sent["body"]["input"]
        if item["type"] == "message"
    ]
    assert said == [
        ("developer", "Be brief."),
        ("user", f"What does {marker} change?\n\n+ a\n- b"),
    ]
    assert (sent["body"]["model"], sent["body"]["reasoning"]["effort"]) == ("gpt-5.5", "low")

    again = run(running, "ask", "--reasoning", "--url", f"{running.url}/v1", marker)
    assert (again.returncode, again.stderr) == (0, b"hm hm")
    assert again.stdout.decode() == "".join(DELTAS)


def test_an_answer_is_printed_while_it_comes_and_ctrl_c_ends_it(
    running: Gateway, upstream: Upstream
) -> None:
    marker = upstream.say("as it ", "comes", hold_after=2)
    words, options = command(running, "ask", marker)
    with subprocess.Popen(
        words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options
    ) as process:
        assert process.stdout is not None
        assert process.stdout.read(6) == b"as it "  # the upstream still holds the end
        process.send_signal(signal.SIGINT)
        assert process.wait(DEADLINE_S) == 130
        assert process.stderr is not None
        assert process.stderr.read() == b""
    upstream.control.wait("peer_closed", marker)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("ask", "--model", "of-nobody", "Hello?"), 1, "model_not_found"),
        (("ask", "--url", "ftp://host", "Hello?"), 2, "no address"),
        (("ask", "--url", "http://user@host", "Hello?"), 2, "no address"),
        (("ask", "--url", "http://127.0.0.1:1", "Hello?"), 1, "No whole answer from"),
        (
            ("ask", "--url", "http://gateway.example", "--key-env", "NONE", "Hello?"),
            2,
            "NONE is empty",
        ),
        (("ask",), 2, "Ask something"),
        (("ask", "   "), 2, "Ask something"),
    ],
)
def test_what_cannot_be_asked_is_a_sentence(
    gateway: Gateway, arguments: tuple[str, ...], code: int, said: str
) -> None:
    done = run(gateway, *arguments)
    assert (done.returncode, done.stdout) == (code, b"")
    assert said in done.stderr.decode()


def test_bytes_that_are_no_text_are_not_asked(gateway: Gateway) -> None:
    for locale in ("C", "C.UTF-8"):
        done = run(gateway, "ask", "What is this?", given=b"\xff\xfe\x80", LC_ALL=locale)
        assert (done.returncode, done.stdout) == (2, b"")
        assert "no text" in done.stderr.decode()


def test_where_nothing_can_be_printed_no_traceback_is(gateway: Gateway, upstream: Upstream) -> None:
    words, options = command(gateway, "ask", upstream.say("an answer"))
    closed = ["sh", "-c", 'exec "$@" >&-', "sh", *words]
    done = subprocess.run(
        closed, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=60, check=False, **options
    )
    assert (done.returncode, done.stderr) == (0, b"")


def test_an_answer_that_fails_is_no_success(running: Gateway, upstream: Upstream) -> None:
    script = {
        "items": [{"type": "message", "deltas": ["so far", " and on"]}],
        "failure": {"name": "cut_mid_stream", "after_deltas": 1},
        "hold": True,  # a failure that comes together with the first delta is an error and no beginning
    }
    marker = upstream.play(script)
    words, options = command(running, "ask", marker)
    with subprocess.Popen(
        words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options
    ) as process:
        assert process.stdout is not None
        assert process.stdout.read(6) == b"so far"
        upstream.control.release(marker)
        rest, said = process.communicate(timeout=DEADLINE_S)
    assert (process.returncode, rest) == (1, b"")
    assert "docs/errors.md" in said.decode()


def test_nobody_is_asked_reloaded_or_stopped_where_no_gateway_runs(
    gateway: Gateway, tmp_path: Path
) -> None:
    for arguments in (("ask", "Hello?"), ("reload",), ("stop",)):
        done = run(gateway, *arguments, CODEX_HOME=str(tmp_path / "nobody"))
        assert done.returncode == 1
        assert "No gateway runs with this CODEX_HOME" in done.stderr.decode()


def test_a_stop_returns_when_everything_is_gone(running: Gateway) -> None:
    family = [running.master(), *running.master().children(recursive=True)]
    done = run(running, "stop")
    assert done.returncode == 0
    assert f"(pid {running.process.pid})" in done.stdout.decode()
    assert running.process.wait(DEADLINE_S) == 0
    assert not [each for each in family if each.is_running() and each.status() != "zombie"]


def test_a_reload_of_which_nothing_is_told_is_not_said_to_have_failed(running: Gateway) -> None:
    done = run(running, "reload", "--timeout", "2", PROXY_API_KEY="sk-of-nobody-here-4711-0815")
    assert (done.returncode, done.stdout) == (1, b"")
    assert "is not known" in done.stderr.decode()
    wait_until(lambda: events(running, "reload_done"), "it was done all the same")


@pytest.fixture
def site(tmp_path: Path, upstream: Upstream) -> Iterator[tuple[Site, Gateway]]:
    site = Site(tmp_path / "site", upstream)
    gateway = site.start()
    gateway.wait_ready()
    yield site, gateway
    end(gateway)


def test_a_reload_returns_when_the_new_worker_serves_or_says_why_none_does(
    site: tuple[Site, Gateway],
) -> None:
    checkout, gateway = site
    for count in (1, 2):
        done = run(gateway, "reload", folder=checkout.folder)
        assert done.returncode == 0
        assert "the new worker serves" in done.stdout.decode()
        wait_until(lambda: len(events(gateway, "reload_done")) == count, "it is in the log")  # noqa: B023
        assert reload_state(gateway)["state"] == "done"
    workers = gateway.workers()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        checkout.set(PORT=str(taken.getsockname()[1]))
        done = run(gateway, "reload", folder=checkout.folder)
    assert done.returncode == 1
    assert "It was refused, and nothing has changed:" in done.stderr.decode()
    checkout.set(PORT="70000")
    done = run(gateway, "reload", folder=checkout.folder)
    assert (done.returncode, len(events(gateway, "reload_refused"))) == (
        1,
        1,
    )  # it was not even asked
    assert "PORT" in done.stderr.decode()
    assert gateway.workers() == workers
