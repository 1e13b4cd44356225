"""OpenAI's words into codex's and back: what every endpoint shares. Pure.

Knows both vocabularies and nothing else: no I/O, no clock, no randomness, no logging, no Flask. `now` and new ids are
arguments. Everything here is tested from tables.
"""
