"""How often each rule of a tracking plan was violated, and what the latest events that did so looked like."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from msgspec import Struct

from penstock.domain import schema_tree
from penstock.domain.schema_tree import Node
from penstock.domain.schema_walk import walk
from penstock.domain.tracking_plan import Found

SAMPLES: Final = 3
PATHS_OF_A_SAMPLE: Final = 20
LONGEST_PATH: Final = 200
MOST_RULES_COUNTED: Final = 20  # of one event; past them those that stand first in the alphabet


class Sample(Struct, frozen=True):
    """One event: when it was received, and which kind stood at which path. No values."""

    at: str
    message_id: str
    shape: Mapping[str, str]


class Violation(Struct, frozen=True):
    """One rule, counted; `samples` are the latest, newest first. `path` and `message` are of the newest."""

    count: int
    path: str
    message: str
    action: str
    samples: tuple[Sample, ...]


class ViolationView(Struct, frozen=True):
    """How often the events of one name violated one rule."""

    rule: str
    call: str
    event: str | None
    count: int
    last_seen: str
    path: str
    message: str
    action: str
    samples: tuple[Sample, ...]


class ViolationList(Struct, frozen=True):
    """What the events of a source do against its tracking plan, the most frequent first."""

    violations: list[ViolationView]


def counted(event: Mapping[str, Any], at: str, message_id: str, found: Iterable[Found]) -> dict[str, Violation]:
    """One event's findings; a rule counts once, however many of its values violate it."""
    shape: dict[str, str] | None = None
    counts: dict[str, Violation] = {}
    for finding in (each.finding for each in found):
        if finding.rule not in counts:
            shape = _shape(event) if shape is None else shape
            sample = Sample(at, message_id, shape)
            counts[finding.rule] = Violation(1, finding.path, finding.message, finding.action, (sample,))
    return counts


def joined(one: Mapping[str, Violation], other: Mapping[str, Violation]) -> dict[str, Violation]:
    """Both counts together."""
    rules = sorted(one.keys() | other.keys())[:MOST_RULES_COUNTED]
    return {rule: _both(one.get(rule), other.get(rule)) for rule in rules}


def views(call: str, event: str | None, counts: Mapping[str, Violation]) -> Sequence[ViolationView]:
    return [
        ViolationView(
            rule, call, event, found.count, found.samples[0].at, found.path, found.message, found.action, found.samples
        )
        for rule, found in counts.items()
    ]


def _both(one: Violation | None, other: Violation | None) -> Violation:
    if one is None or other is None:
        found = one or other
        assert found is not None
        return found
    samples = sorted([*one.samples, *other.samples], key=lambda each: (each.at, each.message_id), reverse=True)
    newest = max(one, other, key=lambda each: (each.samples[0].at, each.samples[0].message_id))
    return Violation(one.count + other.count, newest.path, newest.message, newest.action, tuple(samples[:SAMPLES]))


def _shape(event: Mapping[str, Any]) -> dict[str, str]:
    root = Node()
    for section in ("properties", "traits"):
        if section in event:
            walk(root.names.setdefault(section, Node()), event[section], "", "")
    shape: dict[str, str] = {}
    for path, node in schema_tree.places(root):
        if len(shape) == PATHS_OF_A_SAMPLE:
            break
        if len(path) <= LONGEST_PATH:
            shape[path] = "|".join(sorted(node.kinds))
    return shape
