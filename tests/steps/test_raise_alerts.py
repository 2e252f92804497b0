"""Alerts: told once when something goes wrong, once when it is right again, whoever looks and crashes when."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest

from penstock.domain.alerts import AlertState, Key, NewAlert
from penstock.domain.audit import iso
from penstock.domain.books import DELIVERED, FanoutReceipt, RecordReceipt, deliver_receipt
from penstock.domain.config import Create, Remove
from penstock.domain.delivery import Answer
from penstock.domain.gate import Gate
from penstock.domain.gate_moves import closed
from penstock.domain.health import RateView
from penstock.errors import QueueUnavailable
from penstock.steps import keep_alerts, read_health
from penstock.steps.keep_alerts import AlertWorks
from penstock.steps.raise_alerts import EVERY_S, LANE_S, LANES, Ports, raise_alerts, tick
from penstock.steps.watch_gate import Chore
from tests.builders_pipeline import DESTINATION, WORKSPACE
from tests.fakes_control import Hub
from tests.fakes_health import MemoryAlerts, MemoryMinutes
from tests.fakes_overflow import MemoryOverflow
from tests.fakes_pipeline import Clock, MemoryReceipts
from tests.steps.test_trace_event import destination

TOPICS = "arn:aws:sns:us-east-1:123456789012:penstock-test-alerts-"
TOPIC = f"{TOPICS}{WORKSPACE}"
URL = "https://example.com/alert"


class Crash(BaseException):
    """The Lambda is gone: nothing of ours catches this."""


@dataclass
class Room:
    """Where one has to wait for a while if others are in it."""

    clock: Clock
    waits_s: float = 0.0
    inside: int = 0
    entered: int = 0

    def __enter__(self) -> None:
        self.clock.now += self.waits_s
        self.inside += 1
        self.entered += 1

    def __exit__(self, *_: object) -> None:
        self.inside -= 1


@dataclass
class World:
    """One destination, its queue and gate, and who is told of it."""

    hub: Hub = field(default_factory=Hub)
    receipts: MemoryReceipts = field(default_factory=MemoryReceipts)
    minutes: MemoryMinutes = field(default_factory=MemoryMinutes)
    gate: Gate = field(default_factory=Gate)
    jobs: int = 0
    answer: Answer = field(default_factory=lambda: Answer(200))
    told: list[dict[str, Any]] = field(default_factory=list)
    chores: list[Chore] = field(default_factory=list)
    hangs_s: float = 0.0
    crash: bool = False
    room: Room = field(init=False)

    def __post_init__(self) -> None:
        self.watched = MemoryAlerts(self.hub.clock)
        self.room = Room(self.hub.clock)
        self.hub.store.commit([Create(destination())], None)

    @property
    def works(self) -> AlertWorks:
        return AlertWorks(self.hub.ledger(), self.watched, TOPICS, allow_loopback=False)

    @property
    def ports(self) -> Ports:
        books = read_health.Books(self.receipts, self.minutes, self.hub.clock)  # type: ignore[arg-type]
        health = read_health.Ports(books, self, MemoryOverflow(self.hub.clock), self, self)
        return Ports(self.watched, self.hub.store, health, self, self, self, self.hub.clock, self.room)

    def waiting(self, queue_url: str) -> int:
        assert self.room.inside == 1
        if self.jobs < 0:
            raise QueueUnavailable("SQS")
        return self.jobs

    def find(self, key: tuple[str, str]) -> Gate:
        return self.gate

    def view(self, item: Any) -> RateView:
        return RateView(None, None)

    def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        assert not self.room.inside
        notice = msgspec.json.decode(body)
        assert headers["Idempotency-Key"] == notice["id"]
        self.told.append(notice | {"to": url})
        if self.crash:
            raise Crash
        self.hub.clock.now += self.hangs_s
        return self.answer

    def publish(self, topic: str, subject: str, message: str) -> bool:
        self.told.append(msgspec.json.decode(message) | {"to": topic})
        return True

    def send(self, chores: Sequence[Chore]) -> None:
        self.chores += chores

    def make(self, workspace: str = WORKSPACE, destination: str = DESTINATION, **fields: Any) -> str:
        wanted = {"name": "Shut", "metric": "gate", "webhook": URL} | fields
        caller = msgspec.structs.replace(self.hub.caller, workspace_id=workspace)
        return keep_alerts.create_alert(self.works, caller, destination, NewAlert(**wanted)).id

    def make_destinations(self, workspace: str, count: int) -> list[str]:
        made = [f"dst_{number:012d}" for number in range(count)]
        items = [msgspec.structs.replace(destination(), workspace_id=workspace, id=each) for each in made]
        self.hub.store.commit([Create(each) for each in items], None)
        return made

    def pass_minute(self, seconds: float = 60.0) -> list[tuple[str, str]]:
        """What was told in a minute."""
        self.hub.clock.now += seconds
        before = len(self.told)
        self.look()
        return [(notice["type"], notice["id"]) for notice in self.told[before:]]

    def look(self) -> float:
        """The tick sends chores, which are done side by side; how long the longest of them takes."""
        tick(self.ports)
        chores, self.chores = self.chores, []
        now, longest = self.hub.clock.now, 0.0
        for chore in chores:
            raise_alerts(chore.workspace, chore.destination, self.ports)
            longest = max(longest, self.hub.clock.now - now)
            self.hub.clock.now = now
        return longest

    def fan_out(self, name: str) -> None:
        at = iso(self.hub.clock())
        self.receipts.keep_fanout(WORKSPACE, DESTINATION, FanoutReceipt(at, {name: RecordReceipt(1, 0)}))

    def deliver(self, name: str, *fates: str, **more: Any) -> None:
        receipt = deliver_receipt(iso(self.hub.clock()), {name: (0, fates)} if fates else {}, **more)
        self.receipts.keep_deliver(WORKSPACE, DESTINATION, receipt)


@pytest.fixture
def world() -> World:
    return World()


def shut(world: World) -> None:
    world.gate = closed(Gate(), "failing", world.hub.clock())


def test_a_gate_that_closes_is_told_once_and_so_is_its_opening(world: World) -> None:
    alert = world.make()
    assert world.pass_minute() == []
    shut(world)
    assert world.pass_minute() == [("alert.raised", f"{alert}#1#raised")]
    assert world.pass_minute() == []
    world.gate = Gate()
    assert world.pass_minute() == [("alert.recovered", f"{alert}#1#recovered")]
    assert world.pass_minute() == []
    shut(world)
    assert world.pass_minute() == [("alert.raised", f"{alert}#2#raised")]


def test_a_notice_says_whose_alert_it_is_and_since_when(world: World) -> None:
    alert = world.make()
    shut(world)
    world.pass_minute()
    assert world.told == [
        {
            "id": f"{alert}#1#raised",
            "type": "alert.raised",
            "workspace": WORKSPACE,
            "destination": DESTINATION,
            "destination_name": "Hook",
            "alert": alert,
            "name": "Shut",
            "metric": "gate",
            "threshold": None,
            "value": None,
            "at": iso(world.hub.clock()),
            "to": URL,
        }
    ]


def test_a_share_of_what_was_tried_is_held_against_the_threshold(world: World) -> None:
    world.make(metric="delivered_share", threshold=0.75, window_minutes=3)
    assert world.pass_minute() == []
    world.deliver("a", DELIVERED, DELIVERED, "http_400", retried=1)
    assert [kind for kind, _ in world.pass_minute()] == ["alert.raised"]
    assert world.told[0]["value"] == 0.5
    assert world.pass_minute(600) == []  # nothing was tried of late: that is no recovery
    world.deliver("b", DELIVERED)
    assert [kind for kind, _ in world.pass_minute()] == ["alert.recovered"]


def test_the_age_of_what_waits_is_held_against_the_threshold(world: World) -> None:
    world.make(metric="oldest_age_s", threshold=300)
    world.fan_out("r")
    world.jobs = 1
    assert [world.pass_minute() for _ in range(4)] == [[], [], [], []]
    for _ in range(3):
        world.pass_minute()
    assert [notice["type"] for notice in world.told] == ["alert.raised"]
    world.deliver("r-0", DELIVERED)
    world.jobs = 0
    assert [kind for kind, _ in world.pass_minute()] == ["alert.recovered"]


def test_a_destination_that_brings_more_than_is_counted_at_once_is_judged_by_what_is_counted(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(read_health, "MOST_RECEIPTS", 2)
    world.make(metric="delivered_share", threshold=0.75, window_minutes=1)
    world.make(metric="oldest_age_s", threshold=100)
    world.jobs = 1
    for minute in range(8):
        for number in range(4):
            world.fan_out(f"r-{minute}-{number}")
            world.deliver(f"r-{minute}-{number}-0", retried=1)
        world.pass_minute()
    assert sorted((notice["metric"], notice["type"]) for notice in world.told) == [
        ("delivered_share", "alert.raised"),
        ("oldest_age_s", "alert.raised"),
    ]
    for minute in range(8):
        for number in range(4):
            world.deliver(f"r-{minute}-{number}-0", DELIVERED)
        world.pass_minute()
    assert world.told[-1]["type"] == "alert.recovered"


@pytest.fixture
def behind(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """An hour of failures that nobody has counted, and all is well since four minutes ago."""
    monkeypatch.setattr(read_health, "MOST_RECEIPTS", 2)
    for minute in range(60):
        for number in range(4):
            world.deliver(f"r-{minute}-{number}-0", DELIVERED if minute > 55 else "http_400")
        world.hub.clock.now += 60
    world.make(metric="delivered_share", threshold=0.75, window_minutes=3)
    return world


def test_what_nobody_has_counted_of_late_is_caught_up_with_before_it_is_judged(behind: World) -> None:
    assert behind.pass_minute() == []
    for number in range(4):
        behind.deliver(f"r-60-{number}-0", "http_400")
    assert [kind for _ in range(3) for kind, _ in behind.pass_minute()] == ["alert.raised"]


def test_who_has_waited_for_room_is_measured_whatever_the_time_for_others_would_keep_it_out_again(world: World) -> None:
    world.make()
    world.gate = closed(Gate(), "failing", world.hub.clock())
    world.room.waits_s = LANE_S + 1
    assert [kind for kind, _ in world.pass_minute()] == ["alert.raised"]


def test_who_has_much_to_catch_up_with_lets_others_in_between(behind: World) -> None:
    behind.pass_minute()
    assert behind.room.entered > 1


def test_what_is_counted_to_long_ago_says_nothing_of_now(behind: World) -> None:
    read = behind.receipts.read

    def slowly(*of: Any) -> Any:
        behind.hub.clock.now += 2.0
        return read(*of)

    behind.receipts.read = slowly  # type: ignore[method-assign]
    assert behind.pass_minute() == []
    assert behind.minutes.total(WORKSPACE, DESTINATION).upto


def test_a_topic_is_told_instead_of_a_webhook(world: World) -> None:
    world.make(webhook=None, sns_topic=TOPIC)
    shut(world)
    world.pass_minute()
    assert [notice["to"] for notice in world.told] == [TOPIC]


def test_a_crash_while_telling_repeats_the_notice_under_its_id(world: World) -> None:
    alert = world.make()
    shut(world)
    world.crash = True
    with pytest.raises(Crash):
        world.pass_minute()
    world.crash = False
    assert world.pass_minute() == [("alert.raised", f"{alert}#1#raised")]
    assert world.pass_minute() == []
    assert len(world.told) == 2


def test_a_notice_that_nobody_takes_is_told_every_minute_for_an_hour(world: World) -> None:
    world.make()
    shut(world)
    world.answer = Answer(500)
    for _ in range(120):
        world.pass_minute()
    assert 59 <= len(world.told) <= 62
    assert len({notice["id"] for notice in world.told}) == 1


def test_a_recovery_that_nobody_was_alarmed_of_is_told_to_nobody(world: World) -> None:
    world.make()
    shut(world)
    world.answer = Answer(500)
    world.pass_minute()
    world.gate, world.answer = Gate(), Answer(200)
    assert world.pass_minute() == []


def test_where_an_alarm_was_given_up_its_recovery_is_told_to_nobody_and_the_next_alarm_is(world: World) -> None:
    alert = world.make()
    shut(world)
    world.answer = Answer(500)
    for _ in range(90):
        world.pass_minute()
    world.gate, world.answer = Gate(), Answer(200)
    assert world.pass_minute() == []
    shut(world)
    assert world.pass_minute() == [("alert.raised", f"{alert}#2#raised")]
    world.gate = Gate()
    assert world.pass_minute() == [("alert.recovered", f"{alert}#2#recovered")]


def test_two_that_look_at_once_tell_once(world: World) -> None:
    world.make()
    shut(world)
    world.hub.clock.now += 60
    seen = world.watched.due_of(WORKSPACE, DESTINATION, world.hub.clock())
    world.look()
    world.watched.due_of = lambda *of: seen  # type: ignore[method-assign]
    raise_alerts(WORKSPACE, f"alerts#{DESTINATION}", world.ports)
    assert len(world.told) == 1


def test_one_workspaces_hanging_webhooks_delay_no_others_alarm(world: World) -> None:
    other = "ws_hanging000000"
    for each in world.make_destinations(other, 12):
        for number in range(10):
            world.make(other, each, webhook=f"https://hanging.example/{number}")
    world.make()
    shut(world)
    world.hub.clock.now += EVERY_S
    world.hangs_s = 5.0
    longest = world.look()
    assert [notice["workspace"] for notice in world.told].count(WORKSPACE) == 1
    assert longest <= LANE_S + world.hangs_s


def test_a_workspaces_rules_have_a_few_lanes_at_most(world: World) -> None:
    other = "ws_busy000000000"
    made = world.make_destinations(other, 50)
    for each in made:
        world.make(other, each)
    world.hub.clock.now += EVERY_S
    tick(world.ports)
    assert len(world.chores) == LANES
    named = [each for chore in world.chores for each in chore.destination.removeprefix("alerts#").split(",")]
    assert sorted(named) == made


def test_what_a_lane_did_not_come_to_goes_first_in_the_next(world: World) -> None:
    for number in range(9):
        world.make(webhook=f"https://example.com/{number}")
    shut(world)
    world.answer, world.hangs_s = Answer(500), 5.0
    for _ in range(2):
        world.hub.clock.now += EVERY_S
        world.look()
    assert len({notice["to"] for notice in world.told}) == 9


def test_every_rule_of_the_hub_is_looked_at_every_minute(world: World) -> None:
    workspaces = [f"ws_{number:012d}" for number in range(40)]
    for workspace in workspaces:
        for each in world.make_destinations(workspace, 5):
            world.make(workspace, each)
    shut(world)
    assert len(world.pass_minute()) == 200


def test_a_disabled_rule_is_watched_and_tells_nothing(world: World) -> None:
    world.make(enabled=False)
    shut(world)
    assert world.pass_minute() == []
    assert len(world.watched.rules) == 1


def test_a_rule_whose_destination_is_gone_is_watched_no_more(world: World) -> None:
    world.make()
    item = world.hub.store.items.values()
    gone = next(each for each in item if each.id == DESTINATION)
    world.hub.store.commit([Remove(gone)], None)
    world.pass_minute()
    assert world.watched.rules == {}


def test_a_rule_whose_making_crashed_is_watched_no_more(world: World) -> None:
    world.watched.watch(Key(WORKSPACE, DESTINATION, "alr_000000000000"))
    world.pass_minute()
    assert world.watched.rules == {}


def test_one_rule_that_cannot_be_measured_keeps_no_other_from_being_told(world: World) -> None:
    world.make(metric="oldest_age_s", threshold=1)
    world.jobs = -1
    assert world.pass_minute() == []
    world.jobs = 0
    shut(world)
    world.make()
    assert [kind for kind, _ in world.pass_minute()] == ["alert.raised"]


def test_an_alert_stands_as_it_was_found_last(world: World) -> None:
    alert = world.make()
    shut(world)
    world.pass_minute()
    assert world.watched.read(Key(WORKSPACE, DESTINATION, alert)) == AlertState(True, 1, world.hub.clock(), True)
