"""An event is acknowledged when it is durable, and only then."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.domain.known_key import KnownKey
from penstock.domain.turns import Announced
from penstock.errors import Forbidden, Invalid, StoreUnavailable, StreamUnavailable, Unauthenticated, Unavailable
from penstock.steps.collect import Call, Outcome, Ports, collect
from tests.builders_collect import IP, NOW, SOURCE, UNFIT, WORKSPACE, WRITE_KEY, batch_of, packed, track
from tests.fakes_collect import MemoryKeys, MemoryStream, ports

Collect = Callable[[Call, Ports], Outcome]
KEYS = st.text("abcde", min_size=1, max_size=2)
EVENTS = st.lists(KEYS.map(lambda key: packed(track(userId=key))), max_size=8)


def call(body: bytes, **overrides: Any) -> Call:
    return replace(Call(body, None, WRITE_KEY, IP), **overrides)


def promise_1_holds(collect: Collect, events: list[bytes], takes: int | None) -> None:
    """Whatever the answer says is taken is in the stream when the answer is given."""
    stream = MemoryStream(takes)
    try:
        outcome = collect(call(batch_of(*events)), ports(stream))
    except Unavailable:
        assert takes is not None
        return
    assert json.loads(outcome.body)["accepted"] == outcome.accepted == len(stream.events)
    assert sorted(stream.events) == sorted(event for event in events if event not in UNFIT.values())


@given(EVENTS, st.lists(st.sampled_from(sorted(UNFIT)), max_size=3), st.none() | st.integers(0, 9))
def test_whatever_is_acknowledged_is_in_the_stream(events: list[bytes], bad: list[str], takes: int | None) -> None:
    promise_1_holds(collect, [*events, *(UNFIT[code] for code in bad)], takes)


def answering_first(call: Call, ports: Ports) -> Outcome:
    """A broken collect: it answers before the stream has anything."""
    return collect(call, replace(ports, stream=MemoryStream()))


def swallowing(call: Call, ports: Ports) -> Outcome:
    """A broken collect: it takes a refusal of the stream for an acknowledgement."""

    class Forgiving:
        def put(self, records: Any) -> None:
            with suppress(StreamUnavailable):
                ports.stream.put(records)

    return collect(call, replace(ports, stream=Forgiving()))


def losing_the_last(call: Call, ports: Ports) -> Outcome:
    """A broken collect: it puts all but the last record."""

    class Losing:
        def put(self, records: Any) -> None:
            ports.stream.put(records[:-1])

    return collect(call, replace(ports, stream=Losing()))


@pytest.mark.parametrize("broken", [answering_first, swallowing, losing_the_last])
def test_a_collect_that_breaks_the_promise_is_caught(broken: Collect) -> None:
    events = [packed(track(userId=key)) for key in "abc"]
    promise_1_holds(collect, events, None)
    promise_1_holds(collect, events, 2)
    with pytest.raises(AssertionError):
        promise_1_holds(broken, events, 2)


@pytest.mark.parametrize("takes", [0, 1, 2])
def test_a_stream_that_refuses_wholly_or_partly_leaves_nothing_acknowledged(takes: int) -> None:
    with pytest.raises(StreamUnavailable):
        collect(call(batch_of(*(track(userId=key) for key in "abc"))), ports(MemoryStream(takes)))


def test_the_stream_is_asked_once_for_a_whole_request_and_not_for_nothing() -> None:
    class Counting(MemoryStream):
        puts = 0

        def put(self, records: Any) -> None:
            self.puts += 1
            super().put(records)

    stream = Counting()
    collect(call(batch_of(*(track(userId=key) for key in "abca"))), ports(stream))
    assert (stream.puts, len(stream.records)) == (1, 3)
    assert collect(call(batch_of(UNFIT["missing_event"])), ports(stream)).status == 400
    assert collect(call(batch_of()), ports(stream)).status == 200
    assert stream.puts == 1


def test_a_run_belongs_to_the_keys_workspace_and_source_whatever_the_body_says() -> None:
    stream = MemoryStream()
    other = {"workspace": "ws_other", "source": "src_other", "key": "x", "v": 9}
    collect(call(batch_of(track(**other), **other)), ports(stream))
    assert [(run.v, run.workspace, run.source, run.key) for run in stream.runs] == [(1, WORKSPACE, SOURCE, "u-1")]


def test_history_is_marked_as_bulk() -> None:
    stream = MemoryStream()
    collect(call(batch_of(track()), bulk=True), ports(bulk=stream))
    assert stream.runs[0].bulk


def moved(turn: int, at: float) -> MemoryKeys:
    return MemoryKeys({WRITE_KEY: KnownKey(WORKSPACE, SOURCE, True, Announced(turn, at))})


@pytest.mark.parametrize(("ahead_s", "in_bulk"), [(0.001, False), (0.0, True), (-3600.0, True)])
def test_a_source_goes_through_the_bulk_stream_from_the_announced_instant_on(ahead_s: float, in_bulk: bool) -> None:
    live, bulk = MemoryStream(), MemoryStream()
    collect(call(batch_of(track())), ports(live, moved(1, NOW.timestamp() + ahead_s), bulk=bulk))
    assert (len(live.runs), len(bulk.runs)) == ((0, 1) if in_bulk else (1, 0))
    assert [run.turn for run in live.runs + bulk.runs] == [1 if in_bulk else 0]


def test_history_takes_no_turn() -> None:
    bulk = MemoryStream()
    collect(call(batch_of(track()), bulk=True), ports(keys=moved(3, NOW.timestamp() - 1), bulk=bulk))
    assert (bulk.runs[0].bulk, bulk.runs[0].turn) == (True, 0)


def test_the_key_may_be_in_the_batch_or_in_its_event() -> None:
    for body, kind in (
        (batch_of(track(), writeKey=WRITE_KEY), None),
        (batch_of(track(writeKey=WRITE_KEY)), None),
        (packed(track(writeKey=WRITE_KEY)), "track"),
    ):
        stream = MemoryStream()
        assert collect(call(body, write_key=None, type=kind), ports(stream)).status == 200
        assert WRITE_KEY.encode() not in b"".join(each.data for each in stream.records)


@pytest.mark.parametrize("given_key", [None, ""])
def test_without_a_key_nothing_is_taken(given_key: str | None) -> None:
    stream = MemoryStream()
    with pytest.raises(Unauthenticated) as caught:
        collect(call(batch_of(track()), write_key=given_key), ports(stream))
    assert (caught.value.code, stream.records) == ("missing_write_key", [])


@pytest.mark.parametrize("key", ["a" * 36, "x", WRITE_KEY.upper(), WRITE_KEY + "a", "\0" * 36, "é" * 36])
def test_an_unknown_key_is_nobodys(key: str) -> None:
    stream = MemoryStream()
    for asked in (call(batch_of(track()), write_key=key), call(batch_of(track(), writeKey=key), write_key=None)):
        with pytest.raises(Unauthenticated) as caught:
            collect(asked, ports(stream))
        assert caught.value.code == "unknown_write_key"
    assert stream.records == []


def test_what_could_be_no_key_is_not_even_looked_up() -> None:
    keys = MemoryKeys()
    with pytest.raises(Unauthenticated):
        collect(call(b"", write_key="no key at all"), ports(keys=keys))
    assert keys.asked == []


def test_a_disabled_key_takes_nothing() -> None:
    stream = MemoryStream()
    with pytest.raises(Forbidden) as caught:
        collect(call(batch_of(track())), ports(stream, MemoryKeys({WRITE_KEY: KnownKey(WORKSPACE, SOURCE, False)})))
    assert (caught.value.code, stream.records) == ("disabled", [])


def test_who_asks_is_settled_before_the_body_is_opened() -> None:
    with pytest.raises(Unauthenticated):
        collect(call(b"\x1f\x8b no gzip", write_key="a" * 36), ports())


def test_while_keys_cannot_be_looked_up_nobody_is_turned_away_for_good() -> None:
    keys = MemoryKeys()
    keys.down = True
    with pytest.raises(StoreUnavailable):
        collect(call(batch_of(track())), ports(keys=keys))


def test_an_outcome_says_what_the_log_may_hold() -> None:
    outcome = collect(call(batch_of(track(), UNFIT["missing_event"], UNFIT["unknown_type"])), ports())
    assert (outcome.source, outcome.accepted, list(outcome.rejected)) == (SOURCE, 1, ["missing_event", "unknown_type"])
    assert (outcome.status, len(json.loads(outcome.body)["rejected"])) == (200, 2)


@given(st.binary(max_size=60))
def test_any_body_is_answered_or_refused(body: bytes) -> None:
    stream = MemoryStream()
    try:
        collect(call(body), ports(stream))
    except Invalid:
        assert stream.records == []
