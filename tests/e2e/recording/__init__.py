"""A recording of everything that anybody outside can see of the gateway, to be compared before and after a refactoring.

A fixed list of requests goes to real gateways (gunicorn, the real codex child, the scripted upstream behind it). What
comes back, what reaches the upstream, the log, the metrics, the settings and the errors become one JSON document, in
which only what no two runs have in common is replaced by a name in angle brackets. `test_recording.py` compares it with
`before.json`. To write that file again, which only a change that the CHANGELOG names is a reason for:

    .venv/bin/python -m tests.e2e.recording

`case` is what one request is; `chats`, `others`, `failures` and `doors` are the tables of them; `gateways` has the
settings, and what is asked in which order. `exchange`, `records` and `scrapes` say what is kept of answers, of the log
and of the metrics, `volatile` what is replaced. `surface` alone knows modules of `app`. `document` puts all together,
`compare` finds what differs between two of them.

Besides what `volatile` names, these are left to the machine: signs of life, how the frames of several choices
mix, what role frames know of the content, the order of methods in `Allow`, whether a killed child is called
`child_recycled` before it is `child_exited`, metrics of health checks that were polled, and
durations and sizes among the metrics.
"""
