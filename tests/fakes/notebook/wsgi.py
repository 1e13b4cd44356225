"""The service with an endpoint that stores what it is given."""

from __future__ import annotations

from flask import Blueprint, request

from app import create_app
from app.answer_store.stored_answer import StoredAnswer
from app.errors import UnknownUrl
from app.http.request_context import current_record
from app.http.services import services

blueprint = Blueprint("notebook", __name__)


def _owner() -> str:
    return current_record().key_name or ""


@blueprint.put("/v1/notes/<note>")
def put_note(note: str) -> dict[str, str]:
    """Store the body; the query names what it continues."""
    stored = StoredAnswer(note, _owner(), 1, request.args.get("before"), request.data, b"[]", b"[]")
    services().answer_store.put(stored)
    return {"stored": note}


@blueprint.get("/v1/notes/<note>")
def get_notes(note: str) -> list[str]:
    """Return a note with all that it continues."""
    found = services().answer_store.chain(_owner(), note)
    if found is None:
        raise UnknownUrl("There is no such note.")
    return [one.answer.decode() for one in found]


app = create_app()
app.register_blueprint(blueprint)
