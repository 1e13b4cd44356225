"""`codex parity` over two real gateways: alike, different by a setting, and what cannot be compared."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from app.cli.gateway_client import GatewayClient
from app.cli.parity_conversations import read_conversations
from app.cli.parity_replay import Side, replay
from tests.e2e.harness import KEY, MODEL, ROOT, Gateway, Upstream, start_gateway

pytestmark = pytest.mark.timeout(450)

PARITY = (sys.executable, "-m", "flask", "--app", "wsgi", "codex", "parity")
ASK = {"model": "$model", "messages": [{"role": "user", "content": "[parity-words] Hello"}]}


def runs(
    tmp_path: Path, a: str, b: str, *options: str, **variables: str
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [*PARITY, a, b, *options],
        cwd=ROOT,
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(tmp_path),
            "CODEX_HOME": str(tmp_path / "nobody's"),
            "PROXY_API_KEY": KEY,
            "FLASK_SKIP_DOTENV": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
            **variables,
        },
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert "Traceback" not in done.stderr
    assert KEY not in done.stdout + done.stderr
    return done


def found(done: subprocess.CompletedProcess[str]) -> set[tuple[str, str, str]]:
    """The differences: conversation, kind and place."""
    return {
        (each["conversation"], each["kind"], each["place"])
        for each in json.loads(done.stdout)["differences"]
    }


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    """One of these tests' own: whoever compares reads all that it recorded, again and again."""
    running = Upstream()
    yield running
    assert running.control.state()["errors"] == 0
    running.close()


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream) -> Iterator[Gateway]:
    running = start_gateway(tmp_path_factory.mktemp("gateway"), upstream)
    running.wait_ready()
    yield running
    assert running.stop() == 0


@pytest.fixture
def scripted(upstream: Upstream) -> Iterator[None]:
    """The answer to most of the built-in prompts, without the demo's pauses."""
    said = {"items": [{"type": "message", "deltas": ["It scat", "ters. "]}]}
    upstream.control.script("sky", said)
    yield
    upstream.control.drop("sky")


@pytest.fixture(scope="module")
def twin(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream) -> Iterator[Gateway]:
    """A second gateway with the settings of the first."""
    running = start_gateway(tmp_path_factory.mktemp("twin"), upstream)
    running.wait_ready()
    yield running
    assert running.stop() == 0


@pytest.mark.usefixtures("scripted")
def test_two_backends_are_alike_to_the_word(
    gateway: Gateway, make_gateway: Callable[..., Gateway], upstream: Upstream, tmp_path: Path
) -> None:
    """Every built-in conversation, with what the upstream was sent."""
    twin = make_gateway(PROXY_USE_APP_SERVER="false")
    page, data = tmp_path / "report.html", tmp_path / "report.json"
    recording = ["--upstream-a", upstream.url, "--upstream-b", upstream.url]
    files = ["--html", str(page), "--json", str(data)]
    done = runs(tmp_path, gateway.url, twin.url, "--words", *recording, *files)
    assert done.returncode == 0, done.stdout + done.stderr
    names = [conversation.name for conversation in read_conversations()]
    assert done.stdout.splitlines()[-1] == f"Alike: {len(names)} conversations."
    written = json.loads(data.read_text())
    assert written["alike"] is True
    assert [each["conversation"] for each in written["latency"]] == names
    assert all(each["total_ms"][0] > 0 for each in written["latency"])
    assert "<h1>Alike" in page.read_text()


def test_what_is_built_in_to_be_refused_is_refused(gateway: Gateway, upstream: Upstream) -> None:
    """Else two sides would be alike in something else; and what the upstream does is what it was told."""
    side = Side(
        GatewayClient(gateway.url, KEY, 30), GatewayClient(upstream.url.removesuffix("/v1"))
    )
    for conversation in read_conversations():
        if conversation.name.startswith("error-"):
            statuses = [each.status for each in replay(conversation, side, MODEL)]
            assert min(statuses) >= 400, conversation.name
            assert len(statuses) == len(conversation.steps), conversation.name
        if conversation.upstream is not None:
            answers = list(replay(conversation, side, MODEL))
            assert len(answers) == len(conversation.steps), conversation.name
            said = [f"{each.status} {each.payload}" for each in answers]
            signs = ("error", "content_filter")
            assert all(any(sign in one for sign in signs) for one in said), said
            assert not any(each.refused for each in answers)


def test_another_setting_is_a_difference_with_a_name(
    gateway: Gateway, make_gateway: Callable[..., Gateway], tmp_path: Path
) -> None:
    """The demo's answer shows reasoning; an error does not depend on it."""
    other = make_gateway(PROXY_REASONING="off")
    only = ["--only", "chat-past", "--only", "chat-max", "--only", "error-", "--json", "-"]
    done = runs(tmp_path, gateway.url, other.url, *only, "--repeat", "2", "--warm-up", "0")
    assert done.returncode == 1, done.stdout + done.stderr
    assert found(done) == {
        ("chat-past", "order", "stream order of choice 0, from 1"),
        ("chat-past", "shape", "choices.choice 0.reasoning_content"),
        ("chat-max-tokens", "shape", "choices.0.message.reasoning_content"),
    }
    assert {each["runs"] for each in json.loads(done.stdout)["differences"]} == {2}


def own(tmp_path: Path, *bodies: Any) -> list[str]:
    """Options for a file with a conversation for each body."""
    path = tmp_path / "own.json"
    steps = [{"path": "/v1/chat/completions", "body": body} for body in bodies]
    path.write_text(json.dumps([{"name": f"own-{n}", "steps": [s]} for n, s in enumerate(steps)]))
    return ["--conversations", str(path), "--json", "-", "--warm-up", "0"]


def test_many_clients_at_once_are_measured_on_each_side(
    gateway: Gateway, make_gateway: Callable[..., Gateway], upstream: Upstream, tmp_path: Path
) -> None:
    """Scripted upstreams answer at once, whatever they were told before."""
    upstream.control.script("hello.", {"failure": "bad_request"})
    limited = make_gateway(PROXY_RATE_LIMIT="6/hour")
    only = ["--only", "error-no-messages", "--json", "-", "--warm-up", "0"]
    load_of = ["--clients", "4", "--requests", "20", "--pause", "1"]
    recording = ["--upstream-a", upstream.url, "--upstream-b", upstream.url]
    done = runs(tmp_path, gateway.url, limited.url, *only, *load_of, *recording)
    load = json.loads(done.stdout)["load"]
    assert (load["clients"], load["requests"]) == (4, 20)
    assert load["a"]["failed"] == 0 < load["a"]["per_s"]
    assert 0 < load["a"]["median_ms"] <= load["a"]["p95_ms"]
    assert 14 <= load["b"]["failed"] < 20


def test_words_and_upstream_bodies_are_differences_only_where_they_are_asked_for(
    gateway: Gateway, twin: Gateway, upstream: Upstream, tmp_path: Path
) -> None:
    said = [{"items": [{"type": "message", "deltas": [text]}]} for text in ("One.", "Two.")]
    options = own(tmp_path, ASK)
    for more, expected in (([], 0), (["--words"], 1)):
        upstream.control.script("parity-words", said)
        done = runs(tmp_path, gateway.url, twin.url, *options, *more)
        assert done.returncode == expected, done.stdout
    assert found(done) == {("own-0", "words", "choices.0.message.content")}
    upstream.control.drop("parity-words")


def test_what_the_upstream_is_sent_is_compared(
    gateway: Gateway, make_gateway: Callable[..., Gateway], upstream: Upstream, tmp_path: Path
) -> None:
    upstream.control.script("parity-words", {"items": [{"type": "message", "deltas": ["One."]}]})
    other = make_gateway(PROXY_REASONING="off")
    recording = ["--upstream-a", upstream.url, "--upstream-b", upstream.url]
    done = runs(tmp_path, gateway.url, other.url, *own(tmp_path, ASK), *recording)
    upstream.control.drop("parity-words")
    assert done.returncode == 1, done.stdout + done.stderr
    assert found(done) == {("own-0", "upstream", "upstream.0.reasoning.summary")}


def test_two_that_both_fail_are_not_called_alike(
    gateway: Gateway, twin: Gateway, tmp_path: Path
) -> None:
    options = own(tmp_path, ASK)
    refused = runs(tmp_path, gateway.url, twin.url, *options, "--model", "m", PROXY_API_KEY="sk-x")
    assert refused.returncode == 2
    assert json.loads(refused.stdout)["not_compared"] == {
        "own-0": "both answered 401 invalid_api_key"
    }
    missing = runs(tmp_path, gateway.url, "http://127.0.0.1:1", *options)
    assert missing.returncode == 2
    assert "No whole answer from http://127.0.0.1:1" in missing.stderr
