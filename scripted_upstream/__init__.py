"""
The scripted Responses upstream: a loopback HTTP server that speaks OpenAI's Responses API.

It answers a newcomer's first request when no login exists, stands in for OpenAI in the tests, and
feeds the benchmark; all three run this very code, as a process of its own: `python -m scripted_upstream`.
It knows OpenAI's wire format and its refusals. It must not know the gateway: nothing here imports
another part of `app`, and nothing in `app` imports anything from here.

Pure: `script`, `failures`, `refusals`, `items`, `schemas`, `events`, `timeline`, `greeting`; and `brain`, which answers
where no script can foresee the prompts, with `conversation`, `clues` and `values`.
With a socket, a clock or a store: `peer`, `exchange`, `board`, `recorder`, `control`, `server`.
"""
