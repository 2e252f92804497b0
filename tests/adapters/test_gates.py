"""Gates, chores, mappings that are switched, queues emptied by hand: the fakes and AWS's own keep one contract."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from moto import mock_aws
from msgspec.structs import replace

from penstock.adapters.chores import ChoreQueue, chore_in
from penstock.adapters.event_bus import EventBus
from penstock.adapters.gate_table import GateTable
from penstock.adapters.mapping_switch import Functions, MappingSwitch
from penstock.adapters.probe_queue import ProbeQueue
from penstock.adapters.receipts import ReceiptTable
from penstock.adapters.recent_deliveries import RecentDeliveries
from penstock.domain import gate as gates
from penstock.domain import gate_moves as moves
from penstock.domain.audit import iso
from penstock.domain.books import DELIVERED, FanoutReceipt, RecordReceipt, deliver_receipt
from penstock.domain.evidence import MOST_STRIKES
from penstock.domain.gate import Gate, GateState, Mapped, Pool
from penstock.errors import QueueGone, QueueUnavailable, StoreChanged, StoreUnavailable, Unavailable
from penstock.steps.watch_gate import Chore
from tests.builders_pipeline import DESTINATION, SHARD, WORKSPACE
from tests.control_api import REGION, make_deliver, make_tables
from tests.fakes_gate import MemoryChores, MemoryDeliveries, MemoryGates, MemoryProbeQueues, MemorySwitch
from tests.fakes_pipeline import Clock, MemoryReceipts

KEY, OTHER = (WORKSPACE, DESTINATION), ("ws_bbbbbbbbbbbb", DESTINATION)
NOW = Clock().now
TABLE = "penstock-test-gates"


def client(service: str) -> Any:
    return boto3.client(service, region_name=REGION)


@pytest.fixture
def aws() -> Iterator[None]:
    with mock_aws():
        make_tables()
        yield


@pytest.fixture(params=["memory", "dynamodb"])
def book(request: pytest.FixtureRequest, aws: None) -> Any:
    return MemoryGates(Clock()) if request.param == "memory" else GateTable(client("dynamodb"), TABLE, Clock())


def closed(now: float = NOW) -> Gate:
    return moves.closed(Gate(), gates.FAILING, now)


FULL = Gate(
    state=GateState.PAUSED,
    reason="holiday",
    since=NOW + 0.1239996,
    probes=3,
    next_probe_at=NOW + 60,
    pool=Pool.SLOW,
    slow_at=NOW - 1,
    calm_since=NOW - 2,
    mapped=Mapped(False, Pool.SLOW, settled=False),
    untold=moves.paused(closed(), "holiday", "tok_a", NOW).untold,
    parking=NOW - 0.123,
    filled_at=NOW - 5.5,
    park_at=NOW + 15,
    is_parking=True,
)


def test_a_gate_that_nobody_knows_is_open(book: Any) -> None:
    assert book.read(*KEY) == book.find(KEY) == Gate()


@pytest.mark.parametrize("gate", [FULL, closed(), Gate(pool=Pool.SLOW)], ids=["full", "closed", "slow"])
def test_a_gate_is_read_as_it_was_saved(book: Any, gate: Gate) -> None:
    saved = book.save(*KEY, Gate(), gate)
    assert saved == replace(gate, version=1)
    assert book.read(*KEY) == book.find(KEY) == saved
    assert book.read(*OTHER) == Gate()


def test_what_a_gate_no_longer_has_is_gone(book: Any) -> None:
    saved = book.save(*KEY, Gate(), FULL)
    opened = Gate(since=NOW)
    assert book.save(*KEY, saved, opened) == book.read(*KEY) == replace(opened, version=2)


def test_of_two_who_change_a_gate_at_once_the_second_is_told(book: Any) -> None:
    first = book.save(*KEY, Gate(), closed())
    with pytest.raises(StoreChanged):
        book.save(*KEY, Gate(), FULL)
    book.save(*KEY, first, FULL)
    with pytest.raises(StoreChanged):
        book.save(*KEY, first, closed())
    assert book.read(*KEY).state is GateState.PAUSED


def test_strikes_add_up_whoever_strikes(book: Any) -> None:
    assert book.strike(*KEY, ["ada", "grace"], NOW).strikes == {"ada", "grace"}
    struck = book.strike(*KEY, ["ada", "alan"], NOW + 9)
    assert (struck.strikes, struck.struck_at) == ({"ada", "grace", "alan"}, NOW)
    assert book.read(*KEY) == struck
    assert (struck.state, struck.version) == (GateState.OPEN, 0)


def test_strikes_survive_a_change_that_somebody_else_makes_to_an_open_gate(book: Any) -> None:
    read = book.read(*KEY)
    book.strike(*KEY, ["ada"], NOW)
    book.save(*KEY, read, replace(read, pool=Pool.SLOW))
    found = book.read(*KEY)
    assert (found.strikes, found.struck_at, found.pool) == ({"ada"}, NOW, Pool.SLOW)


def test_strikes_go_when_the_gate_closes_and_a_closed_gate_takes_none(book: Any) -> None:
    struck = book.strike(*KEY, ["ada", "grace", "alan"], NOW)
    saved = book.save(*KEY, struck, moves.closed(struck, gates.FAILING, NOW))
    assert book.strike(*KEY, ["edsger"], NOW) == saved
    assert (saved.strikes, saved.struck_at) == (frozenset(), None)


def test_strikes_are_forgotten(book: Any) -> None:
    book.strike(*KEY, ["ada"], NOW)
    book.absolve(*KEY)
    assert book.read(*KEY) == Gate()
    assert book.strike(*KEY, ["ada"], NOW + 5).struck_at == NOW + 5


def test_strikes_are_bounded(book: Any) -> None:
    for number in range(100):
        struck = book.strike(*KEY, [f"g-{number}-{each}" for each in range(10)], NOW)
    assert len(struck.strikes) < MOST_STRIKES + 10


def test_gates_that_somebody_has_to_look_after_are_found_the_longest_overdue_first(book: Any) -> None:
    keys = [(WORKSPACE, f"dst_{number:012d}") for number in range(5)]
    for number, key in enumerate(keys):
        book.save(*key, Gate(), replace(closed(NOW - number), mapped=Mapped(False), untold=()))
    book.save(*KEY, Gate(), Gate(since=NOW))
    assert book.due(NOW, 10) == []
    assert book.due(NOW + 60, 10) == keys[::-1]
    assert book.due(NOW + 60, 2) == keys[:2:-1]


def test_a_gate_that_is_common_again_is_looked_after_no_more(book: Any) -> None:
    saved = book.save(*KEY, Gate(), closed())
    book.save(*KEY, saved, Gate(since=NOW))
    assert book.due(NOW + 1e6, 10) == []


def test_a_gate_that_is_forgotten_is_as_if_it_had_never_been(book: Any) -> None:
    book.save(*KEY, Gate(), closed())
    book.save(*OTHER, Gate(), closed())
    book.forget(*KEY)
    book.forget(*KEY)
    assert book.read(*KEY) == Gate()
    assert book.due(NOW + 60, 10) == [OTHER]


def test_forgetting_takes_all_that_is_noted_of_the_destination(aws: None) -> None:
    row = {"owner": {"S": "#".join(KEY)}, "sk": {"S": "rate"}}
    client("dynamodb").put_item(TableName=TABLE, Item=row)
    GateTable(client("dynamodb"), TABLE, Clock()).forget(*KEY)
    assert client("dynamodb").scan(TableName=TABLE)["Items"] == []


def test_overdue_gates_are_read_page_by_page(aws: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("penstock.adapters.gate_table.PAGE", 2)
    table = GateTable(client("dynamodb"), TABLE, Clock())
    for number in range(5):
        table.save(WORKSPACE, f"dst_{number:012d}", Gate(), closed())
    assert len(table.due(NOW + 60, 10)) == 5
    assert len(table.due(NOW + 60, 3)) == 3


@pytest.fixture(params=["memory", "dynamodb"])
def receipts(request: pytest.FixtureRequest, aws: None) -> Any:
    """(what keeps receipts, what asks of deliveries)."""
    if request.param == "memory":
        kept = MemoryReceipts()
        return kept, MemoryDeliveries(kept.read)
    ids = count()
    table = ReceiptTable(client("dynamodb"), "penstock-test-receipts", Clock(), lambda: f"{next(ids):016x}")
    return table, RecentDeliveries(client("dynamodb"), "penstock-test-receipts")


def test_a_delivery_is_known_for_as_long_as_it_is_recent(receipts: Any) -> None:
    kept, deliveries = receipts
    assert not deliveries.since(*KEY, NOW - 60)
    kept.keep_deliver(*KEY, deliver_receipt(iso(NOW), {"job": (0, ["http_400", DELIVERED])}))
    kept.keep_deliver(*KEY, deliver_receipt(iso(NOW + 30), {"job-2": (0, ["http_400"])}))
    assert deliveries.since(*KEY, NOW - 60)
    assert not deliveries.since(*KEY, NOW + 1)
    assert not deliveries.since(*OTHER, NOW - 60)


def test_what_was_only_accepted_or_discarded_is_no_delivery(receipts: Any) -> None:
    kept, deliveries = receipts
    kept.keep_fanout(*KEY, FanoutReceipt(iso(NOW), {f"{SHARD}-1": RecordReceipt(3, 0)}))
    kept.keep_deliver(*KEY, deliver_receipt(iso(NOW), {"job": (0, ["http_400"])}, retried=3))
    assert not deliveries.since(*KEY, NOW - 60)


def test_a_delivery_among_many_receipts_is_found(aws: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("penstock.adapters.recent_deliveries.PAGE", 2)
    ids = count()
    kept = ReceiptTable(client("dynamodb"), "penstock-test-receipts", Clock(), lambda: f"{next(ids):016x}")
    for number in range(8):
        fate = DELIVERED if number == 1 else "http_400"
        kept.keep_deliver(*KEY, deliver_receipt(iso(NOW + number), {"job": (0, [fate])}))
    assert RecentDeliveries(client("dynamodb"), "penstock-test-receipts").since(*KEY, NOW - 1)


def chores_of_aws() -> tuple[ChoreQueue, Callable[[], list[tuple[str, str]]]]:
    url = client("sqs").create_queue(QueueName="penstock-test-chores")["QueueUrl"]

    def take() -> list[tuple[str, str]]:
        found = client("sqs").receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])
        return [chore_in(message["Body"]) for message in found]

    return ChoreQueue(client("sqs"), url), take


@pytest.fixture(params=["memory", "sqs"])
def chores(request: pytest.FixtureRequest, aws: None) -> Any:
    """(what sends chores, what takes those that are due)."""
    if request.param == "sqs":
        return chores_of_aws()
    memory = MemoryChores(Clock())
    return memory, memory.take


def test_a_chore_is_taken_as_it_was_sent_and_a_later_one_is_not_yet(chores: Any) -> None:
    queue, take = chores
    queue.send([Chore(*KEY), Chore(*OTHER, delay_s=30.5)])
    assert take() == [KEY]


def test_any_number_of_chores_is_sent(aws: None) -> None:
    queue, _ = chores_of_aws()
    queue.send([Chore(WORKSPACE, f"dst_{number}", 10_000) for number in range(25)])
    asked = ["ApproximateNumberOfMessagesDelayed"]
    found = client("sqs").get_queue_attributes(QueueUrl=queue._queue_url, AttributeNames=asked)["Attributes"]
    assert found == {asked[0]: "25"}


def mapping_of_aws() -> tuple[MappingSwitch, str, Functions]:
    fast, slow = make_deliver(), make_deliver("deliver_slow")
    queue = client("sqs").create_queue(QueueName="penstock-test-d-x.fifo", Attributes={"FifoQueue": "true"})
    arn = client("sqs").get_queue_attributes(QueueUrl=queue["QueueUrl"], AttributeNames=["QueueArn"])
    made = client("lambda").create_event_source_mapping(
        EventSourceArn=arn["Attributes"]["QueueArn"], FunctionName=fast, Enabled=True
    )
    functions = Functions(fast, slow)
    return MappingSwitch(client("lambda"), functions), made["UUID"], functions


@pytest.fixture(params=["memory", "lambda"])
def switch(request: pytest.FixtureRequest, aws: None) -> Any:
    """(what switches mappings, a mapping's id)."""
    if request.param == "lambda":
        return mapping_of_aws()[:2]
    memory = MemorySwitch()
    memory.mappings["made"] = Mapped()
    return memory, "made"


@pytest.mark.parametrize("wanted", [Mapped(on, pool) for on in (True, False) for pool in Pool], ids=str)
def test_a_mapping_does_what_is_wanted_in_the_end_and_then_stays_so(switch: Any, wanted: Mapped) -> None:
    switched, mapping_id = switch
    assert any(switched.put(mapping_id, wanted) for _ in range(3))
    assert switched.put(mapping_id, wanted)
    assert switched.put(mapping_id, Mapped()) or switched.put(mapping_id, Mapped())


def test_a_mapping_that_is_no_more_needs_no_switching(switch: Any) -> None:
    assert switch[0].put("00000000-0000-0000-0000-000000000000", Mapped(False))


def test_a_mapping_is_moved_to_the_function_of_its_pool_and_switched_off(aws: None) -> None:
    switched, mapping_id, functions = mapping_of_aws()
    switched.put(mapping_id, Mapped(False, Pool.SLOW))
    found = client("lambda").get_event_source_mapping(UUID=mapping_id)
    assert (found["FunctionArn"], found["State"]) == (functions.slow, "Disabled")


class Lambda:
    """Lambda's answers where moto has none of its own: a mapping in a state, and a refusal to change it."""

    def __init__(self, state: str, code: str = "") -> None:
        self.state, self.code, self.asked = state, code, 0

    def get_event_source_mapping(self, **_: Any) -> dict[str, str]:
        return {"State": self.state, "FunctionArn": "fast"}

    def update_event_source_mapping(self, **_: Any) -> dict[str, str]:
        self.asked += 1
        if self.code:
            raise ClientError({"Error": {"Code": self.code, "Message": ""}}, "UpdateEventSourceMapping")
        return {"State": "Disabling", "FunctionArn": "fast"}


@pytest.mark.parametrize("state", ["Creating", "Enabling", "Disabling", "Updating", "Deleting"])
def test_a_mapping_that_is_being_changed_is_left_alone(state: str) -> None:
    service: Any = Lambda(state)
    assert not MappingSwitch(service, Functions("fast", "slow")).put("m", Mapped(False))
    assert service.asked == 0


def test_a_change_that_aws_has_begun_is_not_done_yet() -> None:
    service: Any = Lambda("Enabled")
    assert not MappingSwitch(service, Functions("fast", "slow")).put("m", Mapped(False))
    assert service.asked == 1


def test_a_mapping_in_use_is_asked_again_later() -> None:
    service: Any = Lambda("Enabled", "ResourceInUseException")
    assert not MappingSwitch(service, Functions("fast", "slow")).put("m", Mapped(False))


@pytest.fixture(params=["memory", "sqs"])
def queue(request: pytest.FixtureRequest, aws: None) -> Any:
    """(a queue emptied by hand, its URL, what puts a job into it)."""
    if request.param == "memory":
        memory = MemoryProbeQueues(Clock())
        fifo = memory.make("url")
        return memory, "url", lambda group, body: fifo.take(group, body, body)
    url = client("sqs").create_queue(QueueName="penstock-test-d-y.fifo", Attributes={"FifoQueue": "true"})["QueueUrl"]

    def put(group: str, body: str) -> None:
        client("sqs").send_message(QueueUrl=url, MessageBody=body, MessageGroupId=group, MessageDeduplicationId=body)

    return ProbeQueue(client("sqs")), url, put


def test_jobs_are_taken_in_order_and_hidden_and_those_that_are_done_are_gone(queue: Any) -> None:
    emptied, url, put = queue
    for group, body in (("ada", "1"), ("ada", "2"), ("grace", "3")):
        put(group, body)
    jobs = emptied.receive(url, 60)
    assert [(job.group, job.body, job.receives) for job in jobs] == [
        ("ada", "1", 1),
        ("ada", "2", 1),
        ("grace", "3", 1),
    ]
    assert emptied.receive(url, 60) == []
    assert emptied.waiting(url) == 3
    emptied.delete(url, [job.receipt for job in jobs[:2]])
    assert emptied.waiting(url) == 1
    emptied.hide(url, [(jobs[2].receipt, 0)])
    (again,) = emptied.receive(url, 60)
    assert (again.body, again.receives) == ("3", 2)
    assert again.sent_at == jobs[2].sent_at > 1_000_000_000  # epoch seconds, of when it was sent


def test_a_queue_that_is_gone_is_told_apart(queue: Any) -> None:
    with pytest.raises(QueueGone):
        queue[0].receive("https://sqs.us-east-1.amazonaws.com/123456789012/none.fifo", 60)


def test_a_gates_change_is_put_on_the_bus_under_its_own_name() -> None:
    entries: list[Any] = []

    class Events:
        def put_events(self, Entries: Any) -> dict[str, int]:  # noqa: N803 - as botocore has it
            entries.extend(Entries)
            return {"FailedEntryCount": 0}

    bus: Any = EventBus(Events(), "penstock-test")  # type: ignore[arg-type]
    bus.tell_gate("dst_x#at", json.dumps({"to": "closed"}).encode())
    (entry,) = entries
    assert (entry["Source"], entry["DetailType"], entry["Resources"]) == ("penstock", "Gate Changed", ["dst_x#at"])
    assert json.loads(entry["Detail"]) == {"to": "closed"}


class Failing:
    """A service that fails every call."""

    def __init__(self, trouble: Exception) -> None:
        self._trouble = trouble

    def __getattr__(self, name: str) -> Any:
        def refuse(**_: Any) -> None:
            raise self._trouble

        return refuse


TROUBLES = [
    ClientError({"Error": {"Code": "ThrottlingException", "Message": ""}}, "Any"),
    EndpointConnectionError(endpoint_url="https://aws"),
]


@pytest.mark.parametrize("trouble", TROUBLES, ids=["refused", "unreachable"])
def test_a_service_that_does_not_answer_is_unavailable(trouble: Exception) -> None:
    service: Any = Failing(trouble)
    table, emptied = GateTable(service, TABLE, Clock()), ProbeQueue(service)
    calls: list[tuple[Callable[[], object], type[Unavailable]]] = [
        (lambda: table.read(*KEY), StoreUnavailable),
        (lambda: table.save(*KEY, Gate(), closed()), StoreUnavailable),
        (lambda: table.strike(*KEY, ["ada"], NOW), StoreUnavailable),
        (lambda: table.due(NOW, 10), StoreUnavailable),
        (lambda: RecentDeliveries(service, TABLE).since(*KEY, NOW), StoreUnavailable),
        (lambda: ChoreQueue(service, "url").send([Chore(*KEY)]), QueueUnavailable),
        (lambda: MappingSwitch(service, Functions("fast", "slow")).put("m", Mapped()), QueueUnavailable),
        (lambda: emptied.receive("url", 60), QueueUnavailable),
        (lambda: emptied.delete("url", ["r"]), QueueUnavailable),
        (lambda: emptied.hide("url", [("r", 1)]), QueueUnavailable),
        (lambda: emptied.waiting("url"), QueueUnavailable),
    ]
    for call, error in calls:
        with pytest.raises(error):
            call()
