"""The guide to tracking plans says what the code does."""

from __future__ import annotations

import json
import re
from pathlib import Path

from penstock.adapters import plan_validator
from penstock.domain import bodies, tracking_plan
from penstock.domain.plan_shape import MOST_SCHEMAS
from penstock.domain.tracking_plan import LARGEST, LONGEST_TEXT, MOST_RULES, MOST_WORK, STRICTNESS, NewPlan, findings

GUIDE = (Path(__file__).parents[2] / "docs" / "tracking-plans.md").read_text()


def test_the_plan_of_the_guide_can_be_saved_and_finds_what_the_guide_says() -> None:
    body = re.search(r"-d '(.*?)'\n", GUIDE, re.DOTALL)
    told = re.search(r"```json\n(.*?)```", GUIDE, re.DOTALL)
    assert body and told
    compiled = plan_validator.compiled(tracking_plan.checked(bodies.decode(body[1].encode(), NewPlan)))
    [violation] = json.loads(told[1])["violations"]
    event = {"type": "track", "event": "Order Completed", "properties": {"total": "12"}}
    [found] = [each.finding for each in findings(event, compiled)]
    assert (found.rule, found.path, found.message, found.action) == tuple(
        violation[name] for name in ("rule", "path", "message", "action")
    )


def test_the_guide_names_the_bounds() -> None:
    for number in (MOST_RULES, LARGEST, LONGEST_TEXT, MOST_WORK, MOST_SCHEMAS):
        assert f"{number:,}" in GUIDE, number
    assert ", ".join(f"`{action}`" for action in STRICTNESS) in GUIDE
