"""The trace buffer: what it tells an operator about real turns, what it never holds, and that nothing depends on it."""

from __future__ import annotations

import json
import signal
import stat
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import requests

from app.observability.trace_files import MAX_AGE_S, MAX_FILES
from tests.e2e.gateway_pool import ADMIN_KEY, EVERY_KEY
from tests.e2e.harness import DEADLINE_S, KEY, Gateway, Upstream, ask, wait_until
from tests.e2e.scrape import scrape, total

DELTA = "item/agentMessage/delta"
STARTED = ["thread/start", "thread/inject_items", "turn/start"]


def listed(gateway: Gateway) -> list[dict[str, Any]]:
    answer = gateway.get("/internal/traces")
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["traces"]
    return found


def traces_of(gateway: Gateway, request_id: str, count: int = 1) -> list[dict[str, Any]]:
    """Wait until a request has so many traces: they are written a moment after the answer."""

    def found() -> list[dict[str, Any]] | None:
        answer = gateway.get(f"/internal/traces/{request_id}")
        traces: list[dict[str, Any]] = answer.json().get("traces", [])
        return traces if len(traces) == count else None

    known: list[dict[str, Any]] = wait_until(found, f"{count} traces of {request_id}")
    return known


def id_of(answer: requests.Response) -> str:
    return answer.headers["X-Request-Id"]


def files(gateway: Gateway) -> list[Path]:
    return sorted((gateway.home / "trace-buffer").glob("*"))


# What a trace tells


def test_a_turn_leaves_its_calls_its_events_and_its_end(
    gateway: Gateway, upstream: Upstream
) -> None:
    answer = gateway.post(ask(upstream.say("a", "b", "c"), stream=True, reasoning_effort="low"))
    (trace,) = traces_of(gateway, id_of(answer))
    finish = json.loads(answer.text.split("data: ")[-2])["codex_metadata"]
    assert (trace["thread_id"], trace["turn_id"]) == (finish["thread_id"], finish["turn_id"])
    assert (trace["outcome"], trace["error_code"], trace["failure"]) == ("completed", None, None)
    assert (trace["route"], trace["stream"], trace["model"]) == (
        "/v1/chat/completions",
        True,
        "gpt-5.5",
    )
    assert trace["items"] == {"message user": 1}
    assert trace["options"]["effort"] == "low"
    assert [call["method"] for call in trace["calls"]] == STARTED
    assert {call["status"] for call in trace["calls"]} == {"ok"}
    assert all(call["sent_bytes"] > 50 and call["received_bytes"] > 10 for call in trace["calls"])
    events = {event["method"]: event for event in trace["events"]}
    assert (events[DELTA]["count"], events["turn/completed"]["count"]) == (3, 1)
    assert 0 < trace["first_event_ms"] <= events[DELTA]["at_ms"] <= trace["duration_ms"]
    assert trace["usage"]["output"] == 3
    assert (trace["kept_thread"], trace["backend"]) == ("first", "app_server")
    assert "content" not in trace
    assert trace["worker_pid"] in {worker.pid for worker in gateway.workers()}


def test_each_choice_has_a_trace_of_its_own(gateway: Gateway, upstream: Upstream) -> None:
    answer = gateway.post(ask(upstream.say("x"), n=3))
    traces = traces_of(gateway, id_of(answer), 3)
    assert len({trace["thread_id"] for trace in traces}) == 3
    assert [trace["at"] for trace in traces] == sorted(trace["at"] for trace in traces)


def test_a_caller_may_choose_the_id_and_use_it_twice(gateway: Gateway, upstream: Upstream) -> None:
    request_id = f"my..own_{uuid4().hex}"
    for _ in range(2):
        requests.post(
            f"{gateway.url}/v1/chat/completions",
            json=ask(upstream.say("x")),
            headers={**gateway.headers, "X-Request-Id": request_id},
            timeout=DEADLINE_S,
        )
    traces_of(gateway, request_id, 2)


def test_a_turn_that_goes_on_with_results_has_a_trace_of_its_own(
    gateway: Gateway, upstream: Upstream
) -> None:
    call = {"type": "function_call", "name": "f", "arguments": "{}", "call_id": "c1"}
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
    said = {"type": "message", "deltas": ["a", "b"]}
    body = ask(upstream.play([{"items": [call]}, {"items": [said]}]), tools=[tool])
    answer = gateway.post(body)
    (trace,) = traces_of(gateway, id_of(answer))
    assert (trace["outcome"], trace["tools"]) == ("abandoned", 1)
    assert "function_call" in {event.get("item") for event in trace["events"]}
    result = {"role": "tool", "tool_call_id": "c1", "content": "42"}
    body["messages"] += [answer.json()["choices"][0]["message"], result]
    (second,) = traces_of(gateway, id_of(gateway.post(body)))
    assert (second["outcome"], second["kept_thread"], second["calls"]) == ("completed", "kept", [])
    assert second["thread_id"] == trace["thread_id"]
    assert second["events"]


def test_a_turn_that_is_cut_short_is_interrupted_in_its_trace(
    gateway: Gateway, upstream: Upstream
) -> None:
    said = {"type": "message", "deltas": ["a", "STOP", "b"]}
    marker = upstream.play({"items": [said], "hold": "deltas"})
    (trace,) = traces_of(gateway, id_of(gateway.post(ask(marker, stop="STOP"))))
    assert [call["method"] for call in trace["calls"]][-2:] == [
        "turn/interrupt",
        "thread/unsubscribe",
    ]


def test_a_failure_is_named(gateway: Gateway, upstream: Upstream) -> None:
    marker = upstream.play({"failure": "rate_limited"})
    answer = gateway.post(ask(marker))
    assert answer.status_code == 429
    (trace,) = traces_of(gateway, id_of(answer))
    assert trace["outcome"] == "failed"
    assert trace["error_code"] == answer.json()["error"]["code"]
    assert trace["failure"]["kind"]
    assert marker not in json.dumps(trace)


def test_a_turn_that_is_tried_again_leaves_two_traces(
    make_gateway: Callable[..., Gateway], upstream: Upstream
) -> None:
    gateway = make_gateway()
    marker = upstream.play({"hold": True, "items": [{"type": "message", "deltas": ["x"]}]})
    with ThreadPoolExecutor() as pool:
        asked = pool.submit(gateway.post, ask(marker))
        upstream.control.wait("arrived", marker)
        gateway.child().kill()
        upstream.control.wait("finished", marker)  # what is held from now on is the second
        upstream.control.wait("held", marker)
        upstream.control.release(marker)
        answer = asked.result(DEADLINE_S)
    first, second = traces_of(gateway, id_of(answer), 2)
    assert (first["outcome"], first["error_code"]) == ("failed", "WORKER_UNAVAILABLE")
    assert (second["outcome"], second["error_code"]) == ("completed", None)
    assert (first["generation"], second["generation"]) == (1, 2)


# The list


def test_the_list_is_newest_first_and_says_what_is_switched_on(
    gateway: Gateway, upstream: Upstream
) -> None:
    ids = []
    for _ in range(3):
        ids.append(id_of(gateway.post(ask(upstream.say("x")))))
        traces_of(gateway, ids[-1])
    body = gateway.get("/internal/traces").json()
    assert (body["enabled"], body["content"]) == (True, False)
    assert [trace["request_id"] for trace in body["traces"][:3]] == ids[::-1]
    newest = body["traces"][0]
    assert (newest["outcome"], newest["has_content"]) == ("completed", False)
    assert 500 < newest["bytes"] < 5000
    assert not {"calls", "events"} & set(newest)


UNKNOWN = [
    "req_nobody",
    "..",
    "%2e%2e",
    "....",
    "*",
    "%00",
    "a" * 3000,
    "%ff",
    "1795818728636-1-1.json",
]


@pytest.mark.parametrize("request_id", UNKNOWN)
def test_an_id_without_a_trace_is_404(gateway: Gateway, request_id: str) -> None:
    """By hand, since a client library would tidy the path."""
    prepared = requests.Request("GET", gateway.url, headers=gateway.headers).prepare()
    prepared.url = f"{gateway.url}/internal/traces/{request_id}"
    with requests.Session() as session:
        answer = session.send(prepared, timeout=DEADLINE_S)
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "TRACE_NOT_FOUND"
    assert answer.json()["error"]["param"] == "request_id"


@pytest.mark.parametrize("path", ["..%2f..%2fauth.json", "%2fetc%2fpasswd", "a/b"])
def test_a_path_is_no_id(gateway: Gateway, path: str) -> None:
    answer = gateway.get(f"/internal/traces/{path}")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "unknown_url")


def test_only_the_admin_key_opens_it(lend_gateway: Callable[..., Gateway]) -> None:
    gateway = lend_gateway(**EVERY_KEY)
    for path in ("/internal/traces", "/internal/traces/req_x"):
        assert gateway.get(path).status_code == 401
        assert gateway.get(path, key=False).status_code == 401
        admin = {"Authorization": f"Bearer {ADMIN_KEY}"}
        answer = requests.get(gateway.url + path, headers=admin, timeout=DEADLINE_S)
        assert answer.status_code in {200, 404}


# Bounds, switches, faults


def test_there_are_a_hundred_at_most_and_others_go_by_age(
    make_gateway: Callable[..., Gateway], upstream: Upstream, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    folder = home / "trace-buffer"
    folder.mkdir(parents=True)

    def put(age_s: float, number: int) -> Path:
        path = folder / f"{int((time.time() - age_s) * 1000):013d}-1-{number:09d}.json"
        path.write_text(json.dumps({"request_id": f"earlier-{number}"}))
        return path

    old = put(MAX_AGE_S + 60, 0)
    kept = [put(3600 - number, number) for number in range(1, MAX_FILES + 1)]
    gateway = make_gateway(CODEX_HOME=str(home))
    wait_until(lambda: not old.exists(), "what is old is gone after the start")
    counted = "codex_trace_buffer_entries"
    wait_until(lambda: total(scrape(gateway), counted) == MAX_FILES, "the others are counted")
    answer = gateway.post(ask(upstream.say("x")))
    traces_of(gateway, id_of(answer))
    wait_until(lambda: not kept[0].exists(), "the oldest made room")
    assert kept[1].exists()
    assert len(list(folder.iterdir())) == MAX_FILES


def test_the_files_are_closed_to_others_and_whole(gateway: Gateway, upstream: Upstream) -> None:
    traces_of(gateway, id_of(gateway.post(ask(upstream.say("x")))))
    folder = gateway.home / "trace-buffer"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for path in files(gateway):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert json.loads(path.read_bytes())["request_id"]


def test_switched_off_nothing_is_written_and_a_reload_switches(
    make_gateway: Callable[..., Gateway], upstream: Upstream
) -> None:
    gateway = make_gateway(PROXY_TRACE_BUFFER="false")
    answer = gateway.post(ask(upstream.say("x")))
    assert gateway.get("/internal/traces").json() == {
        "enabled": False,
        "content": False,
        "traces": [],
    }
    assert gateway.get(f"/internal/traces/{id_of(answer)}").status_code == 404
    assert gateway.stop() == 0  # which would write what waits
    assert files(gateway) == []


def test_both_workers_of_a_reload_write_and_each_can_be_read(
    make_gateway: Callable[..., Gateway], upstream: Upstream
) -> None:
    gateway = make_gateway()
    (old,) = gateway.workers()
    script = {"hold": True, "items": [{"type": "message", "deltas": ["a", "b"]}]}
    markers = [upstream.play(script), upstream.play(script)]
    first = gateway.post(ask(markers[0], stream=True), stream=True)
    gateway.process.send_signal(signal.SIGHUP)
    wait_until(lambda: gateway.events("reload_done"), "the reload is done")
    wait_until(lambda: gateway.events("worker_retires"), "the old worker retires")
    second = gateway.post(ask(markers[1], stream=True), stream=True)
    for marker in markers:
        upstream.control.wait("held", marker)
    upstream.control.release(markers[0])
    assert first.text.endswith("data: [DONE]\n\n")
    wait_until(lambda: not old.is_running(), "the old worker is gone")
    (by_old,) = traces_of(gateway, id_of(first))
    upstream.control.release(markers[1])
    assert second.text.endswith("data: [DONE]\n\n")
    (by_new,) = traces_of(gateway, id_of(second))
    assert by_old["worker_pid"] == old.pid != by_new["worker_pid"]
    assert len(files(gateway)) == 2
    wait_until(lambda: total(scrape(gateway), "codex_trace_buffer_entries") == 2, "both count")


def test_a_turn_that_a_stop_cut_off_is_traced(
    make_gateway: Callable[..., Gateway], upstream: Upstream
) -> None:
    gateway = make_gateway(WORKER_SHUTDOWN_GRACE_MS="100")
    marker = upstream.play({"hold": True, "items": [{"type": "message", "deltas": ["a", "b"]}]})
    with gateway.post(ask(marker, stream=True), stream=True) as answer:
        assert gateway.stop() == 0
        assert "DRAINING" in answer.text
    (path,) = files(gateway)
    trace = json.loads(path.read_bytes())
    assert (trace["outcome"], trace["error_code"]) == ("failed", "DRAINING")


def test_a_folder_that_cannot_be_written_harms_nothing(
    make_gateway: Callable[..., Gateway], upstream: Upstream, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "trace-buffer").write_text("in the way")
    gateway = make_gateway(CODEX_HOME=str(home))
    for _ in range(3):
        assert gateway.post(ask(upstream.say("x"))).status_code == 200
    wait_until(
        lambda: total(scrape(gateway), "codex_overflows_total", queue="trace") == 3, "counted"
    )
    (line,) = gateway.events("traces_not_written")
    assert (line["reason"], line["component"]) == ("ENOTDIR", "traces")
    answer = gateway.get("/internal/traces")
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "INTERNAL_ERROR")
    assert "home" not in answer.text
    (home / "trace-buffer").unlink()
    traces_of(gateway, id_of(gateway.post(ask(upstream.say("x")))))
    (_,) = wait_until(lambda: gateway.events("traces_written_again"), "that is told")
    assert len(gateway.events("traces_not_written")) == 1
    assert gateway.events("unforeseen_error") == []


# What is in a trace, and what is nowhere


def conversation(upstream: Upstream, canary: str) -> dict[str, Any]:
    """A request in which everything that a caller or a model can say has a name of its own."""
    message = {"type": "message", "deltas": [f"{canary}-", "answer"]}
    call = {
        "type": "function_call",
        "name": "find_canary",
        "call_id": "c1",
        "arguments": json.dumps({"key": f"{canary}-argument"}),
    }
    marker = upstream.play({"items": [message, call]})
    body = ask(marker, user=f"{canary}-user", metadata={"m": f"{canary}-metadata"})
    body["messages"] = [
        {"role": "system", "content": f"{canary}-system"},
        {"role": "user", "content": f"{canary}-question [{marker}]"},
        {
            "role": "assistant",
            "tool_calls": [
                {
                    "id": "c0",
                    "type": "function",
                    "function": {"name": "find_canary", "arguments": f'{{"a": "{canary}-old"}}'},
                }
            ],
        },
        {"role": "tool", "tool_call_id": "c0", "content": f"{canary}-result"},
    ]
    schema = {"type": "object", "properties": {f"{canary}_property": {"type": "string"}}}
    body["tools"] = [
        {
            "type": "function",
            "function": {
                "name": "find_canary",
                "description": f"{canary}-description",
                "parameters": schema,
            },
        }
    ]
    return body


def holders(home: Path, *words: str) -> set[str]:
    """Return which files below a folder hold one of the words."""
    found = set()
    for path in home.rglob("*"):
        # codex's links lead to its own binary, outside.
        if path.is_symlink() or not path.is_file():
            continue
        if any(word.encode() in path.read_bytes() for word in words):
            found.add(str(path.relative_to(home)))
    return found


def test_without_content_no_word_and_no_key_is_anywhere_below_codex_home(
    make_gateway: Callable[..., Gateway], upstream: Upstream
) -> None:
    canary, second = f"canary-{uuid4().hex}", f"sk-{uuid4().hex}"
    gateway = make_gateway(PROXY_API_KEYS=f"ann={second}", CODEX_UPSTREAM_API_KEY=f"up-{canary}")
    for stream in (False, True):
        answer = requests.post(
            f"{gateway.url}/v1/chat/completions",
            json={**conversation(upstream, canary), "stream": stream},
            headers={"Authorization": f"Bearer {second}", "X-Other": f"{canary}-header"},
            timeout=DEADLINE_S,
        )
        assert f"{canary}-argument" in answer.text
        traces_of(gateway, id_of(answer))
    assert holders(gateway.home, canary, second, KEY, "find_canary") == set()
    assert gateway.stop() == 0
    assert holders(gateway.home, canary, second, KEY, "find_canary") == set()
    assert canary not in gateway.log_path.read_text()


def test_with_content_words_are_in_the_trace_alone_and_keys_are_nowhere(
    make_gateway: Callable[..., Gateway], upstream: Upstream
) -> None:
    canary, upstream_key = f"canary-{uuid4().hex}", f"sk-{uuid4().hex}"
    gateway = make_gateway(PROXY_TRACE_CONTENT="true", CODEX_UPSTREAM_API_KEY=upstream_key)
    answer = gateway.post(conversation(upstream, canary))
    (trace,) = traces_of(gateway, id_of(answer))
    content = trace["content"]
    prompt = json.dumps(content["prompt"])
    for word in ("system", "question", "old", "result"):
        assert f"{canary}-{word}" in prompt
    assert content["answer"] == f"{canary}-answer"
    (call,) = content["calls"]
    assert json.loads(call["arguments"]) == {"key": f"{canary}-argument"}
    assert f"{canary}-description" in json.dumps(content["tools"])
    for word in ("user", "metadata"):  # never sent on
        assert f"{canary}-{word}" not in json.dumps(trace)
    (path,) = files(gateway)
    assert holders(gateway.home, canary) == {f"trace-buffer/{path.name}"}
    assert holders(gateway.home, KEY, upstream_key) == set()
    assert len(gateway.events("trace_content_kept")) == 1
    assert canary not in gateway.log_path.read_text()
    assert gateway.get("/internal/traces").json()["content"] is True


def test_a_large_prompt_makes_no_large_trace(
    make_gateway: Callable[..., Gateway], upstream: Upstream
) -> None:
    gateway = make_gateway(PROXY_TRACE_CONTENT="true")
    marker = upstream.play({"items": [{"type": "message", "text": "word ", "repeat": 20_000}]})
    body = ask(marker)
    body["messages"] = [
        *({"role": "user", "content": "p" * 5000} for _ in range(200)),
        {"role": "user", "content": f"[{marker}] the last"},
    ]
    answer = gateway.post(body)
    assert answer.status_code == 200
    (trace,) = traces_of(gateway, id_of(answer))
    (path,) = files(gateway)
    assert path.stat().st_size < 64 * 1024
    assert "the last" in json.dumps(trace["content"]["prompt"][-1])
    assert trace["content"]["prompt"][0]["left_out"] > 150
    assert "more characters" in trace["content"]["answer"]
