"""`/internal/usage`: what each key has used of each model, by day, as JSON or as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from itertools import islice
from typing import Any
from unicodedata import normalize

import orjson
from flask import Blueprint, Response, request

from app.answer_store.usage_counts import MOST_ROWS_READ, Counts, RowName
from app.answers.field_errors import invalid_value
from app.errors import InvalidRequest, StoreFailed
from app.http import long_work
from app.http.json_schema import BOOLEAN, INTEGER, STRING, array, record, told, words
from app.http.operation import Content, Operation, described
from app.http.services import services

blueprint = Blueprint("usage", __name__, url_prefix="/internal/usage")

MOST_DAYS = 3660
_DAYS = 7
_MANY_ROWS = 100
_FORMULA = ("=", "+", "-", "@")
_CSV = "text/csv"

_ROW = record(dict.fromkeys(RowName._fields, STRING) | dict.fromkeys(Counts._fields, INTEGER))
_ANSWER = record({"days": INTEGER, "kept": BOOLEAN, "truncated": BOOLEAN, "rows": array(_ROW)})
_QUERY = {
    "days": told(
        INTEGER | {"minimum": 1, "maximum": MOST_DAYS, "default": _DAYS},
        "How many days (UTC), today included.",
    ),
    "key": told(STRING, "The name of one key."),
    "model": told(STRING, "The id of one model."),
    "format": told(words("json", "csv"), "Without it `Accept` decides; JSON where that does not."),
}


@blueprint.get("")
@described(
    Operation(
        answers={200: (Content(_ANSWER, "UsageByKey"), Content(STRING, media_type=_CSV))},
        query=_QUERY,
        errors=(StoreFailed,),
    )
)
def show() -> Response:
    """Answer with requests, errors and tokens by day, key and model, the newest day first."""
    days, wants_csv = _days(), _wants_csv()
    usage = services().usage
    rows = usage.read(days, request.args.get("key"), request.args.get("model"))
    head = {"days": days, "kept": usage.is_kept, "truncated": len(rows) > MOST_ROWS_READ}
    is_long = len(rows) > _MANY_ROWS
    if not wants_csv:
        body = long_work.run_if(is_long, as_json, head, rows)
        return Response(body, content_type="application/json")
    response = Response(
        long_work.run_if(is_long, as_csv, rows), content_type=f"{_CSV}; charset=utf-8"
    )
    response.headers["Content-Disposition"] = 'attachment; filename="usage.csv"'
    return response


def as_json(head: Mapping[str, Any], rows: Mapping[RowName, Counts]) -> bytes:
    """Return the object with as many rows as are shown."""
    shown = [name._asdict() | counts._asdict() for name, counts in _shown(rows)]
    return orjson.dumps({**head, "rows": shown})


def as_csv(rows: Mapping[RowName, Counts]) -> str:
    """Return the rows as a table that a spreadsheet reads as text and numbers, never as a formula."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow((*RowName._fields, *Counts._fields))
    writer.writerows((*map(_cell, name), *counts) for name, counts in _shown(rows))
    return text.getvalue()


def _shown(rows: Mapping[RowName, Counts]) -> islice[tuple[RowName, Counts]]:
    return islice(rows.items(), MOST_ROWS_READ)


def _cell(text: str) -> str:
    """Return a name as a cell: no beginning of a formula, nothing that is not printed."""
    printable = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
    # A fullwidth sign begins a formula, too.
    is_formula = normalize("NFKC", printable).lstrip().startswith(_FORMULA)
    return f"'{printable}" if is_formula else printable


def _days() -> int:
    """Read how many days are asked for. Raises `InvalidRequest`."""
    given = request.args.get("days", str(_DAYS))
    is_number = given.isascii() and given.isdigit() and len(given) <= len(str(MOST_DAYS))
    if not is_number or not 1 <= int(given) <= MOST_DAYS:
        raise InvalidRequest(
            f"Invalid 'days': expected a whole number from 1 to {MOST_DAYS}.", param="days"
        )
    return int(given)


def _wants_csv() -> bool:
    """Read which format is asked for. Raises `InvalidRequest`."""
    given = request.args.get("format")
    if given is None:
        return request.accept_mimetypes.best_match(["application/json", _CSV]) == _CSV
    if given not in ("json", "csv"):
        raise invalid_value("format", given, ("json", "csv"))
    return given == "csv"
