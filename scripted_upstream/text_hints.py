"""
What a text offers to fill a form with: numbers, quotations, names of places and people. Pure.

These are guesses, made with regular expressions; a clue that was taken is not given twice.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Final

_NUMBER: Final = r"(?<![\w.])-?\d+(?:\.\d+)?(?![\w.]*[A-Za-z_])"
_QUOTED: Final = (
    r"\"[^\"\n]+\"|“[^”\n]+”|«[^»\n]+»|`[^`\n]+`|(?<!\w)'[^'\n]+'(?!\w)|\u2018[^\u2019\n]+\u2019"
)
_PROPER: Final = r"[A-Z][\w&-]*(?:,? [A-Z][\w&-]*)*"
_WORD: Final = r"[^\s.,;:!?()]+"
_VALUE: Final = rf"{_QUOTED}|{_NUMBER}|(?-i:{_PROPER})|{_WORD}"
_CLEAR_VALUE: Final = rf"{_QUOTED}|{_NUMBER}|(?-i:{_PROPER})"
_JOINT: Final = r"(?:\s+(?:is|are|was|to|of|as|be|named|called)\s+|\s*[=:]\s*)"
_AFTER: Final = re.compile(
    rf"\b(?:in|at|for|about|of|to|from|with)\s+(?:(?:the|an?)\s+)?({_WORD}(?: {_WORD}){{0,2}})"
)
_QUOTES: Final = "\"“”«»`'\u2018\u2019"
_ENDS: Final = (".", "!", "?", ":", "\n")
_PREDICATES: Final = (" is ", " was ", " has ", " lives ", " wants ")
_LONGEST: Final = 20_000
"""Characters that are read: more than any form asks for, and never slow."""

_STOP_WORDS: Final = frozenset(
    re.findall(
        r"\w+",
        """
        a an and are as at be by can could do does for from give given get has have how i if in
        into is it its me my of on or our please set so such tell that the their them then there
        these they this to tool function use using used value was we what when which who will with
        would you your returns return
        """,
    )
)


def words(text: str) -> frozenset[str]:
    """Return the words of a text or of an identifier that carry meaning, lower case, without endings."""
    spaced = re.sub(r"([a-z0-9])([A-Z])", r"\1 \2", text)
    found = re.findall(r"[^\W_]+", spaced.lower())
    return frozenset(_stem(word) for word in found if word not in _STOP_WORDS)


def _stem(word: str) -> str:
    for ending in ("ing", "ers", "er", "ed", "es", "s"):
        if word.endswith(ending) and len(word) - len(ending) > 2:  # noqa: PLR2004 - still a word
            return word.removesuffix(ending)
    return word


class Clues:
    """The clues of one text. `not_values` are words that the text only mentions: a form's own fields."""

    def __init__(self, text: str, not_values: Iterable[str] = ()) -> None:
        self.text = text[:_LONGEST]
        self.words = words(self.text)
        taboo = frozenset(not_values)
        self._numbers = re.findall(_NUMBER, self.text)
        self._texts = [
            found for found in dict.fromkeys(_candidates(self.text)) if found not in taboo
        ]

    def __repr__(self) -> str:
        return f"<Clues {len(self._numbers)} numbers, {len(self._texts)} texts>"

    def named(self, name: str, kind: str = _VALUE) -> str | None:
        """Take what the text says under this name: `city: Bern`, `the city is Bern`, `city Bern`."""
        parts = re.findall(r"[^\W_]+", re.sub(r"([a-z0-9])([A-Z])", r"\1 \2", name))
        label = r"[\s_-]*".join(map(re.escape, parts))
        patterns = [rf"\b{label}\b[\"'`]?{_JOINT}({kind})", rf"\b{label}\s+({_CLEAR_VALUE})"]
        if parts and parts[-1].lower() in ("name", "title"):
            patterns.append(rf"\b(?:named|called|titled)\s+({kind})")
        for pattern in patterns if parts else ():
            match = re.search(pattern, self.text, re.IGNORECASE)
            if match:
                return self._take(match[1].strip(_QUOTES))
        return None

    def number(self, fits: Callable[[float], bool]) -> str | None:
        """Take the first number that fits."""
        found = next((number for number in self._numbers if fits(float(number))), None)
        return None if found is None else self._take(found)

    def phrase(self) -> str | None:
        """Take the best quotation or name that is left."""
        return self._take(self._texts[0]) if self._texts else None

    def quotation(self) -> str | None:
        """Return the first quotation, without its quotes; it stays."""
        found = self.matching(_QUOTED)
        return found and found.strip(_QUOTES)

    def matching(self, pattern: str) -> str | None:
        """Return what matches the pattern; it stays."""
        match = re.search(pattern, self.text)
        return match[0] if match else None

    def listed(self, name: str) -> list[str]:
        """Take the members of a list: `tags: red, green and blue`."""
        said = self.named(name, kind=r"[^.;:!?\n]+(?:\.\d+[^.;:!?\n]*)*")
        entries = re.split(r"\s*(?:,|;|\band\b|\bor\b|&)\s*", said or "")
        return [self._take(entry.strip(_QUOTES)) for entry in entries if entry.strip(_QUOTES)]

    def mentions(self, name: str) -> bool:
        """True if every word of a name is in the text."""
        wanted = words(name)
        return bool(wanted) and wanted <= self.words

    def denies(self, name: str) -> bool:
        """True if the text says that there is no such thing."""
        label = r"[\s_-]*".join(map(re.escape, re.findall(r"[^\W_]+", name)))
        negation = rf"\b(?:no|not|without|never|don't|except)\s+(?:\w+\s+){{0,2}}{label}"
        return bool(label) and re.search(negation, self.text, re.IGNORECASE) is not None

    def _take(self, found: str) -> str:
        if found in self._numbers:
            self._numbers.remove(found)
        self._texts = [text for text in self._texts if text not in found and found not in text]
        return found


def _candidates(text: str) -> Iterator[str]:
    """Yield quotations, then names, then what follows a preposition, then words that open a sentence."""
    yield from (found.strip(_QUOTES) for found in re.findall(_QUOTED, text))
    openings = []
    for match in re.finditer(rf"\b{_PROPER}", text):
        before = text[max(0, match.start() - 8) : match.start()].rstrip(f" \t{_QUOTES}")
        is_subject = bool(words(match[0])) and text.startswith(_PREDICATES, match.end())
        if is_subject or (before and not before.endswith(_ENDS)):
            yield match[0]
        else:
            openings.append(match[0])
    told = (found for found in _AFTER.findall(text) if found[0] not in _QUOTES)
    yield from (found for found in told if not re.fullmatch(_NUMBER, found))
    yield from (found for found in openings if words(found))
