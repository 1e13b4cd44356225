"""Input items of the Responses API to those that codex injects. Pure.

Order and text are kept exactly. codex takes items of kinds that it does not know and drops them in silence, so every
kind is known here: it is handed on, made of something that codex knows, or refused by its name. What the model has
answered already does not fail: an item of another service that cannot be read there is left out and named.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from app.answers.choice_text import texts_of
from app.answers.field_errors import (
    checked_length,
    invalid_type,
    invalid_value,
    missing,
    required_string,
)
from app.api.compaction import MOST_BYTES, unpacked
from app.api.content import RESPONSE_PARTS, ImageFields, Past, PixelCount, to_content
from app.api.conversation import Conversation
from app.api.search_items import tool_search, web_search
from app.api.tools import ClientTool, arguments_of, function_name, parse_tools
from app.backend.events import COMMENTARY, FINAL_ANSWER
from app.backend.request import Item, developer_item
from app.errors import InvalidRequest

ROOT = "input"
_BEFORE = "previous_response_id"
_SAID = RESPONSE_PARTS.output()
_OF_MODEL = frozenset(
    {
        *("function_call", "custom_tool_call", "reasoning", "web_search_call", "tool_search_call"),
        *("file_search_call", "code_interpreter_call", "computer_call", "image_generation_call"),
        *("local_shell_call", "shell_call", "apply_patch_call", "mcp_call", "mcp_list_tools"),
        "compaction",
    }
)
_SHOWN = 64


def count_answered(items: Sequence[Any]) -> int:
    """Return how many items there are up to the model's last answer; what follows is what it is asked now."""
    for index in range(len(items) - 1, -1, -1):
        item = items[index]
        if isinstance(item, dict) and _is_of_model(item):
            return index + 1
    return 0


def referred(item: Any) -> str | None:
    """Return the id that an item has in the place of everything else, or None. One of reasoning may have a summary."""
    if not isinstance(item, dict) or not isinstance(item.get("id"), str):
        return None
    kind = item.get("type")
    is_bare = kind == "reasoning" and not encrypted_content(item)
    is_reference = kind == "item_reference" or is_bare or set(item) <= {"id", "type"}
    return str(item["id"]) if is_reference else None


def encrypted_content(item: Mapping[str, Any]) -> str:
    """Return what its maker can read of reasoning, else an empty text: that is of no use to anybody."""
    encrypted = item.get("encrypted_content")
    return encrypted if isinstance(encrypted, str) else ""


def input_list(given: Any) -> tuple[Any, ...]:
    """Return the items of an `input`; a text is one message. Raises `InvalidRequest`."""
    if isinstance(given, str):
        return ({"type": "message", "role": "user", "content": checked_length(given, ROOT)},)
    if not isinstance(given, list):
        raise invalid_type(ROOT, "a string or an array of items", given)
    return tuple(given)


def _is_of_model(item: Mapping[str, Any]) -> bool:
    kind = item.get("type")
    return item.get("role") == "assistant" or (isinstance(kind, str) and kind in _OF_MODEL)


class InputReader:
    """Reader of input items, one after the other. `tools` are those that came among the items.

    `references` has the items that an `item_reference`, or reasoning without its content, means, by their ids.
    """

    def __init__(
        self,
        image_fields: ImageFields,
        past: Past,
        count: PixelCount,
        references: Mapping[str, Item] = MappingProxyType({}),
    ) -> None:
        self.conversation = Conversation()
        self.tools: list[ClientTool] = []
        self.ignored: dict[str, None] = {}
        self._present_parts = RESPONSE_PARTS.input(image_fields, count)
        self._past_parts = RESPONSE_PARTS.input(past.images, count)
        self._all_past = past
        self._past: Past | None = None
        self._references = references
        # Each once: a few bytes that stand for a long item could be sent ten thousand times.
        self._referred: set[str] = set()
        # What summaries may still be unpacked to: they are sent as a thousandth of it.
        self._summary_bytes = MOST_BYTES

    def add_all(
        self, items: Sequence[Any], instructions: str | None = None, before: Sequence[Any] = ()
    ) -> tuple[Item, ...]:
        """Read a whole conversation, and return it. Raises `InvalidRequest`.

        `before` are items of answers that were kept. `instructions` are no part of what is kept, and come first.
        """
        if instructions:
            self.conversation.put(developer_item(checked_length(instructions, "instructions")))
        for item in before:
            self.add(item, _BEFORE, is_past=True)
        answered = count_answered(items)
        for index, item in enumerate(items):
            self.add(item, f"{ROOT}[{index}]", is_past=index < answered)
        self.check_answered()
        return tuple(self.conversation.items)

    def add(self, item: Any, where: str, *, is_past: bool) -> None:
        """Read one item. Raises `InvalidRequest`, which names the field."""
        if not isinstance(item, dict):
            raise invalid_type(where, "an object", item)
        self._past = self._all_past if is_past else None
        kind = item.get("type")
        if kind is None:
            kind = _kind_of_untyped(item, where)
        if not isinstance(kind, str):
            raise invalid_type(f"{where}.type", "a string", kind)
        read = _KINDS.get(kind)
        if read is not None:
            read(self, item, where)
        elif is_past and (kind in _OF_OTHERS or ":" in kind):  # an extension is `vendor:kind`
            self._all_past.unread[f"{ROOT}.{kind[:_SHOWN]}"] = None
        else:
            raise _not_served(kind, where)

    def check_answered(self) -> None:
        """Raise `InvalidRequest` if a call has no result: codex would make one up."""
        if waiting := self.conversation.first_open:
            raise InvalidRequest(
                f"No tool output found for function call {waiting.call_id[:80]}.", param=ROOT
            )

    # Messages

    def message(self, item: Mapping[str, Any], where: str) -> None:
        """Read a message of any role."""
        role = item.get("role")
        if role is None:
            raise missing(f"{where}.role")
        if role == "assistant":
            self._said(item, where)
        elif role in ("user", "developer", "system"):
            content = item.get("content")
            if content is None:
                raise missing(f"{where}.content")
            # codex drops a `system` item silently.
            self.conversation.say(
                "user" if role == "user" else "developer", self._content(content, where)
            )
        else:
            raise invalid_value(f"{where}.role", role, ("user", "assistant", "developer", "system"))

    def _content(self, content: Any, where: str, member: str = "content") -> list[dict[str, Any]]:
        table = self._present_parts if self._past is None else self._past_parts
        return to_content(content, f"{where}.{member}", "input_text", table, self._past)

    def _said(self, item: Mapping[str, Any], where: str) -> None:
        content, at = item.get("content"), f"{where}.content"
        if content is None:
            raise missing(at)
        if content == []:  # what some clients make of an answer that was cut off
            return
        parts = to_content(content, at, "output_text", _SAID, self._past)
        phase = item.get("phase")
        known = phase if phase in (COMMENTARY, FINAL_ANSWER) else ""
        if phase is not None and not known:  # codex would refuse the conversation
            self.ignored[f"{ROOT}.phase"] = None
        self.conversation.say("assistant", parts, phase=known)

    # Calls and results

    def function_call(self, item: Mapping[str, Any], where: str) -> None:
        """Read a call of a function."""
        arguments = required_string(item, "arguments", where)
        self._call(item, checked_length(arguments, f"{where}.arguments"), where)

    def custom_tool_call(self, item: Mapping[str, Any], where: str) -> None:
        """Read a call of a custom tool, which the model knows as a function of one text."""
        text = required_string(item, "input", where)
        self._call(item, arguments_of(checked_length(text, f"{where}.input")), where)

    def _call(self, item: Mapping[str, Any], arguments: str, where: str) -> None:
        call_id = required_string(item, "call_id", where)
        namespace = item.get("namespace")
        if namespace is not None and not isinstance(namespace, str):
            raise invalid_type(f"{where}.namespace", "a string", namespace)
        name = function_name(required_string(item, "name", where), namespace)
        # Some clients name the response before and send its calls again with their results.
        if self.conversation.awaits(name, arguments, call_id, _BEFORE):
            return
        self.conversation.call(name, arguments, call_id, where)

    def result(self, item: Mapping[str, Any], where: str) -> None:
        """Read the result of a call: a text, or parts of text and images."""
        upstream_id = self._answered(item, where)
        output = item.get("output")
        if isinstance(output, str):
            checked_length(output, f"{where}.output")
        elif output in (None, []):
            output = ""
        else:
            output = self._content(output, where, "output")
        self.conversation.result(upstream_id, output)

    def _answered(self, item: Mapping[str, Any], where: str) -> str:
        """Return the id upstream of the call that an item answers."""
        call_id = required_string(item, "call_id", where)
        upstream_id = self.conversation.answer(call_id)
        if upstream_id is None:
            raise InvalidRequest(
                f"No tool call found for function call output with call_id {call_id[:80]}.",
                param=ROOT,
            )
        return upstream_id

    # What has no words of the caller

    def reasoning(self, item: Mapping[str, Any], where: str) -> None:
        """Read what the model thought: encrypted under its id, or kept here; else it is of no use to anybody."""
        item_id, encrypted = item.get("id"), encrypted_content(item)
        if not isinstance(item_id, str) or not encrypted:
            kept = self._kept(item_id) if isinstance(item_id, str) else None
            if kept is not None and kept.get("type") == "reasoning" and encrypted_content(kept):
                self.reasoning(kept, where)
            else:
                self.ignored[f"{ROOT}.reasoning"] = None
            return
        checked_length(encrypted, f"{where}.encrypted_content")
        summary = [{"type": "summary_text", "text": it} for it in texts_of(item.get("summary"))]
        self.conversation.put(
            {"type": "reasoning", "id": item_id, "summary": summary, "encrypted_content": encrypted}
        )

    def compaction(self, item: Mapping[str, Any], where: str) -> None:
        """Read what a conversation was compacted to: by this gateway, or by the upstream, which alone can read it."""
        content = required_string(item, "encrypted_content", where)
        checked_length(content, f"{where}.encrypted_content")
        try:
            summary = unpacked(content, self._summary_bytes)
        except ValueError as error:
            raise InvalidRequest(
                f"Invalid '{where}.encrypted_content': it is damaged, or the summaries of the input are too long.",
                param=f"{where}.encrypted_content",
            ) from error
        if summary is not None:
            self._summary_bytes = max(0, self._summary_bytes - len(summary.encode()))
            self.conversation.say("user", [{"type": "input_text", "text": summary}])
            return
        item_id = item.get("id")
        named = {"id": item_id} if isinstance(item_id, str) else {}
        self.conversation.put({"type": "compaction", **named, "encrypted_content": content})

    def reference(self, item: Mapping[str, Any], where: str) -> None:
        """Read a reference to an item that this gateway has kept."""
        item_id = required_string(item, "id", where)
        if item_id in self._referred:  # OpenAI's words
            raise InvalidRequest(
                f"Duplicate item found with id {item_id[:80]}. Remove duplicate items from your input and try again.",
                param=ROOT,
            )
        kept = self._kept(item_id)
        if kept is None:
            raise InvalidRequest(f"Item with id '{item_id[:80]}' not found.", param=ROOT)
        self.add(dict(kept), where, is_past=self._past is not None)

    def _kept(self, item_id: str) -> Item | None:
        """Return the item of an id, the first time that it is asked for."""
        if item_id in self._referred:
            return None
        self._referred.add(item_id)
        return self._references.get(item_id)

    def more_tools(self, item: Mapping[str, Any], where: str) -> None:
        """Read tools that stand among the items."""
        found = parse_tools(item.get("tools"), f"{where}.tools")
        self.tools += found.tools
        self.ignored |= dict.fromkeys(found.ignored)

    def found_tools(self, item: Mapping[str, Any], where: str) -> None:
        """Read the result of a search for tools: they can be called from here on."""
        if item.get("tools") is not None:
            self.more_tools(item, where)
        upstream_id = None if item.get("call_id") is None else self._answered(item, where)
        self.conversation.put(tool_search(item, upstream_id, where))

    def search_for_tools(self, item: Mapping[str, Any], where: str) -> None:
        """Read a search for tools; one of the client's has an id, and its result follows."""
        upstream_id = None
        if item.get("call_id") is not None:
            call_id = required_string(item, "call_id", where)
            upstream_id = self.conversation.expect(call_id, where)
        self.conversation.put(tool_search(item, upstream_id, where))

    def search_of_the_web(self, item: Mapping[str, Any], where: str) -> None:
        """Read a search of the web, of which the upstream knows what it has found."""
        self.conversation.put(web_search(item, where))


_OF_OTHERS = _OF_MODEL | {
    *("computer_call_output", "local_shell_call_output", "shell_call_output"),
    *("apply_patch_call_output", "mcp_approval_response", "mcp_approval_request"),
}
"""Calls and results of tools that no server runs here: where the model has answered them, they are left out."""

_KINDS: Mapping[str, Callable[[InputReader, Mapping[str, Any], str], None]] = MappingProxyType(
    {
        "message": InputReader.message,
        "function_call": InputReader.function_call,
        "function_call_output": InputReader.result,
        "custom_tool_call": InputReader.custom_tool_call,
        "custom_tool_call_output": InputReader.result,
        "reasoning": InputReader.reasoning,
        "compaction": InputReader.compaction,
        "item_reference": InputReader.reference,
        "additional_tools": InputReader.more_tools,
        "web_search_call": InputReader.search_of_the_web,
        "tool_search_call": InputReader.search_for_tools,
        "tool_search_output": InputReader.found_tools,
    }
)


def _kind_of_untyped(item: Mapping[str, Any], where: str) -> str:
    """Return the kind of an item that does not say it: a message, or a reference, as OpenAI reads them."""
    if "role" in item:
        return "message"
    if set(item) <= {"id", "type"} and item.get("id") is not None:
        return "item_reference"
    raise missing(f"{where}.type")


def _not_served(kind: str, where: str) -> InvalidRequest:
    names = ", ".join(f"'{name}'" for name in _KINDS)
    return InvalidRequest(
        f"Unsupported item at '{where}': this gateway cannot pass on items of type '{kind[:_SHOWN]}'. "
        f"Supported types are: {names}.",
        param=f"{where}.type",
        code="unsupported_parameter",
    )
