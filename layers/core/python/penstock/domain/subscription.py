"""Subscriptions: the expression (Segment's FQL) that says which events a destination gets."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from penstock.errors import Invalid

LONGEST = 10_000
DEEPEST = 50
LONGEST_NUMBER = 300  # well under the digits that int() refuses

Test = Callable[[Mapping[str, Any]], bool]
Path = tuple[str, ...]

_PLAIN = frozenset({"type", "event", "name", "userId"})
_NESTED = frozenset({"properties", "traits", "context"})
_FUNCTIONS = frozenset({"contains", "match"})
_SYMBOLS = frozenset({"=", "!=", "<", "<=", ">", ">=", "!", "(", ")", ","})
_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_NUMBER = re.compile(r"-?[0-9]+(?P<fraction>(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)")
_QUOTES = "\"'"
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t"}


@dataclass(frozen=True, slots=True)
class Subscription:
    """A parsed expression; two are equal when their texts are."""

    text: str
    fields: frozenset[str] = field(repr=False, compare=False)  # of an event, those that it looks at; no other is needed
    _test: Test = field(repr=False, compare=False)

    def matches(self, event: Mapping[str, Any]) -> bool:
        """Whether the decoded event is one of those asked for. Never raises."""
        return self._test(event)


def parse(text: str) -> Subscription:
    """The expression, ready to be asked. Raises `Invalid`, naming the character (the first is 1) that is wrong."""
    if len(text) > LONGEST:
        raise _refusal(LONGEST, f"the expression is longer than {LONGEST} characters: it goes on")
    parser = _Parser(_tokens(text))
    test = parser.whole()
    return Subscription(text, frozenset(parser.fields), test)


def _refusal(at: int, reason: str) -> Invalid:
    return Invalid("invalid_subscription", f"{reason} at character {at + 1}", "subscription")


class _Token(NamedTuple):
    """`raw` is the token as written, quotes included: a string never equals a keyword or symbol."""

    kind: Literal["word", "string", "number", "symbol", "end"]
    raw: str
    at: int
    path: Path = ()
    string: str = ""
    number: int | float = 0


def _tokens(text: str) -> list[_Token]:
    tokens, at = [], 0
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        tokens.append(_token(text, at))
        at += len(tokens[-1].raw)
    tokens.append(_Token("end", "", at))
    return tokens


def _token(text: str, at: int) -> _Token:
    if text[at] in _QUOTES:
        string, end = _quoted(text, at)
        return _Token("string", text[at:end], at, string=string)
    if number := _NUMBER.match(text, at):
        return _Token("number", number[0], at, number=_number(text, number))
    if _is_in_name(text[at]) or text[at] == "\\":
        path, end = _dotted(text, at)
        return _Token("word", text[at:end], at, path=path)
    for symbol in (text[at : at + 2], text[at]):
        if symbol in _SYMBOLS:
            return _Token("symbol", symbol, at)
    raise _refusal(at, "there is a character that means nothing here")


def _number(text: str, found: re.Match[str]) -> int | float:
    if _is_in_name(text[found.end() : found.end() + 1]):
        raise _refusal(found.end(), "a number runs into a name")
    if len(found[0]) > LONGEST_NUMBER:
        raise _refusal(found.start(), f"there is a number of more than {LONGEST_NUMBER} characters")
    value = float(found[0]) if found["fraction"] else int(found[0])
    if value == math.inf or value == -math.inf:
        raise _refusal(found.start(), "there is a number too large to compare with")
    return value


def _is_in_name(char: str) -> bool:
    return char.isalnum() or char in {"_", "-", "$"}


def _dotted(text: str, at: int) -> tuple[Path, int]:
    """A path and where it ends; every part but the first may be quoted."""
    part, at = _bare(text, at)
    path = [part]
    while text[at : at + 1] == ".":
        at += 1
        quoted = at < len(text) and text[at] in _QUOTES
        part, at = _quoted(text, at) if quoted else _bare(text, at)
        path.append(part)
    return tuple(path), at


def _bare(text: str, at: int) -> tuple[str, int]:
    start = at
    chars: list[str] = []
    while at < len(text) and (text[at] == "\\" or _is_in_name(text[at])):
        char, at = _char(text, at)
        chars.append(char)
    if at == start:
        raise _refusal(at, "a name is expected")
    return "".join(chars), at


def _quoted(text: str, start: int) -> tuple[str, int]:
    at = start + 1
    chars: list[str] = []
    while at < len(text):
        if text[at] == text[start]:
            return "".join(chars), at + 1
        char, at = _char(text, at)
        chars.append(char)
    raise _refusal(start, "there is no end to the quote that begins")


def _char(text: str, at: int) -> tuple[str, int]:
    """One character, after its backslash if it has one, and where the next begins."""
    if text[at] != "\\":
        return text[at], at + 1
    escaped = text[at + 1 : at + 2]
    if not escaped or (escaped.isalnum() and escaped not in _ESCAPES):
        raise _refusal(at, "a backslash escapes nothing known")
    return _ESCAPES.get(escaped, escaped), at + 2


class _Parser:
    """Recursive descent, one method a rule: any = all {or all}; all = one {and one}."""

    def __init__(self, tokens: list[_Token]) -> None:
        self.fields: set[str] = set()
        self._tokens = tokens
        self._next = 0
        self._depth = 0

    def whole(self) -> Test:
        test = self._any()
        self._expect("", "`and`, `or` or the end")
        return test

    def _any(self) -> Test:
        tests = [self._all()]
        while self._accept("or"):
            tests.append(self._all())
        return _either(tests)

    def _all(self) -> Test:
        tests = [self._one()]
        while self._accept("and"):
            tests.append(self._one())
        return _both(tests)

    def _one(self) -> Test:
        if self._peek().raw == "(":
            return self._group()
        if self._accept("!"):
            return self._function(wanted=False)
        if self._peek().raw in _FUNCTIONS:
            return self._function(wanted=True)
        return self._comparison()

    def _group(self) -> Test:
        opening = self._take()
        self._depth += 1
        if self._depth > DEEPEST:
            raise _refusal(opening.at, f"there are more than {DEEPEST} parentheses inside each other")
        test = self._any()
        self._expect(")", "`and`, `or` or `)`")
        self._depth -= 1
        return test

    def _function(self, *, wanted: bool) -> Test:
        name = self._take()
        if name.raw not in _FUNCTIONS:
            raise _refusal(name.at, "`contains` or `match` is expected")
        self._expect("(", "`(`")
        path = self._field()
        self._expect(",", "`,`")
        argument = self._take()
        if argument.kind != "string":
            raise _refusal(argument.at, "a text in quotes is expected")
        self._expect(")", "`)`")
        holds = _contains(argument) if name.raw == "contains" else _match(argument)
        return _of_text(path, holds, wanted=wanted)

    def _comparison(self) -> Test:
        path = self._field()
        sign = self._take()
        if sign.raw not in _OPERATORS:
            raise _refusal(sign.at, "one of `=`, `!=`, `<`, `<=`, `>`, `>=` is expected")
        return _compared(path, sign, self._take())

    def _field(self) -> Path:
        token = self._take()
        path = token.path
        if path and path[0] in (_PLAIN if len(path) == 1 else _NESTED):
            self.fields.add(path[0])
            return path
        raise _refusal(token.at, "type, event, name, userId, properties.*, traits.* or context.* is expected")

    def _peek(self) -> _Token:
        return self._tokens[self._next]

    def _take(self) -> _Token:
        token = self._peek()
        self._next += token.kind != "end"
        return token

    def _accept(self, raw: str) -> bool:
        found = self._peek().raw == raw
        self._next += found
        return found

    def _expect(self, raw: str, what: str) -> None:
        token = self._take()
        if token.raw != raw:
            raise _refusal(token.at, f"{what} is expected")


def _either(tests: list[Test]) -> Test:
    """Any of them; two, the usual case, without a loop. Never nested: an expression may have hundreds."""
    if len(tests) > 2:
        return lambda event: any(test(event) for test in tests)
    one, other = tests[0], tests[-1]
    return one if one is other else lambda event: one(event) or other(event)


def _both(tests: list[Test]) -> Test:
    if len(tests) > 2:
        return lambda event: all(test(event) for test in tests)
    one, other = tests[0], tests[-1]
    return one if one is other else lambda event: one(event) and other(event)


def _reader(path: Path) -> Callable[[Mapping[str, Any]], Any]:
    """Finds the value at the path; absent is None, as null is: no operator tells them apart."""
    first, rest = path[0], path[1:]

    def read(event: Mapping[str, Any]) -> Any:
        value: Any = event.get(first)
        for key in rest:
            if not isinstance(value, dict):
                return None
            value = value.get(key)
        return value

    return read if rest else lambda event: event.get(first)


def _contains(argument: _Token) -> Callable[[str], bool]:
    needle = argument.string
    return lambda text: needle in text


def _match(argument: _Token) -> Callable[[str], bool]:
    pattern = argument.string
    if pattern.count("*") == 1 and pattern.endswith("*"):
        return lambda text: text.startswith(pattern[:-1])
    if pattern.count("*") == 1 and pattern.startswith("*"):
        return lambda text: text.endswith(pattern[1:])
    raise _refusal(argument.at, "one `*`, at the start or at the end, is expected in the pattern")


def _of_text(path: Path, holds: Callable[[str], bool], *, wanted: bool) -> Test:
    read = _reader(path)

    def test(event: Mapping[str, Any]) -> bool:
        value = read(event)
        return isinstance(value, str) and holds(value) is wanted

    return test


def _compared(path: Path, sign: _Token, value: _Token) -> Test:
    if value.kind == "number":
        return _of_number(path, _OPERATORS[sign.raw], value.number)
    if value.raw in {"true", "false"}:
        return _of_truth(path, sign, value.raw == "true")
    if value.kind != "string" and value.raw != "null":
        raise _refusal(value.at, "a text in quotes, a number, true, false or null is expected")
    if sign.raw not in {"=", "!="}:
        raise _refusal(sign.at, "only a number can follow the operator")
    wanted = value.string if value.kind == "string" else None
    return _of_same(path, wanted, equal=sign.raw == "=")


def _of_number(path: Path, compare: Callable[[Any, Any], bool], number: int | float) -> Test:
    read = _reader(path)

    def test(event: Mapping[str, Any]) -> bool:
        value = read(event)
        return isinstance(value, (int, float)) and not isinstance(value, bool) and compare(value, number)

    return test


def _of_truth(path: Path, sign: _Token, wanted: bool) -> Test:
    if sign.raw != "=":
        raise _refusal(sign.at, "only `=` goes with true and false; another operator is")
    read = _reader(path)
    return lambda event: read(event) is wanted


def _of_same(path: Path, wanted: str | None, *, equal: bool) -> Test:
    """Equal to a string, or to null; anything that is not, missing included, is unequal."""
    read = _reader(path)
    return (lambda event: bool(read(event) == wanted)) if equal else (lambda event: bool(read(event) != wanted))
