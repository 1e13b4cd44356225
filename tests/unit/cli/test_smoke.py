"""`codex smoke` against every deployment that is not as it should be. No network: `responses` stands for it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import requests
import responses
from click.testing import CliRunner
from responses import RequestsMock

from app.cli.checks import Level, Result, run_checks
from app.cli.exit_codes import CheckFailed
from app.cli.gateway_client import GatewayClient
from app.cli.smoke import address_of, key_from, smoke
from app.cli.smoke_checks import CHECKS, Site

KEY = "sk-smoke-test-key-0123456789"
URL = "https://gateway.example"

Reply = tuple[int, dict[str, str], str]
Twist = Callable[[Any, Reply], Reply]

USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}


def refused(status: int, code: str, *, retryable: bool = False) -> Reply:
    error = {"message": "So.", "type": "x", "param": None, "code": code, "retryable": retryable}
    headers = {"x-should-retry": str(retryable).lower(), "X-Request-Id": "req_1"}
    return status, headers, json.dumps({"error": error})


def completion(upstream: str, **message: Any) -> dict[str, Any]:
    calls = message.get("tool_calls")
    return {
        "object": "chat.completion",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": None, **message},
                "finish_reason": "tool_calls" if calls else "stop",
            }
        ],
        "usage": USAGE,
        "codex_metadata": {"upstream": upstream},
    }


def frames(upstream: str = "openai") -> list[dict[str, Any]]:
    envelope = {"id": "c1", "created": 1, "model": "m", "object": "chat.completion.chunk"}
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}, {"content": "Hi"}, {}]
    made: list[dict[str, Any]] = [
        {**envelope, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
        for delta in deltas
    ]
    made[-1]["choices"][0]["finish_reason"] = "stop"
    made[-1]["codex_metadata"] = {"upstream": upstream}
    return [*made, {**envelope, "choices": [], "usage": USAGE}]


def as_stream(payloads: list[Any]) -> str:
    return "".join(f"data: {json.dumps(p)}\n\n" for p in payloads) + "data: [DONE]\n\n"


class Gateway:
    """A deployment that is as it should be, but for its twists: what to make of the answer on a path."""

    def __init__(self, upstream: str = "openai", **twists: Twist) -> None:
        self.upstream = upstream
        self.calls_tools = upstream != "demo"
        self.twists = twists
        self.seen: list[Any] = []

    def __call__(self, request: requests.PreparedRequest) -> Reply:
        self.seen.append(request)
        path = str(request.path_url)
        reply = self.answer(request, path)
        name = path.rpartition("/")[2].replace("-", "_")
        if (request.headers.get("Authorization") or "") != f"Bearer {KEY}" and "/v1/" in path:
            name = "doors"
        twist = self.twists.get(name)
        return twist(request, reply) if twist else reply

    def answer(self, request: requests.PreparedRequest, path: str) -> Reply:
        known_as = {"X-Request-Id": request.headers.get("X-Request-Id", "req_0")}
        plain: dict[str, Any] = {
            "/livez": {"status": "live"},
            "/readyz": {"status": "ready"},
            "/healthz": {"status": "ok", "reason": None, "versions": {"gateway": "1.2"}},
        }
        if path in plain:
            return 200, known_as, json.dumps(plain[path])
        if request.headers.get("Authorization") != f"Bearer {KEY}":
            return refused(401, "invalid_api_key")
        if path == "/v1/models":
            return 200, known_as, json.dumps({"data": [{"id": "m-1"}, {"id": "m-2"}]})
        if path == "/v1/chat/completions":
            return self.chat(json.loads(request.body or b"{}"))
        status, headers, said = refused(404, "unknown_url")
        return status, headers | known_as, said

    def chat(self, body: dict[str, Any]) -> Reply:
        if body.get("stream"):
            headers = {"Content-Type": "text/event-stream; charset=utf-8"}
            return 200, headers, as_stream(frames(self.upstream))
        said: dict[str, Any] = {"content": "Tuesday, 4711."}
        if "tools" in body and len(body["messages"]) == 1 and self.calls_tools:
            function = {"name": "look_up_code", "arguments": '{"name": "smoke"}'}
            said = {"tool_calls": [{"id": "call_1", "type": "function", "function": function}]}
        return 200, {}, json.dumps(completion(self.upstream, **said))


@pytest.fixture
def network() -> Iterator[RequestsMock]:
    with RequestsMock(assert_all_requests_are_fired=False) as mocked:
        yield mocked


@pytest.fixture
def tried(network: RequestsMock) -> Callable[..., dict[str, Result]]:
    def run(gateway: Gateway, **options: Any) -> dict[str, Result]:
        for method in (responses.GET, responses.POST):
            network.add_callback(method, re.compile(".*"), callback=gateway, content_type=None)
        site = Site(GatewayClient(URL, KEY, 5), **options)
        return {result.name: result for result in run_checks(CHECKS, site)}

    return run


def levels(results: dict[str, Result]) -> dict[str, str]:
    return {name: result.level.value for name, result in results.items()}


ALL_IS_WELL = {check.name: "ok" for check in CHECKS}


def test_all_is_well(tried: Any) -> None:
    gateway = Gateway()
    results = tried(gateway)
    assert levels(results) == ALL_IS_WELL
    assert results["models"].sentence == "2; taking m-1."
    assert results["upstream"].sentence == "openai answers."


def test_the_key_goes_only_where_it_is_needed(tried: Any) -> None:
    gateway = Gateway()
    tried(gateway)
    for request in gateway.seen:
        has_key = request.headers.get("Authorization") == f"Bearer {KEY}"
        assert not (has_key and request.path_url in {"/livez", "/readyz", "/metrics"})
        assert KEY not in request.url


def becomes(*reply: Any) -> Twist:
    return lambda *_: reply


def changed(**more: Any) -> Twist:
    """Change members of the JSON body."""

    def twist(_: Any, reply: Reply) -> Reply:
        return reply[0], reply[1], json.dumps({**json.loads(reply[2]), **more})

    return twist


def only_streams(twist: Twist) -> Twist:
    def twisted(request: Any, reply: Reply) -> Reply:
        return twist(request, reply) if json.loads(request.body).get("stream") else reply

    return twisted


def without_header(name: str) -> Twist:
    return lambda _, reply: (reply[0], {k: v for k, v in reply[1].items() if k != name}, reply[2])


HTML: Reply = (502, {"Content-Type": "text/html"}, "<html>Bad Gateway</html>")

CASES: dict[str, tuple[dict[str, Twist], str, str]] = {
    "another service": ({"livez": changed(status="UP")}, "livez", "not the gateway's"),
    "a proxy's page": (
        {"livez": becomes(*HTML)},
        "livez",
        "502, and the body is no JSON (text/html)",
    ),
    "a redirect": ({"livez": becomes(301, {"Location": "/x"}, "")}, "livez", "another address"),
    "a child in backoff": (
        {"readyz": becomes(503, {}, '{"status": "not_ready", "reason": "backoff"}')},
        "readyz",
        "Not ready: backoff.",
    ),
    "degraded": (
        {"healthz": changed(status="degraded", reason="upstream_auth")},
        "healthz",
        "degraded (upstream_auth)",
    ),
    "no request id": (
        {"smoke_test_no_such_path": without_header("X-Request-Id")},
        "errors",
        "no X-Request-Id",
    ),
    "open to everybody": ({"doors": becomes(200, {}, "{}")}, "doors", "200 with no key"),
    "open metrics": ({"metrics": becomes(200, {}, "up 1")}, "doors", "/metrics is 200"),
    "no envelope": (
        {"smoke_test_no_such_path": becomes(404, {}, "{}")},
        "errors",
        "KeyError: 'error'",
    ),
    "an error of another gateway's": (
        {"smoke_test_no_such_path": becomes(404, {}, '{"error": {"message": "", "code": "x"}}')},
        "errors",
        "404 x where 404 unknown_url belongs",
    ),
    "headers are lost": (
        {"smoke_test_no_such_path": without_header("x-should-retry")},
        "errors",
        "x-should-retry",
    ),
    "the key is refused": (
        {"models": becomes(*refused(401, "invalid_api_key"))},
        "models",
        "401 invalid_api_key: So. (request req_1)",
    ),
    "no models": ({"models": becomes(200, {}, '{"data": []}')}, "models", "empty"),
    "something else as models": ({"models": becomes(200, {}, "[]")}, "models", "TypeError"),
    "no login": (
        {"completions": becomes(*refused(503, "UPSTREAM_AUTH"))},
        "chat",
        "503 UPSTREAM_AUTH: So.",
    ),
    "an empty answer": (
        {"completions": becomes(200, {}, json.dumps(completion("openai", content="")))},
        "chat",
        "The answer says nothing.",
    ),
    "an answer without usage": (
        {"completions": changed(usage=None)},
        "chat",
        "(TypeError: ",
    ),
    "an answer without choices": (
        {"completions": changed(choices=[])},
        "chat",
        "(IndexError: ",
    ),
    "another gateway": (
        {"completions": changed(codex_metadata={})},
        "chat",
        "(KeyError: 'upstream')",
    ),
    "a stream that is cut": (
        {"completions": only_streams(lambda _, r: (200, r[1], r[2].replace("data: [DONE]", "")))},
        "stream",
        "without [DONE]",
    ),
    "a stream that is no stream": (
        {"completions": only_streams(becomes(200, {"Content-Type": "text/html"}, "data: x"))},
        "stream",
        "content type is text/html",
    ),
}


@pytest.mark.parametrize(("twists", "name", "sentence"), CASES.values(), ids=CASES)
def test_what_is_wrong_is_named(tried: Any, twists: Any, name: str, sentence: str) -> None:
    result = tried(Gateway(**twists))[name]
    assert result.level is Level.FAIL
    assert sentence in result.sentence
    assert result.remedy


def test_what_comes_first_keeps_the_rest_from_being_tried(tried: Any, network: Any) -> None:
    results = tried(Gateway(livez=becomes(*HTML)))
    assert levels(results) == ALL_IS_WELL | {
        "livez": "fail",
        **{check.name: "skip" for check in CHECKS[2:]},
    }
    assert results["tools"].sentence == "Not tried: chat comes first."
    assert len(network.calls) == 1


@pytest.mark.parametrize(
    ("failure", "sentence"),
    [
        (requests.ConnectTimeout(), "ConnectTimeout"),
        (requests.ReadTimeout(), "ReadTimeout"),
        (requests.exceptions.SSLError("x"), "SSLError"),
        (requests.exceptions.ProxyError("x"), "ProxyError"),
        (requests.ConnectionError(f"Bearer {KEY}"), "ConnectionError"),
        (requests.exceptions.ChunkedEncodingError("x"), "ChunkedEncodingError"),
    ],
)
def test_nobody_answers(network: RequestsMock, failure: Exception, sentence: str) -> None:
    network.add(responses.GET, f"{URL}/livez", body=failure)
    with pytest.raises(CheckFailed) as found:
        GatewayClient(URL, KEY, 5).send("/livez")
    assert str(found.value) == f"No whole answer from {URL} within 5 seconds: {sentence}."


def test_a_netrc_has_no_say(network: RequestsMock, tmp_path: Any, monkeypatch: Any) -> None:
    (tmp_path / "netrc").write_text("machine gateway.example login me password hunter2\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    gateway = Gateway()
    network.add_callback(responses.GET, re.compile(".*"), callback=gateway, content_type=None)
    GatewayClient(URL, KEY, 5).send("/livez", key="")
    GatewayClient(URL, KEY, 5).send("/v1/models")
    sent = [request.headers.get("Authorization") for request in gateway.seen]
    assert sent == [None, f"Bearer {KEY}"]


# What a deployment may be, and what it must be


def test_the_demo_is_a_warning_or_a_failure(tried: Any) -> None:
    assert levels(tried(Gateway("demo"))) == ALL_IS_WELL | {"upstream": "warn", "tools": "skip"}


def test_the_demo_is_refused_where_a_model_must_answer(tried: Any) -> None:
    assert tried(Gateway("demo"), required=frozenset({"model"}))["upstream"].level is Level.FAIL


@pytest.mark.parametrize(("required", "level"), [((), Level.WARN), (("tool-call",), Level.FAIL)])
def test_a_model_may_answer_in_words(tried: Any, required: tuple[str, ...], level: Level) -> None:
    gateway = Gateway()
    gateway.calls_tools = False
    assert tried(gateway, required=frozenset(required))["tools"].level is level


def test_maintenance_is_a_warning(tried: Any) -> None:
    result = tried(Gateway(healthz=changed(status="maintenance")))["healthz"]
    assert result.level is Level.WARN
    assert "maintenance off" in result.remedy


def test_a_replaced_request_id_is_a_warning(tried: Any) -> None:
    twist: Twist = lambda _, reply: (reply[0], reply[1] | {"X-Request-Id": "other"}, reply[2])  # noqa: E731
    assert tried(Gateway(smoke_test_no_such_path=twist))["errors"].level is Level.WARN


@pytest.mark.parametrize(
    ("address", "required", "level"),
    [
        ("https://a", ("https",), Level.OK),
        ("http://127.0.0.1:1", (), Level.OK),
        ("http://[::1]:1", (), Level.OK),
        ("http://a", (), Level.WARN),
        ("http://127.0.0.1:1", ("https",), Level.FAIL),
    ],
)
def test_tls(address: str, required: tuple[str, ...], level: Level) -> None:
    site = Site(GatewayClient(address, KEY, 1), required=frozenset(required))
    result = next(run_checks(CHECKS, site))
    assert (result.name, result.level) == ("address", level)


@pytest.mark.parametrize(
    ("given", "address"),
    [
        ("http://a:1", "http://a:1"),
        ("https://a/v1/", "https://a"),
        ("https://a/codex/v1", "https://a/codex"),
        ("https://a/", "https://a"),
    ],
)
def test_addresses(given: str, address: str) -> None:
    assert address_of(given) == address


@pytest.mark.parametrize("given", ["a:1", "ftp://a", "https://", "https://k@a", "https://a?x", ""])
def test_what_is_no_address(given: str) -> None:
    with pytest.raises(ValueError, match="an address"):
        address_of(given)


# Streams, frame by frame


def says(payloads: list[Any]) -> Twist:
    return only_streams(lambda _, reply: (200, reply[1], as_stream(payloads)))


def test_a_good_stream(tried: Any) -> None:
    result = tried(Gateway())["stream"]
    assert re.fullmatch(
        r"4 frames, the first after \d+ ms: text, finish, usage, \[DONE\]\.", result.sentence
    )


@pytest.mark.parametrize(
    ("payloads", "sentence"),
    [
        ([*frames()[:2], frames()[3]], "The stream has 0 finish frames."),
        ([*frames()[:3], *frames()[2:]], "The stream has 2 finish frames."),
        (frames()[:3], "The stream's last frame has no usage."),
        ([frames()[0], *frames()[2:]], "The stream says nothing."),
        ([], "The stream says nothing."),
        (["text"], "(TypeError: "),
        ([{}], "(KeyError: 'choices')"),
        (
            [frames()[0], {"error": {"code": "UPSTREAM_ERROR", "message": "No sk-abcdef123."}}],
            "The stream ended with UPSTREAM_ERROR: No [hidden]",
        ),
    ],
)
def test_a_stream_that_is_not_as_it_must_be(tried: Any, payloads: list[Any], sentence: str) -> None:
    result = tried(Gateway(completions=says(payloads)))["stream"]
    assert result.level is Level.FAIL
    assert sentence in result.sentence


@pytest.mark.parametrize(
    ("function", "sentence"),
    [
        ({"name": "other", "arguments": '{"name": "x"}'}, "not the tool that was offered"),
        ({"name": "look_up_code", "arguments": "{}"}, "not the tool that was offered"),
        ({"name": "look_up_code", "arguments": "{torn"}, "(JSONDecodeError: "),
        ({"name": "look_up_code"}, "(KeyError: 'arguments')"),
    ],
)
def test_a_call_that_is_not_as_it_must_be(
    tried: Any, function: dict[str, str], sentence: str
) -> None:
    calls = [{"id": "call_1", "type": "function", "function": function}]

    def twist(request: Any, reply: Reply) -> Reply:
        body = completion("openai", tool_calls=calls)
        return (200, {}, json.dumps(body)) if b'"tools"' in request.body else reply

    result = tried(Gateway(completions=twist))["tools"]
    assert result.level is Level.FAIL
    assert sentence in result.sentence


def test_an_error_is_shown_without_secrets(tried: Any) -> None:
    status, headers, body = refused(500, "INTERNAL_ERROR")
    answer = (status, headers, body.replace("So.", "No sk-abcdef123 here."))
    result = tried(Gateway(completions=becomes(*answer)))["chat"]
    assert result.sentence == "500 INTERNAL_ERROR: No [hidden] here. (request req_1)"
    assert "docs/errors.md" in result.remedy


# The command


def types(*arguments: str, given: str = "", **variables: str) -> Any:
    return CliRunner(env=variables).invoke(smoke, arguments, input=given)


def test_lines_for_a_person(network: RequestsMock) -> None:
    for method in (responses.GET, responses.POST):
        network.add_callback(method, re.compile(".*"), callback=Gateway("demo"), content_type=None)
    done = types(URL, "--key-env", "SOME_KEY", SOME_KEY=KEY)
    assert done.exit_code == 0
    assert re.search(r"^ok      livez +\d+ ms  The process answers\.$", done.output, re.MULTILINE)
    assert re.search(r"^ {32}-> Log in ", done.output, re.MULTILINE)
    assert done.output.splitlines()[-1] == "Passed, with warnings: upstream."
    assert KEY not in done.output


def test_json_for_a_script_and_a_key_from_standard_input(network: RequestsMock) -> None:
    gateway = Gateway(models=becomes(*HTML))
    for method in (responses.GET, responses.POST):
        network.add_callback(method, re.compile(".*"), callback=gateway, content_type=None)
    done = types(URL, "--key-stdin", "--json", given=f"{KEY}\n")
    assert done.exit_code == 1
    found = json.loads(done.output)
    assert (found["passed"], found["url"]) == (False, URL)
    by_name = {check["name"]: check for check in found["checks"]}
    assert by_name["models"]["level"] == "fail"
    assert by_name["livez"]["ms"] >= 0
    assert set(by_name["chat"]) == {"name", "level", "sentence", "remedy", "ms"}


@pytest.mark.parametrize(
    ("arguments", "given", "said"),
    [
        (("nowhere",), "", "This is no address to try"),
        ((URL, "--key-env", "NO_SUCH_KEY"), "", "NO_SUCH_KEY is empty"),
        ((URL, "--key-stdin"), "\n", "Standard input is empty"),
        ((URL, "--key-stdin"), "schlüssel\n", "no header can hold"),
        ((URL, "sk-typed-here"), "", "smoke takes one address"),
        ((URL, "--timeout", "0"), "", "timeout"),
    ],
)
def test_what_is_typed_wrongly_is_said_and_nothing_is_tried(
    arguments: tuple[str, ...], given: str, said: str
) -> None:
    done = types(*arguments, given=given)
    assert done.exit_code == 2
    assert said in done.output
    assert "sk-typed-here" not in done.output


@pytest.mark.parametrize(
    ("name", "address", "was_named", "is_sent"),
    [
        ("OUR_KEY", "http://127.0.0.1:11435", False, True),
        ("OUR_KEY", "https://gateway.example", False, False),
        ("OUR_KEY", "https://gateway.example", True, True),
    ],
)
def test_the_key_of_this_checkout_stays_on_this_host_unless_it_is_named(
    tmp_path: Path, name: str, address: str, was_named: bool, is_sent: bool
) -> None:
    env_file = tmp_path / ".env"
    env_file.write_text(f"OUR_KEY={KEY}\n")
    if is_sent:
        assert key_from(name, address, was_named=was_named, env_file=env_file) == KEY
    else:
        with pytest.raises(click.exceptions.Exit):
            key_from(name, address, was_named=was_named, env_file=env_file)


def test_the_key_of_another_deployment_is_sent_there(tmp_path: Path, monkeypatch: Any) -> None:
    (tmp_path / ".env").write_text("OUR_KEY=another\n")
    monkeypatch.setenv("OUR_KEY", KEY)
    found = key_from("OUR_KEY", URL, was_named=False, env_file=tmp_path / ".env")
    assert found == KEY
