"""Errors in the words of the endpoint that was asked, and the choices of a plan."""

from __future__ import annotations

import pytest

from app.answers.constraints import AnswerConstraints
from app.answers.model_names import Resolved
from app.answers.plan import AnswerPlan, Prompt, RequestWords
from app.backend.request import Model, TurnRequest
from app.errors import (
    ContextLengthExceeded,
    GatewayError,
    InvalidRequest,
    RequestPart,
    WorkerUnavailable,
)

WORDS = RequestWords(
    {RequestPart.PROMPT: "input", RequestPart.MODEL: "model"}, too_long="Please shorten the input."
)
RESOLVED = Resolved("m", Model("m", (), "low"), None)


@pytest.mark.parametrize(
    ("error", "param", "message"),
    [
        (InvalidRequest("No.", part=RequestPart.PROMPT), "input", "No."),
        (InvalidRequest("No.", part=RequestPart.TOOLS), None, "No."),  # it has no such field
        (InvalidRequest("No.", param="x[0]", part=RequestPart.PROMPT), "x[0]", "No."),
        (InvalidRequest("No.", param="x"), "x", "No."),
        (WorkerUnavailable("Soon."), None, "Soon."),
        (
            ContextLengthExceeded("Too long.", part=RequestPart.PROMPT),
            "input",
            "Too long. Please shorten the input.",
        ),
    ],
)
def test_an_error_is_put_into_the_endpoint_s_words(
    error: GatewayError, param: str | None, message: str
) -> None:
    for _ in range(2):  # also where it passes twice
        WORDS.put_into(error)
        assert (error.param, error.message) == (param, message)


def test_choices_are_numbered_through_all_prompts() -> None:
    prompts = tuple(
        Prompt(TurnRequest("m", ()), AnswerConstraints(max_tokens=size), n)
        for size, n in ((1, 2), (2, 1), (3, 3))
    )
    plan = AnswerPlan(prompts, WORDS, RESOLVED)
    assert plan.count == 6
    assert [(number, p.constraints.max_tokens) for number, p in plan.choices()] == [
        *[(0, 1)] * 2,
        (1, 2),
        *[(2, 3)] * 3,
    ]
