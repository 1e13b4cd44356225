"""Tools that a simple answer calls: those that the request demands, or that its prompt is about. Pure.

Words are compared, nothing is understood. Without an order, tools are called once after each prompt: all those whose
names stand in it, else the one that shares most words with it, in its name or in the first sentence of its
description, else the only tool that there is.
"""

import re
from typing import Any, TypeAlias

Tool: TypeAlias = dict[str, Any]

_MUST_CALL = "must call"
_SHORTEST_WORD = 4
_FIRST_SCRIPT_WITHOUT_SPACES = "\u3040"
"""From here on words are not set apart, so pairs of characters stand for them."""
_WORD = re.compile(r"[^\W_]+")
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
_SENTENCE_END = re.compile(r"[.!?。\n]")
_LONGEST_SENTENCE = 300
_NAME_WEIGHT = 2
_SAYS_NOTHING = frozenset(
    {
        *("about", "answer", "call", "from", "function", "given", "have", "hello", "help"),
        *("here", "make", "need", "please", "some", "tell", "text", "that", "them", "then"),
        *("there", "they", "this", "tool", "user", "using", "want", "what", "when", "where"),
        *("which", "will", "with", "would", "write", "your"),
    }
)


def chosen_tools(
    tools: list[Tool], choice: Any, *, orders: str, prompt: str, has_results: bool
) -> list[Tool]:
    """Return the tools to call now.

    `choice` is the request's `tool_choice`, `orders` are instructions beside the prompt; `has_results` says that a
    call was answered since the prompt.
    """
    if isinstance(choice, dict):
        tools = [tool for tool in tools if tool["name"] == choice.get("name")]
    if not tools or choice == "none":
        return []
    if ordered := [tool for tool in tools if _stands_in(tool["name"], orders)]:
        named = ordered[:1]
    else:
        named = [tool for tool in tools if _stands_in(tool["name"], prompt)] or _nearest(
            tools, prompt
        )
    if choice == "required" or isinstance(choice, dict) or _MUST_CALL in orders:
        return named or tools[:1]
    if has_results:
        return []
    return named or (tools if len(tools) == 1 else [])


def _stands_in(name: str, text: str) -> bool:
    return re.search(rf"\b{re.escape(name)}\b", text, re.IGNORECASE) is not None


def _nearest(tools: list[Tool], prompt: str) -> list[Tool]:
    """Return the first of the tools that share most words with the prompt; none if none shares any."""
    said = _words(prompt)
    shared = [_shared(tool, said) for tool in tools]
    most = max(shared)
    return [tools[shared.index(most)]] if most else []


def _shared(tool: Tool, said: set[str]) -> int:
    description = str(tool.get("description") or "")[:_LONGEST_SENTENCE]
    sentence = _SENTENCE_END.split(description, maxsplit=1)[0]
    return _NAME_WEIGHT * len(_words(tool["name"]) & said) + len(_words(sentence) & said)


def _words(text: str) -> set[str]:
    words: set[str] = set()
    for found in _WORD.findall(_CAMEL.sub(" ", text)):
        word = found.casefold()
        if word[0] >= _FIRST_SCRIPT_WITHOUT_SPACES:
            words |= {word[place : place + 2] for place in range(len(word) - 1)}
        elif len(word) >= _SHORTEST_WORD:
            words.add(word.removesuffix("s"))
    return words - _SAYS_NOTHING
