"""Answers: from what an endpoint wants to ask to the pieces that its answer is made of.

Knows turns and models through `app.backend`, and what every endpoint shares; knows neither Flask, nor the fields and
objects of any endpoint, nor which backend answers. `plan.py` is what an endpoint hands down, `answer.py` runs it,
`chunks.py` is what comes up. Everything is pure but what runs turns
(`answer`, `turn_set`) and what keeps something between requests (`prepare`, `reasoning_cache`).
"""
