"""A child process that is kept alive.

Knows: how to start a program in a session of its own, how to watch it, when to start it again, how to end it for
certain. Does not know: what is said over its pipe (JSON), what it does (codex), HTTP.
"""
