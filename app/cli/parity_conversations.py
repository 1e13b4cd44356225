"""Conversations that `codex parity` replays: the built-in ones, or those of a file. Pure but for reading the file.

A file is a JSON list of objects with a `name` and `steps`. A step has a `path`, and perhaps a `body`, a `method` (POST
with a body, GET without) and `"key": false` (it is sent without one). What only the replay knows is filled in:

* `"$model"`: the model that is asked.
* `{"$answer": "choices.0.message"}`: that value of the answer before; `{"$each": "output"}`, in a list: its entries.
* `{"$results": "4711"}`, in a list: a result with this text for each call of the answer before.
* `{"$repeat": "a", "times": 9000}`: that text so many times.
* `{id}` in a path: the id of the last answer that has one.

A conversation may have an `upstream`: a script for the scripted upstreams behind both sides, and a marker that its
prompt holds. Without such upstreams it is left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from app.cli.parity_streams import Stream

BUILT_IN = Path(__file__).with_name("parity_conversations.json")
_MEMBERS = {"path": str, "method": str, "body": object, "key": bool}
_MAX_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Step:
    """One request. `body` still has its placeholders."""

    path: str
    body: Any = None
    method: str = ""
    key: bool = True


@dataclass(frozen=True, slots=True)
class Conversation:
    """Requests that are sent one after another, to one side.

    `upstream` is what a scripted upstream is told before (`marker`, `script`); None: any upstream will do.
    """

    name: str
    steps: tuple[Step, ...]
    upstream: Mapping[str, Any] | None = None


def read_conversations(path: Path = BUILT_IN) -> tuple[Conversation, ...]:
    """Return the conversations of a file. Raises `ValueError` with what is wrong in it, and `OSError`."""
    data = path.read_bytes()
    if len(data) > _MAX_BYTES:
        raise ValueError(f"{path} has more than {_MAX_BYTES} bytes")
    try:
        given = orjson.loads(data)
    except ValueError as error:
        raise ValueError(f"{path} is no JSON: {error}") from None
    if not isinstance(given, list) or not given:
        raise ValueError(f"{path} must be a list of conversations")
    found = tuple(
        _conversation(each, f"{path}, conversation {at}") for at, each in enumerate(given)
    )
    names = [conversation.name for conversation in found]
    if len(set(names)) != len(names):
        raise ValueError(f"{path} has two conversations of one name")
    return found


def _conversation(given: Any, where: str) -> Conversation:
    known = isinstance(given, dict) and given.keys() - {"upstream"} == {"name", "steps"}
    if not known or not isinstance(given["name"], str) or not isinstance(given["steps"], list):
        raise ValueError(f"{where}: it needs a name, steps, perhaps an upstream, and nothing else")
    upstream = given.get("upstream")
    is_script = isinstance(upstream, dict) and upstream.keys() == {"marker", "script"}
    if "upstream" in given and not (is_script and isinstance(upstream["marker"], str)):
        raise ValueError(f"{where}: an upstream needs a marker, a script, and nothing else")
    steps = [_step(step, f"{where}, step {at}") for at, step in enumerate(given["steps"])]
    if not steps:
        raise ValueError(f"{where}: it has no steps")
    return Conversation(given["name"], tuple(steps), upstream)


def _step(given: Any, where: str) -> Step:
    if not isinstance(given, dict) or not isinstance(given.get("path"), str):
        raise ValueError(f"{where}: it needs a path")  # noqa: TRY004 - of a file, not of an argument
    if not given["path"].startswith("/"):
        raise ValueError(f"{where}: a path begins with /")
    for name, value in given.items():
        if name not in _MEMBERS or not isinstance(value, _MEMBERS[name]):
            raise ValueError(f"{where}: {name} is not known, or of another type")
    return Step(**given)


def filled(template: Any, model: str, answer: Any) -> Any:
    """Return a body with everything filled in. Raises `LookupError` where the answer does not have it."""
    if template == "$model":
        return model
    if isinstance(template, Mapping):
        if template.keys() == {"$answer"}:
            return at_path(answer, template["$answer"])
        if template.keys() == {"$repeat", "times"}:
            return str(template["$repeat"]) * int(template["times"])
        return {name: filled(value, model, answer) for name, value in template.items()}
    if isinstance(template, list):
        return [entry for part in template for entry in _entries(part, model, answer)]
    return template


def _entries(part: Any, model: str, answer: Any) -> Sequence[Any]:
    if isinstance(part, Mapping) and part.keys() == {"$each"}:
        found = at_path(answer, part["$each"])
        if not isinstance(found, list):
            raise LookupError(f"{part['$each']} of the answer is no list")
        return found
    if isinstance(part, Mapping) and part.keys() == {"$results"}:
        return list(_results(answer, part["$results"]))
    return [filled(part, model, answer)]


def _results(answer: Any, text: Any) -> Iterator[dict[str, Any]]:
    """Yield a result for each call of a chat completion or a response."""
    if "output" in answer:
        for item in answer["output"]:
            if item.get("type") == "function_call":
                yield {"type": "function_call_output", "call_id": item["call_id"], "output": text}
        return
    for call in at_path(answer, "choices.0.message").get("tool_calls") or ():
        yield {"role": "tool", "tool_call_id": call["id"], "content": text}


def at_path(value: Any, path: str) -> Any:
    """Return what is at a dotted path. Raises `LookupError`."""
    for name in path.split("."):
        if isinstance(value, list) and name.isdecimal() and int(name) < len(value):
            value = value[int(name)]
        elif isinstance(value, Mapping) and name in value:
            value = value[name]
        else:
            raise LookupError(f"the answer has no {path}")
    return value


def answer_in(payload: Any) -> Any:
    """Return the whole answer in a payload, which of a stream is the response at its end."""
    if isinstance(payload, Stream):
        return payload.joined.get("response") or payload.joined
    return payload
