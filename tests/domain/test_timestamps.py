"""Which texts are date-times: a date and a time of day that exist, with or without seconds, fraction and zone."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.domain.timestamps import instant, is_timestamp


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-23T16:00:00.000Z",
        "2026-11-23T16:00:00Z",
        "2026-11-23T16:00Z",
        "2026-11-23 16:00:00",
        "2026-11-23t16:00:00.123456789+02:00",
        "2026-11-23T16:00:00-0530",
        "2024-02-29T00:00:00.000Z",
        "0001-01-01T00:00:00.000Z",
        "9999-12-31T23:59:59.999Z",
    ],
)
def test_these_are(text: str) -> None:
    assert is_timestamp(text)


@pytest.mark.parametrize(
    "text",
    [
        *("", "2026-11-23", "2026", "16:00:00", "soon", "2026-W47-1T16:00:00.000Z", "20261123T160000.000000Z"),
        *("2026-02-30T16:00:00.000Z", "2026-13-01T16:00:00.000Z", "2026-11-23T24:00:00.000Z", "2025-02-29T00:00:00Z"),
        *("2026-11-23T16:60:00.000Z", "2026-11-23T16:00:61.000Z", "2026-11-23T16:00:00.0x0Z", "2026-11-23T16:00.5Z"),
        *("2026-11-23T16:00:00.000Z ", " 2026-11-23T16:00:00.000Z", "2026-11-23T16:00:00.000Z\n", "-026-11-23T16:00Z"),
        *(
            "２０２６-11-23T16:00:00.000Z",
            "2026-11-23T16:00:00.+00Z",
            "2026-11-23T+6:00:00.000Z",
            "0001-01-01T00:00+01:00",
        ),
    ],
)
def test_these_are_not(text: str) -> None:
    assert not is_timestamp(text)
    assert instant(text) is None


@given(
    st.text(alphabet="0123456789-:.TZ +", min_size=16, max_size=26)
    | st.from_regex(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", fullmatch=True)
)
def test_the_quick_answer_is_the_whole_one(text: str) -> None:
    assert is_timestamp(text) == (instant(text) is not None)


@given(st.datetimes(timezones=st.just(UTC)))
def test_an_instant_is_read_as_it_was_written(moment: datetime) -> None:
    assert instant(moment.isoformat().replace("+00:00", "Z")) == moment
