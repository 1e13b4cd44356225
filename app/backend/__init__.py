"""Seam between answers and backends: what a turn is, what a backend owes, and who may run a turn when.

Everything above (`answers`, `observability`, `http`, `api`) knows backends only through this package; everything below
(`app.backends`) implements it. It knows neither Flask nor OpenAI's endpoints, nor which backend answers.
"""
