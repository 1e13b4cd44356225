"""Endpoint of docs/adding-an-endpoint.md: `POST /v1/summaries`, thrown away after its test.

Its field names and end reasons are its own; it streams events with names and no last message.
"""

from tests.fakes.summaries.routes import blueprint

__all__ = ["blueprint"]
