"""JSON-RPC over one connected socket.

Knows: framing (one JSON object a line), ids, deadlines, the waiters. Does not know: codex's methods, how the process
at the other end was started, HTTP. `app.process` is its sibling; neither imports the other.
"""
