"""Verdicts and waits: data, and the rules that they have to keep whatever a tool says."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.domain.delivery import (
    BY_TROUBLE,
    LONGEST_RETRY_AFTER_S,
    SCHEDULES,
    Answer,
    Trouble,
    Verdict,
    delay_s,
    judge,
    retry_after_s,
)

NOW = datetime(2026, 11, 23, 16, 0, tzinfo=UTC)
CHANCES = st.floats(0, 1, exclude_max=True)


@pytest.mark.parametrize(
    ("statuses", "verdict"),
    [
        ((200, 201, 202, 204, 299), Verdict.DONE),
        ((408, 423, 429, 500, 502, 503, 504, 520, 599), Verdict.RETRY),
        ((401, 403, 301, 302, 303, 307, 308), Verdict.ASK),
        ((400, 404, 405, 409, 410, 413, 418, 422, 451, 501), Verdict.DISCARD),
        ((100, 101, 600, 999, 0), Verdict.RETRY),
    ],
)
def test_a_status_decides(statuses: tuple[int, ...], verdict: Verdict) -> None:
    assert {judge(Answer(status)) for status in statuses} == {verdict}


def test_no_answer_is_never_the_end_of_an_event() -> None:
    assert set(BY_TROUBLE) == set(Trouble)
    assert {judge(Answer(None, trouble=trouble)) for trouble in Trouble} == {Verdict.RETRY, Verdict.ASK}
    assert judge(Answer(None)) is Verdict.RETRY


@given(attempts=st.integers(1, 10_000), chance=CHANCES, status=st.sampled_from([500, 429, 401, 302]))
def test_a_wait_doubles_up_to_its_longest_with_full_jitter(attempts: int, chance: float, status: int) -> None:
    schedule = SCHEDULES[judge(Answer(status))]
    wait = delay_s(Answer(status), attempts, chance, NOW)
    assert schedule.shortest <= wait <= max(schedule.shortest, min(schedule.first * 2.0 ** min(attempts, 60), 900.0))
    assert delay_s(Answer(status), attempts, 0.0, NOW) == schedule.shortest


def test_later_tries_wait_longer() -> None:
    waits = [delay_s(Answer(503), attempts, 0.999, NOW) for attempts in range(1, 20)]
    assert waits == sorted(waits)
    assert waits[0] == 1.0
    assert 890 < waits[-1] < 900


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
        ("9" * 400, 0),
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
def test_a_tool_gets_the_rest_that_it_asks_for_up_to_an_hour(seconds: int, attempts: int, chance: float) -> None:
    asked = format_datetime(NOW + timedelta(seconds=seconds), usegmt=True)
    for value in (str(seconds), asked):
        wait = delay_s(Answer(429, value), attempts, chance, NOW)
        assert min(seconds, LONGEST_RETRY_AFTER_S) <= wait <= max(900.0, LONGEST_RETRY_AFTER_S)


def test_a_reason_says_what_came() -> None:
    assert Answer(404).reason == "http_404"
    assert Answer(None, trouble=Trouble.TLS).reason == "tls"
