"""The real process over HTTP: answers, failures, records."""

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from scripted_upstream.client import Control, ControlError
from scripted_upstream.default_answer import NOBODY_READ_IT
from tests.e2e.harness import Upstream

ROOT = Path(__file__).parents[3]
MODEL = "gpt-5.5"
LOW_RECURSION = """
import sys
from scripted_upstream.__main__ import main
sys.setrecursionlimit(150)
main(sys.argv[1:])
"""
HELLO = {"items": [{"type": "message", "deltas": ["Grü", "ße ", "✓"]}]}


@pytest.fixture
def alone() -> Iterator[Upstream]:
    """An upstream of a test's own: its counters are of nobody else's requests."""
    upstream = Upstream("--model", MODEL)
    yield upstream
    assert upstream.control.state()["last_errors"] == []
    upstream.close()


def body(marker: str, **fields: Any) -> dict[str, Any]:
    return {"model": MODEL, "stream": True, "input": f"say {marker}", **fields}


def ask(url: str, marker: str, **fields: Any) -> requests.Response:
    return requests.post(f"{url}/responses", json=body(marker, **fields), timeout=10)


def events(answer: bytes) -> list[dict[str, Any]]:
    lines = answer.decode().splitlines()
    return [json.loads(line[6:]) for line in lines if line.startswith("data: {")]


def text(answer: bytes) -> str:
    return "".join(event["delta"] for event in events(answer) if "delta" in event)


@contextmanager
def raw_request(url: str, marker: str) -> Iterator[socket.socket]:
    parts = urlsplit(url)
    payload = json.dumps(body(marker)).encode()
    head = f"POST /v1/responses HTTP/1.1\r\nHost: x\r\nContent-Length: {len(payload)}\r\n\r\n"
    assert parts.hostname is not None
    with socket.create_connection((parts.hostname, parts.port or 0), timeout=10) as sock:
        sock.sendall(head.encode() + payload)
        yield sock


def read_all(sock: socket.socket) -> bytes:
    received = b""
    while piece := sock.recv(65536):
        received += piece
    return received


def test_a_script_is_streamed(upstream_url: str, control: Control, marker: str) -> None:
    control.script(marker, HELLO)
    answer = ask(upstream_url, marker)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert text(answer.content) == "Grüße ✓"
    assert events(answer.content)[-1]["type"] == "response.completed"
    (record,) = control.requests(marker)
    assert record["outcome"] == "completed"
    assert record["body"]["input"] == f"say {marker}"
    assert record["bytes_sent"] > len(answer.content)
    assert record["arrived_ms"] <= record["headers_sent_ms"] <= record["finished_ms"]


def test_each_call_gets_the_next_response(upstream_url: str, control: Control, marker: str) -> None:
    one, two = ({"items": [{"type": "message", "text": word}]} for word in ("one", "two"))
    control.script(marker, [one, two])
    assert [text(ask(upstream_url, marker).content) for _ in range(3)] == ["one", "two", "two"]


def test_without_a_script_the_demo_speaks(upstream_url: str, marker: str) -> None:
    answer = text(ask(upstream_url, marker).content)
    assert marker in answer
    assert "demo upstream" in answer


def test_a_script_may_leave_the_answer_to_the_request(
    upstream_url: str, control: Control, marker: str
) -> None:
    control.script(marker, {"from_request": True, "split": "bytes"})
    city = {"type": "string", "default": "Bern"}
    parameters = {"type": "object", "properties": {"city": city}, "required": ["city"]}
    tools = [{"type": "function", "name": "get_weather", "parameters": parameters}]
    prompt = f"[{marker}] What is the weather in the city Bern?"
    called = events(ask(upstream_url, marker, input=prompt, tools=tools).content)[-1]
    (call,) = called["response"]["output"]
    assert (call["name"], call["arguments"]) == ("get_weather", '{"city":"Bern"}')
    assert len(call["call_id"]) <= 40, (
        "a conversation may go on at OpenAI, which takes no longer one"
    )
    output = {"type": "function_call_output", "call_id": call["call_id"], "output": "wet"}
    conversation = [{"role": "user", "content": prompt}, call, output]
    answer = ask(upstream_url, marker, input=conversation, tools=tools)
    assert text(answer.content) == f"get_weather answered: wet {NOBODY_READ_IT}"


def test_a_dropped_script_gives_way_to_the_demo(
    upstream_url: str, control: Control, marker: str
) -> None:
    control.script(marker, HELLO)
    control.drop(marker)
    assert "demo upstream" in text(ask(upstream_url, marker).content)
    with pytest.raises(ControlError):
        control.drop(marker)


def test_connections_are_kept_between_requests(alone: Upstream) -> None:
    marker = alone.play([HELLO, {"failure": "rate_limited"}, HELLO])
    with requests.Session() as session:
        answers = [
            session.post(f"{alone.url}/responses", json=body(marker), timeout=10) for _ in range(3)
        ]
        assert alone.control.state()["open_connections"] == 1
    assert [answer.status_code for answer in answers] == [200, 429, 200]
    assert answers[1].headers["retry-after"] == "1"


def test_a_million_small_bytes_arrive_whole(
    upstream_url: str, control: Control, marker: str
) -> None:
    control.script(marker, {"items": [{"type": "message", "text": "tok ", "repeat": 20000}]})
    assert text(ask(upstream_url, marker).content) == "tok " * 20000


def test_split_bytes_arrive_whole(upstream_url: str, control: Control, marker: str) -> None:
    control.script(marker, {**HELLO, "split": "bytes", "seed": 3})
    with requests.post(
        f"{upstream_url}/responses", json=body(marker), timeout=10, stream=True
    ) as answer:
        pieces = list(answer.raw.stream())
    assert max(map(len, pieces)) <= 7
    assert text(b"".join(pieces)) == "Grüße ✓"


def test_what_openai_refuses_is_refused(upstream_url: str, control: Control, marker: str) -> None:
    control.script(marker, HELLO)
    answer = ask(upstream_url, marker, model="nope")
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "model_not_found"
    assert control.requests(marker)[0]["outcome"] == "replied"


def test_models_are_listed(upstream_url: str) -> None:
    listed = requests.get(f"{upstream_url}/models", timeout=10).json()
    assert [model["id"] for model in listed["data"]] == [MODEL]


@pytest.mark.parametrize(("method", "path"), [("GET", "/responses"), ("POST", "/embeddings")])
def test_another_route_is_a_404_in_the_envelope(upstream_url: str, method: str, path: str) -> None:
    answer = requests.request(method, upstream_url + path, timeout=10)
    assert answer.status_code == 404
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}


@pytest.mark.parametrize(
    ("failure", "ending"),
    [
        ("eof_before_headers", b""),
        ({"name": "cut_mid_stream", "after_deltas": 1}, b'"delta":"Gr\xc3\xbc"}\n\n\r\n'),
    ],
)
def test_an_orderly_close_comes_too_early(
    upstream_url: str, control: Control, marker: str, failure: Any, ending: bytes
) -> None:
    control.script(marker, {**HELLO, "failure": failure})
    with raw_request(upstream_url, marker) as sock:
        received = read_all(sock)
    assert received.endswith(ending)
    assert bool(received) == bool(ending)
    assert control.requests(marker)[0]["outcome"] == "cut"


def test_a_body_ends_without_its_last_event(
    upstream_url: str, control: Control, marker: str
) -> None:
    control.script(marker, {**HELLO, "failure": {"name": "eof_mid_stream", "after_deltas": 1}})
    answer = ask(upstream_url, marker)
    assert events(answer.content)[-1]["delta"] == "Grü"


@pytest.mark.parametrize("name", ["reset_before_headers", "reset_mid_stream"])
def test_a_reset_is_abrupt(upstream_url: str, control: Control, marker: str, name: str) -> None:
    control.script(marker, {**HELLO, "failure": name})
    with raw_request(upstream_url, marker) as sock, pytest.raises(ConnectionResetError):
        read_all(sock)
    assert control.requests(marker)[0]["outcome"] == "reset"


@pytest.mark.parametrize("name", ["hang_before_headers", "hang_after_headers", "hang_mid_stream"])
def test_leaving_a_hanging_upstream_is_noticed(
    upstream_url: str, control: Control, marker: str, name: str
) -> None:
    control.script(marker, {**HELLO, "failure": name})
    condition = "arrived" if name == "hang_before_headers" else "headers_sent"
    with raw_request(upstream_url, marker):
        assert control.wait(condition, marker) == 1
        assert control.requests(marker)[0]["finished_ms"] is None
    control.wait("peer_closed", marker)
    control.wait("finished", marker)
    (record,) = control.requests(marker)
    assert record["outcome"] == "peer_closed"
    assert (record["headers_sent_ms"] is None) == (name == "hang_before_headers")


def test_leaving_in_a_long_pause_is_noticed(
    upstream_url: str, control: Control, marker: str
) -> None:
    control.script(marker, {**HELLO, "interval_ms": 3_600_000})
    with raw_request(upstream_url, marker):
        control.wait("headers_sent", marker)
    control.wait("peer_closed", marker)


def test_a_held_response_goes_on_when_released(alone: Upstream) -> None:
    control = alone.control
    marker = alone.play({**HELLO, "hold_before_headers": True, "hold": True})
    answers: list[requests.Response] = []
    asking = threading.Thread(target=lambda: answers.append(ask(alone.url, marker)))
    asking.start()
    control.wait("held", marker)
    assert control.requests(marker)[0]["headers_sent_ms"] is None
    assert control.release(marker) == 1
    control.wait("headers_sent", marker)
    control.wait("held", marker)
    assert control.state()["in_flight"] == 1
    assert control.release(marker) == 1
    asking.join(timeout=10)
    assert text(answers[0].content) == "Grüße ✓"


def test_leaving_a_held_response_is_noticed(
    upstream_url: str, control: Control, marker: str
) -> None:
    control.script(marker, {**HELLO, "hold": "end"})
    with raw_request(upstream_url, marker):
        control.wait("held", marker)
    control.wait("finished", marker)
    assert control.requests(marker)[0]["outcome"] == "peer_closed"
    assert control.release(marker) == 0


def test_waiting_in_vain_times_out(control: Control, marker: str) -> None:
    with pytest.raises(TimeoutError, match="0 of 1 requests arrived"):
        control.wait("arrived", marker, timeout_ms=10)


@pytest.mark.parametrize(
    ("method", "path", "sent", "status"),
    [
        ("POST", "scripts", {"marker": "m", "script": {"oops": 1}}, 400),
        ("POST", "scripts", {"marker": "a b", "script": {}}, 400),
        ("POST", "wait", {"condition": "never"}, 400),
        ("POST", "release", {}, 400),
        ("POST", "release", [], 400),
        ("GET", "nothing", None, 404),
    ],
)
def test_a_wrong_control_request_is_refused(
    upstream_url: str, method: str, path: str, sent: Any, status: int
) -> None:
    url = upstream_url.removesuffix("/v1") + f"/control/{path}"
    answer = requests.request(method, url, json=sent, timeout=10)
    assert answer.status_code == status
    assert answer.json()["error"]


def test_a_control_request_that_is_no_json_is_refused(upstream_url: str) -> None:
    url = upstream_url.removesuffix("/v1") + "/control/reset"
    assert requests.post(url, data=b"{", timeout=10).status_code == 400


def test_in_demo_use_there_is_no_control_and_any_model_is_served() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        fd = listener.fileno()
        command = [
            sys.executable,
            "-m",
            "scripted_upstream",
            "--fd",
            str(fd),
            "--until-stdin-closes",
        ]
        port = listener.getsockname()[1]
        with subprocess.Popen(
            command,
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=[fd],
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            url = json.loads(process.stdout.readline())["url"]
            assert url == f"http://127.0.0.1:{port}/v1"
            state = requests.get(f"http://127.0.0.1:{port}/control/state", timeout=10)
            answer = ask(url, "hello", model="any-model")
            process.stdin.close()
            assert process.wait(timeout=10) == 0
    assert state.status_code == 404
    assert 'You wrote: "say hello"' in text(answer.content)


def test_sigterm_ends_it_at_once_even_while_it_hangs(marker: str) -> None:
    command = [sys.executable, "-m", "scripted_upstream", "--port", "0", "--control"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        url = json.loads(process.stdout.readline())["url"]
        control = Control(url)
        control.script(marker, {"failure": "hang_before_headers"})
        with raw_request(url, marker):
            control.wait("arrived", marker)
            process.terminate()
            assert process.wait(timeout=10) == 0


def test_an_error_of_its_own_is_counted_and_shown() -> None:
    deep: dict[str, Any] = {"type": "object", "properties": {}}
    for _ in range(200):
        deep = {"type": "object", "properties": {"a": deep}}
    nested = json.dumps(body("deep", tools=[{"type": "function", "name": "f", "parameters": deep}]))
    command = [sys.executable, "-c", LOW_RECURSION, "--port", "0", "--control"]
    with subprocess.Popen(
        [*command, "--until-stdin-closes"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        url = json.loads(process.stdout.readline())["url"]
        answer = requests.post(f"{url}/responses", data=nested, timeout=10)
        state = Control(url).state()
        _, complaints = process.communicate(timeout=10)
    assert answer.status_code == 500
    assert (state["errors"], state["in_flight"]) == (1, 0)
    assert "RecursionError" in state["last_errors"][0]
    assert "RecursionError" in complaints


def test_a_prompt_cache_reports_what_the_same_session_sent_before() -> None:
    command = [sys.executable, "-m", "scripted_upstream", "--port", "0", "--control"]
    with subprocess.Popen(
        [*command, "--until-stdin-closes", "--prompt-cache", "300"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        url = json.loads(process.stdout.readline())["url"]
        sent = {**body("x" * 8000), "prompt_cache_key": "one"}
        cached = [
            events(
                requests.post(
                    f"{url}/responses", json=sent, headers={"session-id": session}, timeout=10
                ).content
            )[-1]["response"]["usage"]["input_tokens_details"]["cached_tokens"]
            for session in ("a", "a", "b")
        ]
        state = Control(url).state()
        process.stdin.close()
        assert process.wait(timeout=10) == 0
    assert cached == [0, 1920, 0]
    assert state["cached_tokens"] == 1920
    assert state["bytes_received"] > 3 * 8000
