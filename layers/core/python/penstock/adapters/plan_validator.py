"""JSON Schema by jsonschema-rs, with a regular-expression engine whose time is linear, and without any network."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

from penstock.domain.tracking_plan import UNREADABLE, Check, Checked, Compiled, Failure, Json, NewPlan
from penstock.errors import Invalid

if TYPE_CHECKING:
    from types import ModuleType

LATEST: Final = "https://json-schema.org/draft/2020-12/schema"
DRAFT_7: Final = "http://json-schema.org/draft-07/schema"
MOST_ERRORS: Final = 100  # of one event that are looked at
HIDDEN: Final = "the value"


def compiled(plan: NewPlan) -> Compiled:
    """Raises `Invalid` that names the rule which is no schema, or has a pattern that could run away."""
    library = _library()  # 70 ms, which whoever has no plan does not pay
    rules: dict[tuple[str, str | None], Checked] = {}
    for number, rule in enumerate(plan.rules):
        try:
            check = _check(library, rule.schema)
        except (ValueError, RecursionError) as error:
            message, at = f"the rule's schema is refused: {_reason(error)}", f"rules.{number}.schema"
            raise Invalid("invalid_schema", message, at) from None
        rules[rule.type, rule.event] = Checked(rule.schema, check)
    return Compiled(plan, rules)


def unreadable(plan: NewPlan) -> Compiled:
    """In place of a plan that was saved and cannot be compiled any more: every event of it is in violation."""

    def check(_: Json) -> Sequence[Failure]:
        return [Failure((), (), UNREADABLE, "the plan cannot be read")]

    return Compiled(plan, {(rule.type, rule.event): Checked({}, check) for rule in plan.rules})


def _library() -> ModuleType:
    import jsonschema_rs

    return jsonschema_rs


def _check(library: ModuleType, schema: Json) -> Check:
    dialect = str(schema.get("$schema", LATEST)).rstrip("#")
    drafts = {LATEST: library.Draft202012Validator, DRAFT_7: library.Draft7Validator}
    if dialect not in drafts:
        raise ValueError("$schema is neither draft 2020-12 nor draft-07")
    # `(?=…)` and `\\1` need an engine that can run away: the linear one refuses them
    validator = drafts[dialect](schema, pattern_options=library.RegexOptions(), mask=HIDDEN, offline=True)

    def check(event: Json) -> Sequence[Failure]:
        try:
            if validator.is_valid(event):
                return []
            return list(_failures(validator.iter_errors(event)))
        except (ValueError, OverflowError, RecursionError) as error:
            return [Failure((), (), UNREADABLE, f"the event cannot be held against its rule: {type(error).__name__}")]

    return check


def _failures(errors: Iterable[Any]) -> Iterable[Failure]:
    for number, error in enumerate(errors):
        if number == MOST_ERRORS:
            return
        schema_place = tuple(error.schema_path)
        keyword = next((str(step) for step in reversed(schema_place) if isinstance(step, str)), "schema")
        yield Failure(tuple(error.instance_path), schema_place, keyword, error.message)


def _reason(error: Exception) -> str:
    """The first line of what the library says of a schema."""
    return (str(error).splitlines() or [type(error).__name__])[0][:300]
