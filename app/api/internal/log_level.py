"""`/internal/log-level`: how much is logged, until the next reload."""

from __future__ import annotations

from flask import Blueprint

from app.answers.field_errors import invalid_type, missing
from app.errors import InvalidRequest
from app.http.body import read_json_object
from app.http.json_schema import STRING, record, words
from app.http.operation import Body, Operation, answer, described
from app.http.services import services
from app.observability import logs

blueprint = Blueprint("log_level", __name__, url_prefix="/internal/log-level")


_LEVEL = words(*logs.LEVELS)
_ANSWER = answer(record({"level": STRING, "configured": _LEVEL}), "LogLevel")


@blueprint.get("")
@described(Operation(answers=_ANSWER))
def show() -> dict[str, str]:
    """Answer with the level of this worker, and the one it started with."""
    return {"level": logs.level(), "configured": services().options.log_level}


@blueprint.post("")
@described(
    Operation(body=Body("LogLevelOrder", {"level": _LEVEL}, needs=("level",)), answers=_ANSWER)
)
def change() -> dict[str, str]:
    """Set the level of this worker; the next one has the configured level again."""
    asked = read_json_object().get("level")
    if asked is None:
        raise missing("level")
    if not isinstance(asked, str):
        raise invalid_type("level", "a string", asked)
    if asked not in logs.LEVELS:
        raise InvalidRequest(
            f"Invalid 'level': expected one of {', '.join(logs.LEVELS)}.", param="level"
        )
    logs.set_level(asked)
    return show()
