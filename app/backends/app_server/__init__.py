"""Backend with one `codex app-server` child: threads and turns over one JSON-RPC channel.

`backend.py` keeps a child and says which connection serves, `connection.py` is one child with its channel, `threads.py`
is the life of a thread, `turn.py` one turn; `protocol.py` and `parse_events.py` are codex's words, in and out.
"""
