"""JSON Schema by jsonschema-rs, with a regular-expression engine whose time is linear, and without any network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from penstock.domain import plan_shape, plan_words
from penstock.domain.plan_shape import Shape
from penstock.domain.tracking_plan import UNREADABLE, Checked, Compiled, Failure, Json, NewPlan
from penstock.errors import Invalid

if TYPE_CHECKING:
    from types import ModuleType

LATEST: Final = "https://json-schema.org/draft/2020-12/schema"
DRAFT_7: Final = "http://json-schema.org/draft-07/schema"
HIDDEN: Final = "the value"
SIZES: Final = (10_000, 100_000, 1_000_000, 2_000_000)  # bytes that one compiled pattern takes, at most the last
MOST_PATTERNS: Final = 32_000_000  # bytes that all patterns of a plan take together
LONGEST_CACHE: Final = 256 * 1024  # bytes that a pattern may use beside
BROKEN: Final = (ValueError, OverflowError, RecursionError)  # what the library raises for values that are no JSON


def compiled(plan: NewPlan) -> Compiled:
    """Raises `Invalid` that names the rule which is no schema, or has a pattern that could run away."""
    library = _library()  # 15 ms and 15 MB, which whoever has no plan does not pay
    rules: dict[tuple[str, str | None], Checked] = {}
    patterns: dict[str, Any] = {}
    room = MOST_PATTERNS
    for number, rule in enumerate(plan.rules):
        try:
            plan_shape.require_bounded(rule.schema)
            check = _Check(library, rule.schema)
            for pattern in sorted(plan_shape.patterns_of(rule.schema) - patterns.keys()):
                size, patterns[pattern] = _pattern(library, pattern)
                room -= size
            if room < 0:
                raise ValueError("the patterns of the plan are too large together")
        except BROKEN as error:
            message, at = f"the rule's schema is refused: {_reason(error)}", f"rules.{number}.schema"
            raise Invalid("invalid_schema", message, at) from None
        rules[rule.type, rule.event] = Checked(Shape(rule.schema, _matcher(patterns)), check)
    return Compiled(plan, rules)


def unreadable(plan: NewPlan) -> Compiled:
    """In place of a plan that was saved and cannot be compiled any more: every event of it is in violation."""
    nothing = Checked(Shape({}, _matcher({})), _Unreadable())
    return Compiled(plan, {(rule.type, rule.event): nothing for rule in plan.rules})


class _Check:
    """A validator; what it cannot read is not valid."""

    def __init__(self, library: ModuleType, schema: Json) -> None:
        dialect = str(schema.get("$schema", LATEST)).rstrip("#")
        drafts = {LATEST: library.Draft202012Validator, DRAFT_7: library.Draft7Validator}
        if dialect not in drafts:
            raise ValueError("$schema is neither draft 2020-12 nor draft-07")
        # `(?=…)` and `\\1` need an engine that can run away: the linear one refuses them
        options = library.RegexOptions(size_limit=SIZES[-1], dfa_size_limit=LONGEST_CACHE)
        self._validator = drafts[dialect](schema, pattern_options=options, mask=HIDDEN, offline=True)

    def is_valid(self, event: Json) -> bool:
        try:
            return bool(self._validator.is_valid(event))
        except BROKEN:
            return False

    def failures(self, event: Json) -> Sequence[Failure]:
        try:
            return [_failure(error) for error in self._validator.iter_errors(event)]
        except BROKEN:
            return [Failure((), (), UNREADABLE, "")]


class _Unreadable:
    def is_valid(self, _: Json) -> bool:
        return False

    def failures(self, _: Json) -> Sequence[Failure]:
        return [Failure((), (), UNREADABLE, "")]


def _library() -> ModuleType:
    import jsonschema_rs

    return jsonschema_rs


def _pattern(library: ModuleType, pattern: str) -> tuple[int, Any]:
    """How many bytes a pattern takes, and what matches it. ValueError for one that takes too many."""
    for size in SIZES:
        options = library.RegexOptions(size_limit=size, dfa_size_limit=LONGEST_CACHE)
        try:
            return size, library.Draft202012Validator({"pattern": pattern}, pattern_options=options, offline=True)
        except ValueError:
            continue
    raise ValueError(f"a pattern is too large or needs more than linear time: {pattern[:100]}")


def _matcher(patterns: dict[str, Any]) -> Callable[[str, str], bool]:
    def is_match(pattern: str, name: str) -> bool:
        try:
            return bool(patterns[pattern].is_valid(name))
        except BROKEN:
            return False

    return is_match


def _failure(error: Any) -> Failure:
    kind = error.kind
    keyword = str(kind.name)
    return Failure(
        place=tuple(error.instance_path),
        schema_place=tuple(error.evaluation_path),
        keyword=keyword,
        message=plan_words.said(keyword, getattr(kind, "types", ())),
        names=tuple(kind.unexpected) if keyword in ("additionalProperties", "unevaluatedProperties") else (),
        missing=getattr(kind, "property", None),
    )


def _reason(error: Exception) -> str:
    """The first line of what the library says of a schema."""
    return (str(error).splitlines() or [type(error).__name__])[0][:300]
