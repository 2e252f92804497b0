"""The guide to the tracking API says what the code does: its routes, its limits, and every code of an error."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import pytest

from functions.collect.handler import RETRY_AFTER_S, SHORT_NAMES, app
from penstock import errors
from penstock.domain import envelope, event, scan

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "tracking-api.md").read_text()
RAISING = ["layers/core/python/penstock/steps/collect.py", "functions/collect/handler.py"]
TABLE = re.findall(r"^\| `(\w+)` \| (\d+) \| (.+) \|$", GUIDE, re.MULTILINE)


def raised() -> dict[str, int]:
    """Codes that the step and the handler give to an error of the tree themselves, with the error's status."""
    found = {}
    for path in RAISING:
        for node in ast.walk(ast.parse((ROOT / path).read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                kind = getattr(errors, node.func.id, None)
                if isinstance(kind, type) and issubclass(kind, errors.Refused):
                    assert isinstance(node.args[0], ast.Constant), ast.unparse(node)
                    found[str(node.args[0].value)] = kind.status
    return found


def test_every_code_is_in_the_table_once_and_no_other() -> None:
    codes = [code for code, _, _ in TABLE]
    assert len(codes) == len(set(codes))
    assert set(codes) == envelope.CODES.keys() | event.CODES.keys() | raised().keys() | {"unavailable"}


def test_the_step_and_the_handler_raise_codes_of_their_own() -> None:
    assert raised().keys() - envelope.CODES.keys() - event.CODES.keys() == {
        "missing_write_key",
        "unknown_write_key",
        "disabled",
    }


@pytest.mark.parametrize(("code", "status", "when"), TABLE)
def test_a_codes_status_is_that_of_its_error(code: str, status: str, when: str) -> None:
    too_large = {"too_many_events", "body_too_large", "batch_too_wide"}
    others = dict.fromkeys(too_large, 413) | {"unavailable": 503}
    assert int(status) == (raised() | others).get(code, 400)
    assert when.strip()


def test_every_route_is_in_the_guide_and_no_other() -> None:
    section = GUIDE.split("## Routes")[1].split("## ")[0]
    assert set(re.findall(r"/v1/[\w/{}]+", section)) == app.routes.keys() | {"/v1/batch"}


def test_each_short_form_stands_beside_its_long_one() -> None:
    for short, name in SHORT_NAMES.items():
        assert f"| `POST /v1/{name}`, `/v1/{short}` |" in GUIDE


@pytest.mark.parametrize(
    ("limit", "value"),
    [
        ("an event, with", event.LARGEST_EVENT),
        ("a body, inflated", envelope.LARGEST_BODY),
        ("events in a batch", envelope.MOST_EVENTS),
        ("`messageId`", event.LONGEST_MESSAGE_ID),
        ("nesting of an event", scan.DEEPEST),
        ("digits of an integer", scan.LONGEST_INTEGER),
    ],
)
def test_limits_are_those_of_the_code(limit: str, value: int) -> None:
    [row] = [line for line in GUIDE.splitlines() if line.startswith(f"| {limit}")]
    assert f"{value:,}" in row


def test_the_answer_shown_is_one_that_the_code_gives() -> None:
    [shown] = re.findall(r"```json\n(.+)\n```", GUIDE)
    [rejected] = json.loads(shown)["rejected"]
    assert event.CODES[rejected["code"]] == rejected["message"]
    assert f"`Retry-After: {RETRY_AFTER_S}`" in GUIDE
