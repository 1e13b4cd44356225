"""What the gateway costs over speaking to the same child directly: `python -m bench`, or `make bench`.

Two load generators, each a process of its own, ask the same questions: one over HTTP through the gateway, one as a
minimal hand-written client of a `codex app-server` of its own. Both children have the same binary, configuration and
environment, and the same scripted upstream behind them. The sides take turns, and every answer is checked.
Knows `app.codex` and `app.backends.app_server` (to start the same child and to say the same to it) and
`scripted_upstream`; nothing in `app` knows this.
"""
