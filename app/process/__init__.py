"""Supervision of child processes.

Knows: how to start a program in a session of its own, watch it, restart it after a backoff, replace it without a gap,
and end it for certain. Must not know: what is said over its pipe (JSON), what the program does (codex), gunicorn, HTTP.
"""
