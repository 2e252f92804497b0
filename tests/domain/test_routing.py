"""Which events of a run go to which destination, and as which jobs."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.domain.job import encode_job
from penstock.domain.routing import LARGEST_JOB, MOST_EVENTS, jobs, loads, wanted
from penstock.domain.subscription import parse
from tests.builders_pipeline import DESTINATION, SHARD, event, plain, route, run_of

OTHER = "dst_bbbbbbbbbbbb"


def numbers(run: Any, *routes: Any) -> dict[str, list[int]]:
    return {to.id: [plain(run.events[n])["properties"]["n"] for n in places] for to, places in wanted(run, routes)}


def goes(integrations: Any, shared: Any = None, **fields: Any) -> bool:
    given = {"integrations": shared} if shared is not None else {}
    run = run_of(event(1, integrations=integrations) if integrations is not None else event(1), **given)
    return numbers(run, route(**fields)) == {DESTINATION: [1]}


def test_a_destination_gets_the_events_of_its_sources_and_no_others() -> None:
    run = run_of(event(1), event(2))
    assert numbers(run, route(), route(OTHER, source_ids=frozenset({"src_bbbbbbbbbbbb"}))) == {DESTINATION: [1, 2]}


def test_a_disabled_destination_gets_nothing() -> None:
    assert numbers(run_of(event(1)), route(enabled=False)) == {DESTINATION: []}


def test_a_subscription_picks_events() -> None:
    run = run_of(event(1), event(2), event(3), context={"page": {"path": "/shop"}})
    wish = parse('properties.n >= 2 and context.page.path = "/shop"')
    assert numbers(run, route(subscription=wish), route(OTHER)) == {DESTINATION: [2, 3], OTHER: [1, 2, 3]}


def test_an_events_own_context_wins_over_the_shared_one() -> None:
    run = run_of(event(1, context={"page": 1}), event(2), context={"page": 2, "ip": "x"})
    assert numbers(run, route(subscription=parse('context.page = 1 and context.ip = "x"'))) == {DESTINATION: [1]}


@pytest.mark.parametrize(
    ("integrations", "expected"),
    [
        ({}, True),
        ({"All": False}, False),
        ({"All": True}, True),
        ({"All": False, "Webhook A": True}, True),
        ({"All": False, DESTINATION: True}, True),
        ({"All": False, "Webhook A": {}}, True),
        ({"All": False, "Webhook A": {"sessionId": 1}}, True),
        ({"All": False, "webhook a": True}, False),
        ({"All": False, "Webhook B": True}, False),
        ({"Webhook A": False}, False),
        ({DESTINATION: False}, False),
        ({DESTINATION: True, "Webhook A": False}, True),
        ({"Webhook A": None}, True),
        ({"All": None}, True),
        (None, True),
        ("All", True),
        ([], True),
        (False, True),
    ],
)
def test_an_event_chooses_its_destinations(integrations: Any, expected: bool) -> None:
    assert goes(integrations) is expected


def test_an_events_own_choice_is_merged_over_the_shared_one() -> None:
    assert goes(None, shared={"All": False}) is False
    assert goes({"Webhook A": True}, shared={"All": False}) is True
    assert goes({"All": True}, shared={"All": False}) is True
    assert goes({"Other": True}, shared={"All": False}) is False


def test_events_that_nobody_looks_into_are_not_decoded() -> None:
    odd = b'{"type":"track","messageId":"m","properties":{"n":1e999}}'
    assert [places for _, places in wanted(run_of(odd), [route()])] == [[0]]


@pytest.mark.parametrize(
    "properties",
    [b"1e999", b"9" * 400, b"9" * 5000, b'{"n":1,"n":1e999}', b'{"n":"\xff"}', b"[" * 250 + b"]" * 250],
)
def test_no_json_is_too_odd_for_a_subscription(properties: bytes) -> None:
    run = run_of(b'{"type":"track","messageId":"m","properties":' + properties + b"}", event(2))
    wish = parse('type = "track" and properties.n != 2')
    ((_, places),) = wanted(run, [route(subscription=wish)])
    assert places in ([], [0])


def test_a_huge_number_is_larger_than_any_other() -> None:
    run = run_of(b'{"type":"track","messageId":"m","properties":{"n":1e999}}', event(1))
    assert len(wanted(run, [route(subscription=parse("properties.n > 5"))])[0][1]) == 1


@given(
    st.one_of(
        st.binary(),
        st.text().map(str.encode),
        st.recursive(st.floats(), st.lists).map(lambda v: json.dumps(v).encode()),
    )
)
def test_any_bytes_can_be_loaded(text: bytes) -> None:
    loads(text)


def test_an_event_that_is_no_object_is_reported() -> None:
    with pytest.raises(msgspec.MsgspecError):
        wanted(run_of(b"5"), [route()])


SIZES = st.lists(st.integers(0, 33_000), min_size=1, max_size=60)


@given(
    sizes=st.one_of(SIZES, st.integers(0, 350).map(lambda count: [10] * count)),
    context=st.integers(0, 32_000),
    key=st.sampled_from(["ada", "k" * 30_000]),
)
def test_jobs_hold_every_event_once_in_order_and_keep_to_their_size(sizes: list[int], context: int, key: str) -> None:
    run = run_of(*[event(n, pad="x" * size) for n, size in enumerate(sizes)], key=key, context={"pad": "x" * context})
    made = jobs(run, run.events if sizes else [], DESTINATION, f"{SHARD}-1")
    assert [bytes(each) for job in made for each in job.run.events] == [bytes(each) for each in run.events if sizes]
    assert [job.id for job in made] == [f"{SHARD}-1-{number}" for number in range(len(made))]
    for job in made:
        assert 1 <= len(job.run.events) <= MOST_EVENTS
        assert len(encode_job(job).encode()) <= LARGEST_JOB
    assert all(job.destination == DESTINATION and job.run.key == key for job in made)


def test_jobs_are_as_full_as_they_may_be() -> None:
    run = run_of(*[event(n) for n in range(250)])
    assert [len(job.run.events) for job in jobs(run, run.events, DESTINATION, "r")] == [100, 100, 50]
