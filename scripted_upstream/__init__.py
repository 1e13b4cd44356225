"""Scripted Responses upstream: a loopback HTTP server of ours that speaks OpenAI's Responses API.

The gateway's demo, its tests and its benchmark all put this very code in OpenAI's place, as a process of its own:
`python -m scripted_upstream --port 0`. It is a package beside `app`, not a part of the service (ADR-0035).

Knows: OpenAI's wire format, its rules for a request, and the ways in which it fails.
Must not know: the gateway. Nothing here imports `app`, and nothing in `app` imports this; `app.runtime.demo` starts it.

A request gets the script whose marker it holds: `script` says what an answer is, `script_registry` which one it is,
`failures` how it fails. Without a script, or where a script asks for it, `simple_answer` makes one from the request
alone: calls of tools (`tool_choice`), filled schemas (`schema_filler`, `pattern_filler`), else the demo's greeting
(`default_answer`). From answer to bytes: `events`, `envelope`, `timeline`. What OpenAI would refuse is refused first:
`refusals`, `items`, `schemas`. Where it is asked to, `prompt_cache` says which input tokens OpenAI would have cached;
on a WebSocket, `logical_input` says what a request that continues another means. All these are pure. With a socket, a
clock or a store: `server`, `exchange`, `peer`, `websocket`, `recorder`, `control`. `client` is for tests.
"""
