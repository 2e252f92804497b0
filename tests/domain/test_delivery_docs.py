"""docs/delivery.md says what the code does."""

from __future__ import annotations

import re
import time
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest

from penstock.domain import signature
from penstock.domain.delivery import (
    LONGEST_RETRY_AFTER_S,
    SCHEDULES,
    Answer,
    Trouble,
    Verdict,
    judge,
)
from penstock.domain.delivery_policy import LONGEST_S, STANDARD, DeliveryPolicy
from penstock.domain.routing import wanted
from penstock.domain.signature import SigningSecret
from penstock.domain.webhook import request_for
from tests.builders_pipeline import event, plain, route, run_of, webhook

TEXT = (Path(__file__).parents[2] / "docs" / "delivery.md").read_text()
SECRET = signature.made_of("n" * 48)
NOW = 1_764_000_000.0
HUNDREDS = {f"{hundred}xx": range(100 * hundred, 100 * hundred + 100) for hundred in (2, 3, 5)}


def rows() -> list[tuple[str, str]]:
    table = TEXT.partition("## Verdicts")[2].partition("\n*Retry*")[0]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if "|" in line]
    return [(row[0], row[1]) for row in cells[2:]]


def answers(what: str) -> list[Answer]:
    """The answers that a row of the table speaks of."""
    named = [int(number) for number in re.findall(r"\b\d{3}\b", what)]
    if what.startswith("`"):
        return [Answer(None, trouble=Trouble(name)) for name in re.findall(r"`(\w+)`", what)]
    if what == "other 4xx":
        known = {int(number) for row, _ in rows() for number in re.findall(r"\b4\d\d\b", row)}
        return [Answer(status) for status in range(400, 500) if status not in known]
    if " but " in what:
        return [Answer(status) for status in HUNDREDS[what[:3]] if status not in named] + [Answer(100), Answer(999)]
    return [Answer(status) for status in named or HUNDREDS[what]]


@pytest.mark.parametrize(("what", "verdict"), rows())
def test_the_table_of_verdicts_is_true(what: str, verdict: str) -> None:
    assert {judge(answer) for answer in answers(what)} == {Verdict(verdict)}


def test_the_table_of_verdicts_is_whole() -> None:
    spoken_of = [answer for what, _ in rows() for answer in answers(what)]
    assert {answer.trouble for answer in spoken_of} == {None, *Trouble} - {Trouble.NO_ROOM}  # none of the destination
    assert {answer.status for answer in spoken_of} >= set(range(200, 600))


def test_the_waits_are_as_described() -> None:
    assert "after 1 s at first, doubling up to 90 s" in TEXT
    assert SCHEDULES[Verdict.RETRY] == (1, 1, 90)
    assert "43,000 s" in TEXT
    assert LONGEST_RETRY_AFTER_S == 43_000
    assert "four hours unless it says otherwise, and 13 days at most" in TEXT
    assert STANDARD.max_age_s == 4 * 3_600
    assert "`throttled_max_age_s`: a day, or `max_age_s` where that is longer" in TEXT
    assert STANDARD.age_s(is_throttled=True) == 86_400
    assert LONGEST_S == 13 * 86_400


def test_the_example_of_a_policy_is_one() -> None:
    example = TEXT.partition("as `delivery`:\n\n```json\n")[2].partition("```")[0]
    policy = msgspec.json.decode(example, type=DeliveryPolicy)
    assert [judge(Answer(status), policy) for status in (404, 409, 503)] == [
        Verdict.RETRY,
        Verdict.DONE,
        Verdict.DISCARD,
    ]


def test_the_example_checks_the_signature_of_a_real_request() -> None:
    code = TEXT.partition("`X-Signature` is Segment's")[2].partition("```python\n")[2].partition("```")[0]
    example = SimpleNamespace()
    exec(code, example.__dict__)
    run = run_of(event())
    request = request_for(run, run.events[0], webhook(secret="s3cret"), NOW)
    assert request is not None
    given = request.headers["X-Signature"]
    assert example.is_genuine(request.body, given, "s3cret")
    assert not example.is_genuine(request.body + b" ", given, "s3cret")
    assert not example.is_genuine(request.body, given, "other")


def test_the_example_of_standard_webhooks_verifies_a_real_request() -> None:
    code = TEXT.partition("## Signatures")[2].partition("```python\n")[2].partition("```")[0]
    example = SimpleNamespace()
    exec(code, example.__dict__)
    run, now = run_of(event()), time.time()
    replaced = SigningSecret(signature.made_of("o" * 48), now + 60)
    signed = webhook(signing_secrets=(SigningSecret(SECRET), replaced))
    request = request_for(run, run.events[0], signed, now)
    assert request is not None
    assert example.verified(request.body, request.headers, SECRET)["messageId"] == "m-1"
    assert example.verified(request.body, request.headers, replaced.text)
    assert example.verified(request.body + b" ", request.headers, SECRET) is None
    late = request_for(run, run.events[0], signed, now - 600)
    assert late is not None
    assert example.verified(late.body, late.headers, SECRET) is None


def test_the_headers_are_as_described() -> None:
    run = run_of(event())
    request = request_for(run, run.events[0], webhook(secret="s", signing_secrets=(SigningSecret(SECRET),)), NOW)
    assert request is not None
    table = TEXT.partition("| header | |")[2].partition("## Signatures")[0]
    assert set(re.findall(r"^\| `([\w-]+)` \|", table, re.MULTILINE)) == set(request.headers)
    assert f"`{request.headers['User-Agent']}`" in table


def test_the_example_of_integrations_lets_one_destination_alone_through() -> None:
    choice = plain(re.search(r'`(\{"All": false, [^`]+\})`', TEXT)[1].encode())  # type: ignore[index]
    found = wanted(run_of(event(integrations=choice)), [route(name="Webhook A"), route("dst_b", name="Webhook B")])
    assert [len(places) for _, places in found] == [1, 0]
