"""Backends: one folder for each way of running codex. `app.backend.protocols` says what each of them owes.

They know codex and its processes; they do not know endpoints, answers or HTTP, and not each other.
"""
