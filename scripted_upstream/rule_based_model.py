"""
Answers as a model would, without being one: calls the tool that fits, fills the form, quotes, recalls. Pure.

For clients whose prompts nobody can script beforehand: a script says `"brain": true`. What it knows
is in the request, and everything is decided by the words that prompt, tools and schemas share.
"""

import json
import re
from dataclasses import replace
from typing import Any, Final

from scripted_upstream.conversation import Conversation, read
from scripted_upstream.default_answer import pieces
from scripted_upstream.schema_filler import fill
from scripted_upstream.script import FunctionCall, Item, Message, Reasoning, Response, Usage
from scripted_upstream.text_hints import Clues, words

_LONGEST_QUOTE: Final = 400
_NAME_WEIGHT: Final = 3
_CLOSE_ENOUGH: Final = 3
"""A word of a tool's name, or three words of what it says about itself."""

_THOUGHT: Final = "**Looking for what is asked**"
_SEALED: Final = "sealed-thought"
_MUST_CALL: Final = re.compile(r"\bmust\s+(?:\w+\s+)?(?:call|use)\b", re.IGNORECASE)
_PLEASE_CALL: Final = re.compile(
    r"\b(?:call|us(?:e|ing))\b[^.?!]*\b(?:tools?|functions?)\b", re.IGNORECASE
)
_ANSWER_IN_JSON: Final = re.compile(
    r"\b(?:answer|give|output|produce|reply|respond|result|return)\b[^.\n]{0,60}\bjson\b",
    re.IGNORECASE,
)
_FIELDS: Final = re.compile(r"\b(?:fields?|keys?|members?|property|properties)\b", re.IGNORECASE)
_FIELD: Final = re.compile(r"(?<!is )(?<!: )(?<!= )[`'\"]([A-Za-z_]\w*)[`'\"]")
_FACT: Final = re.compile(
    r"\b(?:my|our|the) ([\w -]{1,40}?) (?:is|are|was) ([^.,;!?\n]+)", re.IGNORECASE
)
_NAME: Final = re.compile(r"(?:\bI am|\bI['\u2019]m|\b[Cc]all me) ([A-Z][\w-]*)")
_ASKED: Final = re.compile(
    r"\b(?:what|which|who|where|when|recall|remember|tell me)\b.*?\b(?:my|our|the) ([\w -]{1,40})",
    re.IGNORECASE,
)
_SAY: Final = re.compile(
    r"\b(?:say|repeat|echo|(?:answer|reply|respond) with)\b"
    r"(?: (?:exactly|only|just|after me|the (?:words?|text)))*:?\s+(\S.*)",
    re.IGNORECASE | re.DOTALL,
)


def think(scripted: Response, request: dict[str, Any]) -> Response:
    """Return the scripted response with items of its own; pace, failures and a given usage stay."""
    conversation = read(request)
    items = (*_thoughts(request), _answer(conversation, request))
    is_counted = scripted.usage != Usage()
    usage = scripted.usage if is_counted else Usage(cached_tokens=conversation.known_tokens)
    return replace(scripted, items=items, usage=usage)


def _thoughts(request: dict[str, Any]) -> tuple[Reasoning, ...]:
    if (request.get("reasoning") or {}).get("summary") in (None, "none"):
        return ()
    is_sealed = "reasoning.encrypted_content" in (request.get("include") or ())
    return (Reasoning(pieces(_THOUGHT), encrypted_content=_SEALED if is_sealed else None),)


def _answer(conversation: Conversation, request: dict[str, Any]) -> Item:
    tool = _chosen_tool(conversation, request)
    if tool is not None:
        return FunctionCall(tool["name"], _json(fill(_parameters(tool), _matter(conversation))))
    schema = _wanted_schema(conversation, request)
    if schema is not None:
        results = " ".join(output for _, output in conversation.results)
        return Message(pieces(_json(fill(schema, f"{conversation.prompt}\n{results}".strip()))))
    return Message(pieces(_reply(conversation)))


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _matter(conversation: Conversation) -> str:
    """What there is to fill a form from."""
    return conversation.prompt or "\n".join(conversation.told)


# Tools


def _chosen_tool(conversation: Conversation, request: dict[str, Any]) -> dict[str, Any] | None:
    """The tool that has to be called, or that the prompt asks for; none once there are results."""
    tools = [tool for tool in request.get("tools") or () if tool.get("type") == "function"]
    choice = request.get("tool_choice")
    if not tools or choice == "none":
        return None
    if isinstance(choice, dict):
        tools, choice = [tool for tool in tools if tool["name"] == choice["name"]], "required"
    orders = [order for order in conversation.orders if _MUST_CALL.search(order)]
    named = [tool for tool in tools if any(_names(order, tool) for order in orders)]
    called = {name for name, _ in conversation.results}
    fresh = [tool for tool in named or tools if tool["name"] not in called]
    # Who has to call something in every round gets on: to the tool that takes the result.
    best: dict[str, Any] = max(
        fresh or named or tools, key=lambda tool: _closeness(tool, conversation.prompt)
    )
    if orders or choice == "required":
        return best
    if conversation.results:
        return None
    is_close = _closeness(best, conversation.prompt) >= _CLOSE_ENOUGH
    return best if is_close or _PLEASE_CALL.search(conversation.prompt) else None


def _names(text: str, tool: dict[str, Any]) -> bool:
    return re.search(rf"(?<![\w-]){re.escape(tool['name'])}(?![\w-])", text) is not None


def _closeness(tool: dict[str, Any], prompt: str) -> int:
    """How much of a tool's name, description and parameters is in the prompt."""
    if _names(prompt, tool):
        return 100
    asked = words(prompt)
    named = words(tool["name"])
    about, _, _ = (tool.get("description") or "").partition("{")
    members = words(_json(_parameters(tool).get("properties", {}))) - _SCHEMA_WORDS
    return _NAME_WEIGHT * len(named & asked) + len(((words(about) | members) - named) & asked)


_SCHEMA_WORDS: Final = words(
    "type string integer number boolean array object properties required description items enum "
    "title default null anyOf"
)


def _parameters(tool: dict[str, Any]) -> dict[str, Any]:
    """The schema of a tool; the whole one, where its description holds that."""
    return _embedded_schema(tool.get("description") or "") or tool.get("parameters") or {}


def _embedded_schema(text: str) -> dict[str, Any] | None:
    for opening in re.finditer(r"\{", text):
        try:
            found, _ = json.JSONDecoder().raw_decode(text, opening.start())
        except ValueError:
            continue
        if isinstance(found, dict) and ({"type", "properties", "$ref", "anyOf"} & set(found)):
            return found
    return None


# Forms


def _wanted_schema(conversation: Conversation, request: dict[str, Any]) -> dict[str, Any] | None:
    """The schema of the answer, if it has to be JSON."""
    wanted = (request.get("text") or {}).get("format") or {}
    if wanted.get("type") == "json_schema":
        schema: dict[str, Any] = wanted["schema"]
        return schema
    asking = (*reversed(conversation.instructions), conversation.prompt)
    asking = tuple(text for text in asking if _ANSWER_IN_JSON.search(text))
    if not asking and wanted.get("type") != "json_object":
        return None
    schemas = (_embedded_schema(text) for text in asking)
    return next(filter(None, schemas), None) or _fields_schema(conversation.prompt)


def _fields_schema(prompt: str) -> dict[str, Any]:
    """An object with the fields that a prompt names: `with 'setup' and 'punchline' keys`."""
    names = _FIELD.findall(prompt) if _FIELDS.search(prompt) else []
    members = {name: {"type": "string"} for name in names or ["answer"]}
    return {"type": "object", "properties": members, "required": list(members)}


# Words


def _reply(conversation: Conversation) -> str:
    seen = conversation.images
    told = [f"I see {seen} picture{'s' * (seen > 1)}."] if seen else []
    told += [f"{name} answered: {_short(output)}" for name, output in conversation.results]
    if not conversation.results:
        told.append(_recalled(conversation) or _repeated(conversation.prompt))
    return " ".join(told)


def _recalled(conversation: Conversation) -> str | None:
    """Something that was said earlier and is asked for now."""
    asked = _ASKED.search(conversation.prompt)
    if asked is None:
        return None
    subject = words(asked[1])
    for text in (*reversed(conversation.told), *conversation.instructions):
        facts = [*_FACT.findall(text), *(("name", name) for name in _NAME.findall(text))]
        for what, value in reversed(facts):
            if subject and words(what) == subject:
                return f"The {what.strip()} is {value.strip()}."
    return None


def _repeated(prompt: str) -> str:
    said = _SAY.search(prompt)
    if said is not None:
        return Clues(said[1]).quotation() or said[1]
    return f"This answers “{_short(prompt)}”." if prompt.strip() else "There was nothing to read."


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST_QUOTE else line[: _LONGEST_QUOTE - 1].rstrip() + "…"
