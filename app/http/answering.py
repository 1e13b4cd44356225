"""Beginning of an answer, whatever carries it: a request, or nothing at all. Knows no connection, no Flask context."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from app.answers.answer import Answer
from app.answers.answer_cache import Owner
from app.answers.plan import AnswerPlan
from app.backend.admission import SlotRequest
from app.http.services import Services
from app.observability import labels
from app.observability.requests import RequestRecord
from app.observability.turn_observers import HttpRequestObserver
from app.step_log import step


def begin(
    here: Services,
    record: RequestRecord,
    plan: AnswerPlan,
    *,
    take_place: Callable[[], object] = lambda: None,
    is_patient: bool = False,
    is_whole: bool = False,
) -> Answer:
    """Prepare a plan, wait for its slots and begin its turns. Blocks; raises `GatewayError`.

    `take_place` takes what else the answer needs, once it has its slots. One that `is_patient` waits for them as long
    as an answer may take. `is_whole`: nobody sees a part of it.
    """
    key = record.key_name or ""
    may_be_cut = any(prompt.constraints.may_cut for prompt in plan.prompts)
    pace = replace(here.pace, gathers=True) if is_whole and not may_be_cut else here.pace
    owner = Owner(key, here.engine.backend.account_mark(), plan.resolved.model.id)
    with step("answers.prepare", prompts=len(plan.prompts)):
        plan = here.preparation.prepare(plan, owner)
    note_ignored(record, plan)
    observer = HttpRequestObserver(record, here.metrics, here.traces)
    left_s = record.started + pace.total_s - time.monotonic()
    slot_request = SlotRequest(key, left_s, is_patient)
    with here.engine.admit(plan.count, slot_request, observer) as admitted:
        take_place()
        return Answer.begin(
            plan,
            here.engine,
            admitted,
            pace,
            owner=key,
            observer=observer,
            keeper=here.preparation.keeper(plan, owner),
            run=here.off_loop.run_of(key),
        )


def note_ignored(record: RequestRecord, plan: AnswerPlan) -> None:
    """Note in the record what a plan ignores."""
    record.ignored_parameters = tuple(dict.fromkeys(map(labels.parameter, plan.ignored)))
