"""Description of summaries for the OpenAPI document. Pure."""

from __future__ import annotations

from app.api.described_body import plain_body
from app.http.json_schema import STRING, of, record
from app.http.operation import Content, Operation, answer_or_events
from tests.fakes.summaries.request import SCHEMA

CREATE = Operation(
    body=plain_body(
        "SummaryRequest",
        SCHEMA,
        {
            "text": "What to sum up.",
            "by": "A model's name.",
            "stream": "True for events.",
            "max_words": "The summary is cut at so many tokens.",
        },
        needs=("text",),
    ),
    answers=answer_or_events(
        Content(record(dict.fromkeys(("id", "summary", "end", "model"), STRING)), "Summary"),
        of(record({"piece": STRING}), record({"end": STRING})),
        "SummaryEvent",
    ),
    asks_model=True,
)
