"""Verdicts and waits: data, and the rules that they have to keep whatever a tool says."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import takewhile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.domain.delivery import (
    BY_TROUBLE,
    LONGEST_RETRY_AFTER_S,
    SCHEDULES,
    Ages,
    Answer,
    Trouble,
    Verdict,
    ages,
    delay_s,
    failure_of,
    is_too_old,
    judge,
    retry_after_s,
)
from penstock.domain.delivery_policy import DeliveryPolicy, OwnVerdict
from penstock.domain.progress import Progress

NOW = datetime(2026, 11, 23, 16, 0, tzinfo=UTC)
CHANCES = st.floats(0, 1, exclude_max=True)


@pytest.mark.parametrize(
    ("statuses", "verdict"),
    [
        ((200, 201, 202, 204, 299), Verdict.DONE),
        ((408, 423, 429, 500, 502, 503, 504, 520, 599), Verdict.RETRY),
        ((401, 403), Verdict.CREDENTIALS),
        ((301, 302, 303, 307, 308), Verdict.ADDRESS),
        ((400, 404, 405, 409, 410, 413, 418, 422, 451, 501), Verdict.DISCARD),
        ((100, 101, 600, 999, 0), Verdict.RETRY),
    ],
)
def test_a_status_decides(statuses: tuple[int, ...], verdict: Verdict) -> None:
    assert {judge(Answer(status)) for status in statuses} == {verdict}


def test_no_answer_is_never_the_end_of_an_event() -> None:
    assert set(BY_TROUBLE) == set(Trouble)
    assert {judge(Answer(None, trouble=trouble)) for trouble in Trouble} == {Verdict.RETRY, Verdict.ADDRESS}
    assert judge(Answer(None)) is Verdict.RETRY


@given(attempts=st.integers(1, 10_000), chance=CHANCES, status=st.sampled_from([500, 429, 401, 302]))
def test_a_wait_doubles_up_to_its_longest_with_full_jitter(attempts: int, chance: float, status: int) -> None:
    verdict = judge(Answer(status))
    schedule = SCHEDULES[verdict]
    wait = delay_s(verdict, Answer(status), attempts, chance, NOW)
    longest = min(schedule.first * 2.0 ** min(attempts - 1, 60), schedule.longest)
    assert schedule.shortest <= wait <= max(schedule.shortest, longest)
    assert delay_s(verdict, Answer(status), attempts, 0.0, NOW) == schedule.shortest


def test_later_tries_wait_longer() -> None:
    waits = [delay_s(Verdict.RETRY, Answer(503), attempts, 0.999, NOW) for attempts in range(1, 20)]
    assert waits == sorted(waits)
    assert waits[0] == 1.0
    assert 89 < waits[-1] < 90


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, 0),
        ("0", 0),
        ("7", 7),
        (" 120 ", 120),
        ("-5", 0),
        ("1.5", 0),
        ("soon", 0),
        ("", 0),
        ("²", 0),
        ("0007", 7),
        ("1000000000", 10**9),
        ("31536000000", 31_536_000_000),
        ("9" * 400, 10**12),
        ("0" * 400, 0),
        ("Mon, 23 Nov 2026 16:00:30 GMT", 30),
        ("Mon, 23 Nov 2026 15:59:30 GMT", 0),
        ("Mon, 23 Nov 2026 16:00:30 -0000", 30),
        ("Mon, 99 Nov 2026 16:00:30 GMT", 0),
    ],
)
def test_retry_after_is_seconds_or_a_date(value: str | None, seconds: float) -> None:
    assert retry_after_s(value, NOW) == seconds


@given(st.text())
def test_any_retry_after_is_a_wait_or_none(value: str) -> None:
    assert retry_after_s(value, NOW) >= 0


@given(seconds=st.integers(0, 10**8), attempts=st.integers(1, 100), chance=CHANCES)
def test_a_tool_gets_the_rest_that_it_asks_for_as_far_as_sqs_can_hide_a_job(
    seconds: int, attempts: int, chance: float
) -> None:
    asked = format_datetime(NOW + timedelta(seconds=seconds), usegmt=True)
    for value in (str(seconds), asked):
        wait = delay_s(Verdict.RETRY, Answer(429, value), attempts, chance, NOW)
        assert min(seconds, LONGEST_RETRY_AFTER_S) <= wait <= max(90.0, min(seconds, LONGEST_RETRY_AFTER_S))


@given(st.integers(0, 10**400))
def test_a_tool_that_asks_for_longer_never_waits_less(seconds: int) -> None:
    waits = [delay_s(Verdict.RETRY, Answer(503, str(asked)), 1, 0.0, NOW) for asked in (seconds, seconds * 10)]
    assert waits[0] <= waits[1] <= LONGEST_RETRY_AFTER_S


def test_a_reason_says_what_came() -> None:
    assert Answer(404).reason == "http_404"
    assert Answer(None, trouble=Trouble.TLS).reason == "tls"


def test_a_destinations_own_verdicts_come_first_the_status_before_its_class() -> None:
    policy = DeliveryPolicy(verdicts={"404": "retry", "4xx": "done", "timeout": "discard"})
    assert judge(Answer(404), policy) is Verdict.RETRY
    assert judge(Answer(401), policy) is Verdict.DONE
    assert judge(Answer(500), policy) is Verdict.RETRY
    assert judge(Answer(None, trouble=Trouble.TIMEOUT), policy) is Verdict.DISCARD


@given(own=st.sampled_from(["done", "retry", "discard", "credentials"]))
def test_no_policy_makes_a_private_address_a_delivery(own: OwnVerdict) -> None:
    policy = DeliveryPolicy(verdicts={"connection": own, "dns": own, "tls": own, "timeout": own})
    assert judge(Answer(None, trouble=Trouble.BLOCKED_ADDRESS), policy) is Verdict.ADDRESS


@given(age=st.floats(0, 10**7), max_age=st.integers(60, 13 * 86_400))
def test_an_event_is_given_up_when_it_was_tried_for_as_long_as_the_policy_says(age: float, max_age: int) -> None:
    first = 1_000_000.0
    policy = DeliveryPolicy(max_age_s=max_age)
    assert is_too_old(Ages(first, first), first + age, Answer(503), policy) == (first + age - first >= max_age)


@given(
    age=st.integers(0, 14 * 86_400), max_age=st.integers(60, 13 * 86_400), own=st.none() | st.integers(60, 13 * 86_400)
)
def test_a_429_has_a_window_of_its_own(age: int, max_age: int, own: int | None) -> None:
    policy = DeliveryPolicy(max_age_s=max_age, throttled_max_age_s=own)
    window = own or max(max_age, 86_400)
    assert is_too_old(Ages(1_000, 1_000), 1_000 + age, Answer(429), policy) == (age >= window)
    assert is_too_old(Ages(1_000, 1_000), 1_000 + age, Answer(503), policy) == (age >= max_age)


def _alike_since(failed: Sequence[tuple[float, int]]) -> float:
    """Of failures (when, how), since when they were like the last."""
    return [at for at, how in takewhile(lambda each: each[1] == failed[-1][1], reversed(failed))][-1]


@given(
    answers=st.lists(st.tuples(st.sampled_from([503, 429]), st.integers(1, 90_000)), min_size=1, max_size=60),
    max_age=st.integers(60, 200_000),
    own=st.none() | st.integers(60, 200_000),
)
def test_an_event_that_fails_now_in_one_way_and_now_in_another_is_given_up_too(
    answers: list[tuple[int, int]], max_age: int, own: int | None
) -> None:
    policy = DeliveryPolicy(max_age_s=max_age, throttled_max_age_s=own)
    windows = {503: max_age, 429: own or max(max_age, 86_400)}
    failed: list[tuple[float, int]] = []  # when, and how
    note, now = Progress(), 1_000_000.0
    for status, later_s in answers:
        failed.append((now, status))
        failure = failure_of(Verdict.RETRY, Answer(status))
        found = ages(note, failure, now, open_since=0.0)
        is_late = now - _alike_since(failed) >= windows[status] or now - failed[0][0] >= max(windows.values())
        assert is_too_old(found, now, Answer(status), policy) == is_late
        note = Progress(attempts=len(failed), first_at=found.first_at, kind=failure.value, kind_at=found.kind_at)
        now += later_s
