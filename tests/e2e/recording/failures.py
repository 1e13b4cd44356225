"""Every way in which the scripted upstream fails, whole and as a stream, before anything was seen and after."""

from __future__ import annotations

from tests.e2e.recording.case import Case, chat, say

REFUSALS = (
    "bad_request",
    "context_length_exceeded",
    "invalid_prompt",
    "invalid_api_key",
    "forbidden",
    "model_not_found",
    "rate_limited",
    "usage_limit_reached",
    "insufficient_quota",
    "server_error",
    "bad_gateway",
    "overloaded",
)
"""Answers with an HTTP status in place of a stream."""

BROKEN_STREAMS = (
    "failed_rate_limit_exceeded",
    "failed_insufficient_quota",
    "failed_server_error",
    "failed_invalid_prompt",
    "failed_context_length_exceeded",
    "error_event",
    "reset_mid_stream",
    "eof_mid_stream",
    "cut_mid_stream",
)
"""Streams that end badly."""

BROKEN_CONNECTIONS = ("reset_before_headers", "eof_before_headers")


def _cases() -> list[Case]:
    cases: list[Case] = []
    for failure in (*REFUSALS, *BROKEN_STREAMS, *BROKEN_CONNECTIONS):
        script = {"failure": failure}
        cases += [
            chat(f"upstream: {failure}", script),
            chat(f"upstream: {failure} before a stream", script, stream=True),
        ]
    for failure in BROKEN_STREAMS:
        # Held, so that the client has seen the first delta for certain: else the gateway tries once more.
        broken = say("a", "b", failure={"name": failure, "after_deltas": 1}, hold=True)
        cases.append(
            chat(
                f"upstream: {failure} in a stream",
                broken,
                stream=True,
                lets_go_at='{"content":"a"}',
            )
        )
    return cases


FAILURES = (
    *_cases(),
    chat(
        "upstream: garbage_line", say("a", "b", failure={"name": "garbage_line", "after_deltas": 1})
    ),
    chat("upstream: tried again", [{"failure": "server_error"}, say("x")]),
    chat(
        "upstream: tried again as a stream", [{"failure": "cut_mid_stream"}, say("x")], stream=True
    ),
    chat(
        "upstream: its own words",
        {
            "failure": {
                "name": "bad_request",
                "status": 422,
                "body": {"error": {"message": "No http://x.example/y!", "code": "odd"}},
            }
        },
    ),
)
