"""Observers for operators: logs, metrics, traces. They subscribe to what happens; no lower layer imports them.

Never a prompt, an answer or a key: fields are chosen one by one.
"""
