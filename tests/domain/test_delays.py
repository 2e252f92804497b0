"""Delays: buckets that are sums of their parts, and quantiles within a fifth of the truth."""

from __future__ import annotations

import math
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from penstock.domain.delays import GROWTH, LAST, bucket, quantile

MS = st.floats(0.0, 1e9, allow_nan=False)


@given(MS)
def test_a_bucket_holds_its_time_to_within_a_fifth(ms: float) -> None:
    place = bucket(ms)
    assert 0 <= place <= LAST
    assert ms <= GROWTH**place * (1 + 1e-6)
    assert place == 0 or ms >= GROWTH ** (place - 1) * (1 - 1e-6)


@given(st.lists(MS.filter(lambda ms: ms >= 1), min_size=1), st.sampled_from([0.5, 0.95, 0.99]))
def test_a_quantile_is_never_under_the_true_one_and_at_most_a_fifth_over(times: list[float], share: float) -> None:
    found = quantile(Counter(bucket(ms) for ms in times), share)
    true = sorted(times)[math.ceil(share * len(times)) - 1]
    assert found is not None
    assert true * 0.999 - 1 <= found <= true * GROWTH * 1.001 + 1


def test_nothing_has_no_quantile() -> None:
    assert quantile({}, 0.5) is None
