"""Patterns of the shapes that are decoded: each says what a text is from its beginning to its end."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from typing import Annotated, Any

import msgspec
import pytest
from msgspec import Meta, Struct

import penstock.domain
from penstock.domain.delivery_policy import DeliveryPolicy
from penstock.domain.names import END


def structs() -> Iterator[type[Struct]]:
    for found in pkgutil.iter_modules(penstock.domain.__path__):
        module = importlib.import_module(f"penstock.domain.{found.name}")
        for value in vars(module).values():
            if isinstance(value, type) and issubclass(value, Struct) and value.__module__ == module.__name__:
                yield value


def patterns_in(info: Any, seen: dict[int, Any]) -> Iterator[str]:
    """Those of a type as `msgspec.inspect` shows it, of its fields, items and members."""
    if id(info) in seen:
        return
    seen[id(info)] = info
    if isinstance(info, msgspec.inspect.StrType) and info.pattern:
        yield info.pattern
    parts = info if isinstance(info, tuple) else ()
    if isinstance(info, (msgspec.inspect.Type, msgspec.inspect.Field)):
        parts = tuple(getattr(info, name) for name in info.__struct_fields__)
    for each in parts:
        yield from patterns_in(each, seen)


PATTERNS = {each for struct in structs() for each in patterns_in(msgspec.inspect.type_info(struct), {})}


def test_the_shapes_have_patterns() -> None:
    assert len(PATTERNS) > 5


@pytest.mark.parametrize("pattern", sorted(PATTERNS))
def test_no_pattern_lets_a_last_line_break_pass(pattern: str) -> None:
    assert not pattern.endswith("$") or pattern.endswith(END)


@pytest.mark.parametrize(("text", "passes"), [("7", True), ("7\n", False), ("\n", False), ("7\n7", False), ("", False)])
def test_the_end_of_a_pattern_is_the_end_of_the_text(text: str, passes: bool) -> None:
    shape = Annotated[str, Meta(pattern="^[0-9]" + END)]
    try:
        found = msgspec.convert(text, shape) == text
    except msgspec.ValidationError:
        found = False
    assert found is passes


@pytest.mark.parametrize("name", ["404\n", "4xx\n", "timeout\n", "404 ", "\n404"])
def test_what_is_no_status_class_or_trouble_has_no_verdict(name: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(msgspec.json.encode({"verdicts": {name: "retry"}}), type=DeliveryPolicy)
