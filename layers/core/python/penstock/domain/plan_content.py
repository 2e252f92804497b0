"""A plan as it is stored, and as it is shown."""

from __future__ import annotations

import zlib

import msgspec

from penstock.domain.tracking_plan import LARGEST, NewPlan, Plan, PlanVersion, PlanVersionView, PlanView
from penstock.errors import TooLarge

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(NewPlan).decode


def packed(plan: NewPlan) -> bytes:
    """Raises `TooLarge` for a plan that fits no item."""
    content = zlib.compress(_encode(plan), 9)
    if len(content) > LARGEST:
        raise TooLarge("plan_too_large", f"a plan has at most {LARGEST} bytes when it is compressed", "rules")
    return content


def unpacked(content: bytes) -> NewPlan:
    return _decode(zlib.decompress(content))


def size_of(content: bytes) -> int:
    """Bytes of the plan as JSON."""
    return len(zlib.decompress(content))


def view(plan: Plan | PlanVersion, version: int) -> PlanView:
    given = unpacked(plan.content)
    return PlanView(
        version=version,
        name=given.name,
        rules=given.rules,
        unplanned_event=given.unplanned_event,
        unplanned_property=given.unplanned_property,
        violation=given.violation,
        forward_to=given.forward_to,
        created_at=plan.created_at,
    )


def line(plan: PlanVersion) -> PlanVersionView:
    given = unpacked(plan.content)
    return PlanVersionView(version_of(plan), given.name, len(given.rules), plan.created_at)


def version_of(plan: PlanVersion) -> int:
    return int(plan.id.rpartition(".")[2])


def version_id(source_id: str, version: int) -> str:
    """By it versions are listed in order."""
    return f"{source_id}.{version:08d}"
