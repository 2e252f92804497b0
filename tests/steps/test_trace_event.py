"""The trace: from a messageId and a user to what every destination made of the event."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
from msgspec import Raw

from penstock.domain import dedup, letter_index
from penstock.domain.audit import iso
from penstock.domain.books import DEAD, DELIVERED, FanoutReceipt, Receipt, RecordReceipt, deliver_receipt
from penstock.domain.config import Create
from penstock.domain.dedup import Claims, Owner
from penstock.domain.destinations import Destination
from penstock.domain.job import group_of
from penstock.domain.letter_index import LetterEntry
from penstock.domain.letters import Letter, Received
from penstock.domain.progress import Progress
from penstock.domain.sources import Source
from penstock.domain.trace import LastAnswer
from penstock.domain.webhook_settings import Plain
from penstock.errors import NotFound
from penstock.steps import trace_event as step
from penstock.steps.trace_event import Ports, trace_event
from tests.builders_pipeline import DESTINATION, SHARD, SOURCE, WORKSPACE, run_of
from tests.fakes_control import Hub
from tests.fakes_pipeline import MemoryProgress

AT = "2026-11-23T16:00:00.000Z"
BEGIN = datetime(2026, 11, 23, 16, tzinfo=UTC).timestamp()
USER = "ada"
LAST = 2 * 86_400


def record(number: int, shard: str = SHARD) -> str:
    return f"{shard}-{number:056d}"


@dataclass
class World:
    """One source and one destination, a stream of a record a second, of which one is traced."""

    hub: Hub = field(default_factory=Hub)
    claims: dict[tuple[Owner, str], Claims] = field(default_factory=dict)
    rows: list[Receipt] = field(default_factory=list)
    notes: MemoryProgress = field(default_factory=MemoryProgress)
    letters: dict[str, tuple[LetterEntry, Letter]] = field(default_factory=dict)
    looked_at: int = 0
    look_s: float = 0.0  # that it takes to ask for a page of sources

    def __post_init__(self) -> None:
        self.hub.clock.now = BEGIN + LAST
        self.hub.store.commit([Create(source()), Create(destination())], None)

    @property
    def ports(self) -> Ports:
        return Ports(self.hub.ledger(), self, self, self.notes, _Letters(self), _Letters(self), self.hub.clock)

    def find(self, owners: Sequence[Owner], days: Sequence[str], id_: str) -> Mapping[Owner, Mapping[str, Claims]]:
        self.hub.clock.now += self.look_s
        return {owner: {day: self.claims.get((owner, day), {}) for day in days} for owner in owners}

    def read(
        self, workspace: str, destination: str, begin: str, end: str, page: int | None = None
    ) -> Iterator[Receipt]:
        assert workspace == WORKSPACE
        rows = self.rows if destination == DESTINATION else []
        for row in sorted((row for row in rows if begin <= row.at < end), key=lambda row: row.at):
            self.looked_at += 1
            yield row

    def claim(self, message_id: str, of: str, index: int = 0, day: str = "2026-11-23", source: str = SOURCE) -> None:
        owner = Owner(WORKSPACE, source, group_of(source, USER))
        claims = self.claims.setdefault((owner, day), {})
        claims[dedup.short_hash(message_id)] = dedup.claims_of(of, index + 1)[index]

    def fan_out(self, second: float, counts: Mapping[str, RecordReceipt]) -> None:
        self.rows.append(FanoutReceipt(iso(BEGIN + second), counts))

    def deliver(self, second: float, job: str, first: int, *fates: str, left: int = 0) -> None:
        self.rows.append(deliver_receipt(iso(BEGIN + second), {job: (first, fates)}, left={job: left}))

    def traced(self, message_id: str = "m") -> Any:
        (event,) = trace_event(WORKSPACE, message_id, USER, None, self.ports).events
        (found,) = event.destinations
        return found


@dataclass
class _Letters:
    world: World

    def find(self, workspace: str, destination: str, place: str) -> LetterEntry | None:
        found = self.world.letters.get(place)
        return found[0] if found else None

    def read(self, entries: Sequence[LetterEntry]) -> list[Letter | None]:
        return [self.world.letters[entry.place][1] for entry in entries]


def source(id_: str = SOURCE) -> Source:
    return Source(workspace_id=WORKSPACE, id=id_, name="Web", enabled=True, write_keys=(), created_at=AT, updated_at=AT)


def destination(**fields: Any) -> Destination:
    plain = {
        "workspace_id": WORKSPACE,
        "id": DESTINATION,
        "name": "Hook",
        "type": "webhook",
        "source_ids": (SOURCE,),
        "enabled": True,
        "settings": Plain("https://example.com"),
        "secret_names": (),
        "queue_url": "https://queue",
        "mapping_id": "m",
        "created_at": AT,
        "updated_at": AT,
    }
    return Destination(**(plain | fields))


@pytest.fixture
def world() -> World:
    return World()


def test_an_event_that_was_delivered_is_found_in_its_job_and_place(world: World) -> None:
    world.claim("m", record(7), index=3)
    world.fan_out(1, {record(7): RecordReceipt(4, 1, 1, "11011", (2, 1))})
    world.deliver(2, f"{record(7)}-0", 0, DELIVERED, DELIVERED)
    world.deliver(3, f"{record(7)}-1", 0, DELIVERED)
    found = world.traced()
    assert (found.id, found.name, found.verdict, found.attempts, found.at) == (
        DESTINATION,
        "Hook",
        "delivered",
        1,
        iso(BEGIN + 3),
    )


@pytest.mark.parametrize("taken", ["100", "111"])
@pytest.mark.parametrize("seconds", [0.5, 2])
def test_an_event_is_unknown_where_its_job_is_that_of_another_choice(world: World, taken: str, seconds: float) -> None:
    """The first try of fan-out has sent two of three events and left no receipt; the second wanted one, or all."""
    world.claim("m", record(7), index=0)
    world.fan_out(1, {record(7): RecordReceipt(3, taken.count("0"), 0, taken)})
    world.deliver(seconds, f"{record(7)}-0", 0, DELIVERED, left=1)
    assert (world.traced().verdict, world.traced().reason) == ("unknown", "settings_changed")


def test_an_event_is_unknown_where_another_ones_letter_lies_in_its_place(world: World) -> None:
    world.claim("m", record(7))
    world.fan_out(1, {record(7): RecordReceipt(1, 0)})
    letter = Letter(
        kind="dead",
        reason="timeout",
        at=iso(BEGIN + 5),
        job=f"{record(7)}-0",
        index=0,
        run=run_of(),
        event=Raw(b'{"messageId": "another"}'),
    )
    world.letters[letter.place] = (letter_index.entry(letter, "object", 0, 2_000_000_000), letter)
    assert (world.traced().verdict, world.traced().reason) == ("unknown", "settings_changed")


def test_an_event_that_nobody_wanted_is_filtered(world: World) -> None:
    world.claim("m", record(7), index=2)
    world.fan_out(1, {record(7): RecordReceipt(3, 1, 0, "110")})
    assert (world.traced().verdict, world.traced().reason) == ("filtered", "kept_away")


def test_an_event_whose_turn_has_not_come_waits(world: World) -> None:
    world.claim("m", record(7))
    world.fan_out(1, {record(7): RecordReceipt(1, 0)})
    assert (world.traced().verdict, world.traced().reason, world.traced().attempts) == ("waiting", "behind_others", 0)


def test_an_event_that_failed_waits_with_what_the_tool_said(world: World) -> None:
    world.claim("m", record(7))
    world.fan_out(1, {record(7): RecordReceipt(1, 0)})
    note = Progress(0, 2, "http_503", next_at=BEGIN + LAST + 60, answer="later")
    world.notes.write(WORKSPACE, DESTINATION, f"{record(7)}-0", note)
    found = world.traced()
    assert (found.verdict, found.reason, found.attempts) == ("waiting", "http_503", 2)
    assert (found.at, found.last) == (iso(BEGIN + LAST + 60), LastAnswer(503, None, "later"))


def test_an_event_that_got_through_at_last_tells_how_often_it_was_tried(world: World) -> None:
    world.claim("m", record(7))
    world.fan_out(1, {record(7): RecordReceipt(1, 0)})
    world.notes.write(
        WORKSPACE, DESTINATION, f"{record(7)}-0", Progress(0, 2, "timeout", next_at=BEGIN + 60, answer="")
    )
    world.deliver(61, f"{record(7)}-0", 0, DELIVERED)
    assert (world.traced().verdict, world.traced().attempts) == ("delivered", 3)


@pytest.mark.parametrize(("fate", "verdict"), [("http_404", "discarded"), (f"{DEAD}http_503", "dead")])
def test_an_event_without_a_letter_has_the_fate_that_its_receipt_tells(world: World, fate: str, verdict: str) -> None:
    world.claim("m", record(7))
    world.fan_out(1, {record(7): RecordReceipt(1, 0)})
    world.deliver(2, f"{record(7)}-0", 0, fate)
    assert (world.traced().verdict, world.traced().reason) == (verdict, fate.removeprefix(DEAD))


def test_an_event_that_became_a_letter_tells_what_the_tool_answered(world: World) -> None:
    world.claim("m", record(7))
    world.fan_out(1, {record(7): RecordReceipt(1, 0)})
    letter = Letter(
        kind="discarded",
        reason="http_404",
        at=iso(BEGIN + 5),
        job=f"{record(7)}-0",
        index=0,
        run=run_of(),
        event=Raw(b"{}"),
        attempts=1,
        response=Received(404, None, {}, "no such thing"),
    )
    world.letters[letter.place] = (letter_index.entry(letter, "object", 0, 2_000_000_000), letter)
    found = world.traced()
    assert (found.verdict, found.reason, found.attempts) == ("discarded", "http_404", 1)
    assert found.last == LastAnswer(404, None, "no such thing")


def test_a_record_is_found_among_a_day_of_others_on_other_shards(world: World) -> None:
    for second in range(0, 20_000, 2):
        other = f"{SHARD[:-1]}1"
        world.fan_out(second, {record(second): RecordReceipt(1, 0), record(99_999, other): RecordReceipt(1, 0)})
    world.claim("m", record(13_000))
    assert world.traced().verdict == "waiting"
    event = trace_event(WORKSPACE, "m", USER, None, world.ports).events[0]
    assert event.accepted_at == iso(BEGIN + 13_000)


def test_the_search_for_a_record_looks_at_few_receipts(world: World) -> None:
    for second in range(0, 40_000, 2):
        world.fan_out(second, {record(second): RecordReceipt(1, 0)})
    world.claim("m", record(33_000))
    world.deliver(33_001, f"{record(33_000)}-0", 0, DELIVERED)
    assert world.traced().verdict == "delivered"
    assert world.looked_at < 1_000


def test_a_record_that_came_out_of_order_by_minutes_is_found_too(world: World) -> None:
    for second in range(3_000):
        world.fan_out(second, {record(second): RecordReceipt(1, 0)})
    world.fan_out(1_300, {record(900_000): RecordReceipt(1, 0)})
    world.rows = [row for row in world.rows if record(1_000) not in row.records]  # type: ignore[union-attr]
    world.fan_out(1_400, {record(1_000): RecordReceipt(1, 0)})
    world.claim("m", record(1_000))
    assert trace_event(WORKSPACE, "m", USER, None, world.ports).events[0].accepted_at == iso(BEGIN + 1_400)


def test_what_left_no_receipt_is_unknown_and_says_so(world: World) -> None:
    world.claim("m", record(7))
    assert (world.traced().verdict, world.traced().reason) == ("unknown", "no_receipt")


def test_what_is_not_found_within_the_bound_is_unknown_and_says_so(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(step, "MOST_RECEIPTS", 10)
    world.claim("m", record(7))
    world.fan_out(1, {record(7): RecordReceipt(1, 0)})
    for number in range(20):
        world.deliver(2, f"{record(100 + number)}-0", 0, DELIVERED)
    world.deliver(3, f"{record(7)}-0", 0, DELIVERED)
    assert (world.traced().verdict, world.traced().reason) == ("unknown", "not_found_among_receipts")


def test_a_message_that_came_again_the_next_day_is_one_event_and_after_days_two(world: World) -> None:
    world.claim("m", record(7))
    world.claim("m", record(8), day="2026-11-24")
    assert [event.record for event in trace_event(WORKSPACE, "m", USER, None, world.ports).events] == [record(7)]
    world.claim("m", record(9), day="2026-11-21")
    days = [event.day for event in trace_event(WORKSPACE, "m", USER, None, world.ports).events]
    assert days == ["2026-11-21", "2026-11-23"]


def more_sources(world: World, count: int) -> list[str]:
    """By their ids behind the first one."""
    ids = [f"src_b{number:011d}" for number in range(count)]
    world.hub.store.commit([Create(source(each)) for each in ids], None)
    return ids


def test_an_event_is_found_whichever_of_many_sources_has_got_it(world: World) -> None:
    of = more_sources(world, 250)[-1]
    world.claim("m", record(7), source=of)
    found = trace_event(WORKSPACE, "m", USER, None, world.ports)
    assert ([event.source for event in found.events], found.unasked_sources) == ([of], [])


def test_sources_that_there_is_no_time_to_ask_are_named_and_nothing_is_said_of_them(world: World) -> None:
    ids = more_sources(world, 350)
    world.look_s = step.ASKED_S * 0.6
    found = trace_event(WORKSPACE, "m", USER, None, world.ports)
    assert (found.events, found.unasked_sources) == ([], ids[199:])
    world.claim("m", record(7))
    found = trace_event(WORKSPACE, "m", USER, None, world.ports)
    assert ([event.source for event in found.events], found.unasked_sources) == ([SOURCE], ids[199:])


def test_every_one_of_many_destinations_is_named_whether_or_not_there_was_time(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = [f"dst_b{number:011d}" for number in range(250)]
    world.hub.store.commit([Create(destination(id=each)) for each in others], None)
    world.claim("m", record(7))
    world.fan_out(1, {record(7): RecordReceipt(1, 0)})
    told = trace_event(WORKSPACE, "m", USER, None, world.ports).events[0].destinations
    assert [each.id for each in told] == [DESTINATION, *others]
    assert {each.reason for each in told[1:]} == {"no_receipt"}
    monkeypatch.setattr(step, "MOST_S", -1.0)
    told = trace_event(WORKSPACE, "m", USER, None, world.ports).events[0].destinations
    assert [(each.id, each.reason) for each in told] == [(each, "out_of_time") for each in (DESTINATION, *others)]


def test_a_message_of_another_user_or_source_is_not_there(world: World) -> None:
    world.claim("m", record(7))
    for user, source_id in (("grace", None), (USER, "src_bbbbbbbbbbbb")):
        with pytest.raises(NotFound):
            trace_event(WORKSPACE, "m", user, source_id, world.ports)
    with pytest.raises(NotFound):
        trace_event("ws_bbbbbbbbbbbb", "m", USER, None, world.ports)
