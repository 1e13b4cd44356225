"""ForwardAuth: a small service that a proxy in front asks, request by request, whether the caller has a key.

It has the gateway's keys and the gateway's words for a refusal, and none of its work: no child, no state, no answer. It
is a process of its own, so that a flood of wrong keys is turned away without the gateway.
"""
