"""Dialect of codex CLIs up to 0.42: `codex proto`, JSON lines in both directions, one conversation for each process.

Knows: its submissions and events, its configuration, what it cannot do. Must not know: how many processes there are,
endpoints, HTTP. What is promised about turns it keeps with `app.backends.app_server.turn` (ADR-0066).
"""
