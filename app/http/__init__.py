"""Flask plumbing that every endpoint shares.

Knows HTTP: keys, bodies, request ids, server-sent events, the error envelope. Does not know what an endpoint means.
"""
