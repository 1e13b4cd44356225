"""Installation of codex on this host: its binary, CODEX_HOME, configuration, login, and which upstream serves.

Knows how a child of codex is to be started, and no child, thread or turn. Does not know OpenAI's wire format, HTTP or
Flask. Used by the commands and by any backend that starts codex.
"""
