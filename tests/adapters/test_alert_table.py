"""Watched alerts: the fake and DynamoDB keep one contract. Topics: what SNS takes is taken, nothing else raises."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from moto import mock_aws

from penstock.adapters.alert_table import AlertTable
from penstock.adapters.alert_topics import AlertTopics
from penstock.adapters.gate_table import GateTable
from penstock.domain.alerts import AlertState, Key
from penstock.domain.gate import Gate, GateState
from penstock.domain.gate_moves import closed
from penstock.errors import StoreChanged, StoreUnavailable
from tests.builders_pipeline import DESTINATION, WORKSPACE
from tests.control_api import REGION, make_tables
from tests.fakes_health import MemoryAlerts

KEY, OTHER = Key(WORKSPACE, DESTINATION, "alr_aaaaaaaaaaaa"), Key(WORKSPACE, DESTINATION, "alr_bbbbbbbbbbbb")
GATES = "penstock-test-gates"
NOW = 1_790_000_000.0
RAISED = AlertState(True, 3, NOW, is_told=False, value=0.5)


class Clock:
    now = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def tables() -> Iterator[None]:
    with mock_aws():
        make_tables()
        yield


def dynamodb() -> Any:
    return boto3.client("dynamodb", region_name=REGION)


@pytest.fixture(params=["memory", "dynamodb"])
def watched(request: pytest.FixtureRequest, tables: None, clock: Clock) -> Any:
    return MemoryAlerts(clock) if request.param == "memory" else AlertTable(dynamodb(), GATES, clock)


def test_a_rules_turn_comes_a_minute_after_it_was_made(watched: Any) -> None:
    watched.watch(KEY)
    assert watched.due(NOW + 59, 10) == []
    (turn,) = watched.due(NOW + 60, 10)
    assert (turn.key, turn.state, watched.read(KEY)) == (KEY, AlertState(), AlertState())


def test_a_turn_is_taken_once_and_comes_again_later(watched: Any) -> None:
    watched.watch(KEY)
    (turn,) = watched.due(NOW + 60, 10)
    mine = watched.take(turn, NOW + 120)
    with pytest.raises(StoreChanged):
        watched.take(turn, NOW + 121)
    assert watched.due(NOW + 119, 10) == []
    assert watched.due(NOW + 120, 10) == [mine]


def test_only_who_has_the_turn_says_how_a_rule_stands(watched: Any) -> None:
    watched.watch(KEY)
    (turn,) = watched.due(NOW + 60, 10)
    mine = watched.take(turn, NOW + 120)
    watched.save(mine, RAISED)
    assert watched.read(KEY) == RAISED
    later = watched.take(mine, NOW + 180)
    assert later.state == RAISED
    for old in (turn, mine):
        with pytest.raises(StoreChanged):
            watched.save(old, AlertState())
    assert watched.read(KEY) == RAISED


def test_the_longest_waiting_come_first_and_so_many_at_most(watched: Any, clock: Clock) -> None:
    watched.watch(OTHER)
    clock.now += 5
    watched.watch(KEY)
    assert [turn.key for turn in watched.due(NOW + 100, 10)] == [OTHER, KEY]
    assert [turn.key for turn in watched.due(NOW + 100, 1)] == [OTHER]


def test_a_destinations_rules_have_their_turns_by_themselves(watched: Any, clock: Clock) -> None:
    neighbour, twin = KEY._replace(destination="dst_other0000000"), KEY._replace(workspace="ws_other0000000")
    watched.watch(OTHER)
    for key in (KEY, neighbour, twin):
        clock.now += 1
        watched.watch(key)
    assert watched.due_of(WORKSPACE, DESTINATION, NOW + 59) == []
    assert [turn.key for turn in watched.due_of(WORKSPACE, DESTINATION, NOW + 60)] == [OTHER]
    (other, mine) = watched.due_of(WORKSPACE, DESTINATION, NOW + 100)
    assert (other.key, mine.key) == (OTHER, KEY)
    watched.take(other, NOW + 200)
    assert watched.due_of(WORKSPACE, DESTINATION, NOW + 100) == [mine]


def test_more_rules_have_their_turns_than_one_answer_holds(tables: None, clock: Clock) -> None:
    class Short:
        """DynamoDB, whose answers have two items at most."""

        def __getattr__(self, name: str) -> Any:
            return getattr(dynamodb(), name)

        def query(self, **asked: Any) -> Any:
            return dynamodb().query(**asked, Limit=2)

    table = AlertTable(Short(), GATES, clock)  # type: ignore[arg-type]
    for number in range(5):
        table.watch(KEY._replace(alert=f"alr_{number:012d}"))
        clock.now += 1
    assert [len(table.due(NOW + 100, most)) for most in (3, 5, 10)] == [3, 5, 5]
    assert len(table.due_of(WORKSPACE, DESTINATION, NOW + 100)) == 5


def test_what_is_forgotten_has_no_turn_any_more(watched: Any) -> None:
    watched.watch(KEY)
    (turn,) = watched.due(NOW + 60, 10)
    watched.forget(KEY)
    watched.forget(KEY)
    assert watched.due(NOW + 100, 10) == []
    assert watched.read(KEY) == AlertState()
    with pytest.raises(StoreChanged):
        watched.take(turn, NOW + 120)


def test_gates_and_alerts_look_after_their_own(tables: None, clock: Clock) -> None:
    alerts, gates = AlertTable(dynamodb(), GATES, clock), GateTable(dynamodb(), GATES, clock)
    alerts.watch(KEY)
    gates.save(WORKSPACE, DESTINATION, Gate(), closed(Gate(), "failing", NOW))
    assert gates.due(NOW + 10_000, 10) == [(WORKSPACE, DESTINATION)]
    assert [turn.key for turn in alerts.due(NOW + 10_000, 10)] == [KEY]
    assert gates.read(WORKSPACE, DESTINATION).state is GateState.CLOSED
    gates.forget(WORKSPACE, DESTINATION)
    assert [turn.key for turn in alerts.due(NOW + 10_000, 10)] == [KEY]


class Failing:
    def __init__(self, trouble: Exception) -> None:
        self._trouble = trouble

    def __getattr__(self, name: str) -> Any:
        def refuse(**_: Any) -> None:
            raise self._trouble

        return refuse


@pytest.mark.parametrize(
    "trouble",
    [
        ClientError({"Error": {"Code": "ThrottlingException", "Message": ""}}, "Query"),
        EndpointConnectionError(endpoint_url="https://dynamodb"),
    ],
)
def test_a_store_that_does_not_answer_is_unavailable(trouble: Exception, clock: Clock) -> None:
    table = AlertTable(Failing(trouble), GATES, clock)
    for call in (lambda: table.watch(KEY), lambda: table.read(KEY), lambda: table.due(NOW, 1)):
        with pytest.raises(StoreUnavailable):
            call()
    assert AlertTopics(lambda: Failing(trouble)).publish("arn", "subject", "{}") is False


@mock_aws
def test_what_a_topic_gets_is_the_notice_under_a_plain_subject() -> None:
    sns, sqs = boto3.client("sns", region_name=REGION), boto3.client("sqs", region_name=REGION)
    topic = sns.create_topic(Name="penstock-test-alerts-ws_aaaaaaaaaaaa")["TopicArn"]
    url = sqs.create_queue(QueueName="ears")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn, Attributes={"RawMessageDelivery": "true"})
    topics = AlertTopics(lambda: sns)
    assert topics.publish(topic, "Größe\n: alert.raised" + "x" * 200, '{"id": "1"}') is True
    assert sqs.receive_message(QueueUrl=url)["Messages"][0]["Body"] == '{"id": "1"}'
    assert topics.publish(topic + "-gone", "x", "{}") is False
