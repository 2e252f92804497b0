"""What a skipping JSON decoder lets pass or chokes on, found in the text: depth, lone surrogates, endless digits, NaN.

An event is never decoded whole, so each danger has a test that is cheap for every body and exact for the few that look
suspicious. What would make the decoding of a whole batch fail is cut out and marked, so that only its event is refused.
"""

from __future__ import annotations

import json
import re

DEEPEST = 640
LONGEST_INTEGER = 308

TOO_DEEP = "penstock:cut-out:too-deep"
LONE_SURROGATE = "penstock:cut-out:lone-surrogate"
NO_NUMBER = "penstock:cut-out:no-number"

_STRINGS_AND_BRACKETS = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.DOTALL)
_STRINGS_AND_NO_NUMBERS = re.compile(r'"(?:[^"\\]|\\.)*"|(-?Infinity|NaN)', re.DOTALL)
_ESCAPES = re.compile(
    r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"  # a pair: well
    r"|(\\u[dD][89a-fA-F][0-9a-fA-F]{2})"  # half of one
    r"|\\.",
    re.DOTALL,
)
_STRIDE = 40
_DIGITS_IN_A_ROW = b"0" * (LONGEST_INTEGER // _STRIDE)
_DIGIT_OR_NOT = bytes(ord("0") if byte in b"0123456789" else 0 for byte in range(256))


def danger_in(text: bytes, suspect: bool) -> str | None:
    """The code of what valid JSON holds that nobody could read on; `suspect` text may hold marks."""
    if suspect:
        if LONE_SURROGATE.encode() in text:
            return "invalid_unicode"
        if TOO_DEEP.encode() in text:
            return "nested_too_deep"
        if NO_NUMBER.encode() in text:
            return "invalid_number"
    if is_perhaps_deep(text) and is_deep(text.decode()):
        return "nested_too_deep"
    if is_perhaps_endless(text) and has_endless_integer(text.decode()):
        return "invalid_number"
    return None


def is_perhaps_deep(text: bytes) -> bool:
    """Whether there are brackets enough. What is left without them tells it faster than counting."""
    if len(text) <= 2 * DEEPEST:
        return False
    return 2 * len(text) - len(text.replace(b"{", b"")) - len(text.replace(b"[", b"")) > DEEPEST


def is_perhaps_endless(text: bytes) -> bool:
    """Whether a run of more than 308 digits may be in it: such a run is met by each of seven samples in a row."""
    return _DIGITS_IN_A_ROW in text[::_STRIDE].translate(_DIGIT_OR_NOT)


def has_surrogates(text: bytes) -> bool:
    """Whether an escape in JSON text stands for a surrogate. One character is looked for ten times as fast as three."""
    return b"\\" in text and (b"\\ud" in text or b"\\uD" in text)


def is_deep(text: str) -> bool:
    """Whether JSON text nests deeper than allowed."""
    depth = 0
    for found in _STRINGS_AND_BRACKETS.finditer(text):
        mark = found[0]
        if mark in "{[":
            depth += 1
            if depth > DEEPEST:
                return True
        elif mark in "}]":
            depth -= 1
    return False


def has_endless_integer(text: str) -> bool:
    """Whether valid JSON text holds an integer that no double could hold."""
    longest = 0

    def measured(digits: str) -> int:
        nonlocal longest
        longest = max(longest, len(digits.lstrip("-")))
        return 0

    json.loads(text, parse_int=measured)
    return longest > LONGEST_INTEGER


def without_lone_surrogates(text: str) -> str:
    """The text with each half of a surrogate pair replaced by a mark."""
    return _ESCAPES.sub(lambda found: LONE_SURROGATE if found[1] else found[0], text)


def without_no_numbers(text: str) -> str:
    """The text with a mark in place of NaN and Infinity, which JSON does not know and some encoders write."""
    return _STRINGS_AND_NO_NUMBERS.sub(lambda found: f'"{NO_NUMBER}"' if found[1] else found[0], text)


def without_depths(text: str, outer: int) -> str:
    """The text with everything nested deeper than allowed replaced by a mark; `outer` levels are not the event's."""
    kept, depth, kept_to, limit = [], 0, 0, DEEPEST + outer
    for found in _STRINGS_AND_BRACKETS.finditer(text):
        mark = found[0]
        if mark in "{[":
            depth += 1
            if depth == limit + 1:
                kept.append(text[kept_to : found.start()])
        elif mark in "}]":
            if depth == limit + 1:
                kept.append(f'"{TOO_DEEP}"')
                kept_to = found.end()
            depth -= 1
    if depth > limit:
        return text  # never closed: no JSON at all, as its decoder will say
    return "".join([*kept, text[kept_to:]])
