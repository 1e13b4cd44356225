"""What an operator may ask of the maintenance flag, and how each mistake is named."""

from __future__ import annotations

from typing import Any

import pytest

from app.api.internal.maintenance.request import parse_maintenance
from app.errors import InvalidRequest
from app.http.maintenance_flag import Maintenance

NOW = 1_790_000_000.0  # 2026-09-21T14:13:20Z
LATER = "2026-12-01T10:00:00Z"
AT = 1_796_119_200.0

ON: dict[str, Any] = {"enabled": True}


@pytest.mark.parametrize(
    ("body", "order"),
    [
        ({"enabled": True}, Maintenance(True)),
        ({"enabled": False}, Maintenance(False)),
        ({"enabled": False, "reason": "done"}, Maintenance(False, "done")),
        ({"enabled": True, "unknown": [1], "Until": "never"}, Maintenance(True)),
        (
            {"enabled": True, "reason": None, "until": None, "retry_after_s": None},
            Maintenance(True),
        ),
        (ON | {"reason": " We move. "}, Maintenance(True, "We move.")),
        (ON | {"reason": "  "}, Maintenance(True)),
        (ON | {"reason": "é" * 128}, Maintenance(True, "é" * 128)),
        (ON | {"reason": "👩\N{ZERO WIDTH JOINER}🚒 1\N{NO-BREAK SPACE}h"}, None),
        (ON | {"until": LATER}, Maintenance(True, until=AT)),
        (ON | {"until": "2026-12-01T10:00:00+00:00"}, Maintenance(True, until=AT)),
        (ON | {"until": "2026-12-01T10:00:00.5Z"}, Maintenance(True, until=AT + 0.5)),
        (ON | {"until": "20261201T100000Z"}, Maintenance(True, until=AT)),
        (ON | {"until": "2026-12-01T10Z"}, Maintenance(True, until=AT)),
        (ON | {"retry_after_s": 1}, Maintenance(True, retry_after_s=1)),
        (ON | {"retry_after_s": 86_400}, Maintenance(True, retry_after_s=86_400)),
        (
            ON | {"reason": "x", "until": LATER, "retry_after_s": 30},
            Maintenance(True, "x", AT, 30),
        ),
    ],
)
def test_an_order(body: dict[str, Any], order: Maintenance | None) -> None:
    assert parse_maintenance(body, NOW) == (order or Maintenance(True, body["reason"]))


NOT_UTC = "Invalid 'until': expected a time in UTC, like '2026-12-01T10:00:00Z'."
PAST = "Invalid 'until': expected a time in the future."
ONE_LINE = "Invalid 'reason': expected one line without control characters."
RANGE = "Invalid 'retry_after_s': expected a value from 1 to 86400, but got {} instead."
TYPE = "Invalid type for '{}': expected {}, but got {} instead."


@pytest.mark.parametrize(
    ("body", "field", "message"),
    [
        ({}, "enabled", "Missing required parameter: 'enabled'."),
        ({"enabled": None}, "enabled", "Missing required parameter: 'enabled'."),
        ({"reason": "x"}, "enabled", "Missing required parameter: 'enabled'."),
        ({"enabled": "true"}, "enabled", TYPE.format("enabled", "a boolean", "a string")),
        ({"enabled": 1}, "enabled", TYPE.format("enabled", "a boolean", "an integer")),
        (ON | {"reason": 5}, "reason", TYPE.format("reason", "a string", "an integer")),
        (ON | {"reason": ["x"]}, "reason", TYPE.format("reason", "a string", "an array")),
        (
            ON | {"reason": "é" * 129},
            "reason",
            "Invalid 'reason': expected at most 256 bytes of UTF-8, but got 258 instead.",
        ),
        *(
            (ON | {"reason": f"a{character}b"}, "reason", ONE_LINE)
            for character in ("\n", "\r", "\0", "\x1b", "\x85", "\u2028", "\u2029")
        ),
        (ON | {"until": AT}, "until", TYPE.format("until", "a string", "a decimal")),
        *(
            (ON | {"until": text}, "until", NOT_UTC)
            for text in (
                "",
                "tomorrow",
                "2026-12-01",
                "2026-12-01T10:00:00",
                "2026-12-01T10:00:00+01:00",
                "2026-12-01T10:00:00-00:01",
                "2026-13-01T10:00:00Z",
                "2026-12-01T25:00:00Z",
                "9999-12-31T23:59:59.999999Z",
                "1796119200",
            )
        ),
        *(
            (ON | {"until": text}, "until", PAST)
            for text in (
                "2026-09-21T14:13:20Z",
                "2026-09-21T14:13:19Z",
                "0001-01-01T00:00:00Z",
            )
        ),
        *(
            (ON | {"retry_after_s": number}, "retry_after_s", RANGE.format(number))
            for number in (-1, 0, 86_401)
        ),
        (
            ON | {"retry_after_s": "30"},
            "retry_after_s",
            TYPE.format("retry_after_s", "an integer", "a string"),
        ),
        (
            ON | {"retry_after_s": 1.5},
            "retry_after_s",
            TYPE.format("retry_after_s", "an integer", "a decimal"),
        ),
        (
            ON | {"retry_after_s": True},
            "retry_after_s",
            TYPE.format("retry_after_s", "an integer", "a boolean"),
        ),
        (
            {"enabled": False, "until": "yesterday"},
            "until",
            NOT_UTC,
        ),
    ],
)
def test_a_mistake_is_named(body: dict[str, Any], field: str, message: str) -> None:
    with pytest.raises(InvalidRequest) as raised:
        parse_maintenance(body, NOW)
    assert (raised.value.param, raised.value.message) == (field, message)
    assert raised.value.status == 400
