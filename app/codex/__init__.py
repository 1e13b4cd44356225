"""Threads and turns, in codex's own words.

Knows: the app-server protocol, codex's configuration, how a turn runs from `thread/start` to `turn/completed`. Does not
know: OpenAI's wire format, HTTP, Flask. Marries its two neighbours below: a child (`app.process`) and a channel
(`app.rpc`) together are a *generation*.
"""
