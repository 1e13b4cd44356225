"""Items of conversations, for tests of what a thread holds."""

from __future__ import annotations

from typing import Any

from app.backends.app_server.conversation import Conversation

Item = dict[str, Any]


def asked(text: str, role: str = "user") -> Item:
    content = [{"type": "input_text", "text": text}]
    return {"type": "message", "role": role, "content": content}


def said(*texts: str, **more: Any) -> Item:
    content = [{"type": "output_text", "text": text} for text in texts]
    return {"type": "message", "role": "assistant", "content": content, **more}


def call(arguments: str = "{}", call_id: str = "c1", name: str = "look") -> Item:
    return {"type": "function_call", "name": name, "arguments": arguments, "call_id": call_id}


def output(value: Any = "42", call_id: str = "c1") -> Item:
    return {"type": "function_call_output", "call_id": call_id, "output": value}


def thought(words: str = "sealed", item_id: str = "rs_1") -> Item:
    return {"type": "reasoning", "id": item_id, "summary": [], "encrypted_content": words}


def text_part(text: str) -> Item:
    return {"type": "input_text", "text": text}


def mark(*items: Item) -> bytes:
    conversation = Conversation()
    conversation.extend(items)
    return conversation.mark
