"""Benchmark of the gateway: `python -m bench`, or `make bench`.

Load generators, each a process of its own, ask the same over HTTP through the gateway, and as hand-written clients of a
`codex app-server` of their own: on cold, warm and kept threads. All children have the same binary, configuration and
environment, and the same scripted upstream behind them, which counts what it finds in its prompt cache. The sides take
turns, and every answer is checked.

`__main__` reads options, `measurements` is one run, `cells` and `loop_cells` are what it is made of, `sides` who is
compared (with `peers` and `relay`), `processes` and `measure` how they are started and watched; `table`, `points` and
`plots` show the result. `starts` measures starts alone; `untuned` makes a child without a part of its tuning. Load
generators are programs: `http_load`, `direct_load`, `exec_load`, over `jobs` (single questions) and `agent_loop`
(conversations).

Knows `app.codex` and `app.backends.app_server` (to start the same child and to say the same to it) and
`scripted_upstream`; nothing in `app` knows this.
"""
