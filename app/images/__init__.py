"""Remote images, fetched behind a guard and put into the items of a turn as data URLs.

Knows items, addresses and the network. Must not know Flask, an endpoint, or what answers a turn: the field that an
error names is given by the caller.
"""
