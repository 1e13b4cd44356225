"""Backend with a codex app-server of its own for each turn: handshake, one thread, one turn, gone.

Knows: how many processes there may be, how they start ahead of demand, and what shows that one can start. Must not
know: endpoints, HTTP. How one process is spoken to it takes from `app.backends.app_server` (ADR-0063).
"""
