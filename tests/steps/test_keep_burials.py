"""What waits for a destination when it is deleted becomes dead letters, and only then is its queue taken down."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import msgspec
import pytest

from penstock.domain import gate_moves as moves
from penstock.domain.books import Books, add_up
from penstock.domain.config import Create, Remove
from penstock.domain.dedup import Owner
from penstock.domain.destinations import Destination, Unfinished, import_name
from penstock.domain.gate import Gate
from penstock.domain.job import Job, encode_job, group_of
from penstock.domain.letters import Letter
from penstock.domain.overflow import LaneKey
from penstock.domain.progress import Progress
from penstock.errors import QueueUnavailable, Unavailable
from penstock.steps.fan_out import Message
from penstock.steps.keep_burials import ALONE_FOR_S, CALLED_OFF_AFTER_S
from penstock.steps.keep_gates import tend, tick
from penstock.steps.keep_letters import KeepLetters
from tests.builders_pipeline import DESTINATION, SOURCE, WORKSPACE, event, job_of, run_of, url_of
from tests.fakes_control import Crash, Faults
from tests.gate_world import KEY, OUTLIVES_S, URL, Retention, World, destination

IMPORTS = import_name(DESTINATION)
REPLAY = "rpl_aaaaaaaaaaaa"
LONG = OUTLIVES_S + 120
CHANGES = (
    "receive", "delete", "remove", "release", "keep_deliver", "keep_created", "put", "commit", "forget", "send",
    "put_off", "take_turn",
)  # fmt: skip


class Hub(World):
    def delete(self) -> None:
        """As the control API does."""
        item = self.store.find(Destination, *KEY)
        assert item is not None
        self.burials.begin(*KEY)
        begun_at = int(self.clock.now)
        ending = Unfinished(workspace_id=WORKSPACE, id=DESTINATION, started_at=begun_at, is_deleted=True)
        self.store.commit([Remove(item), Create(ending)], None)

    def put(self, *jobs: Job, queue: str = URL) -> None:
        for message in map(message_of, jobs):
            self.queues.make(queue).take(message.group, message.id, message.body)

    def put_outside(self, *jobs: Job, name: str = DESTINATION, parking: int | None = None) -> LaneKey:
        run = jobs[0].run
        owner = Owner(WORKSPACE, SOURCE, group_of(SOURCE, run.key))
        lane = LaneKey(WORKSPACE, name, owner.group)
        self.waiting.open(lane, owner)
        messages = [message_of(each) for each in jobs]
        if parking is None:
            self.waiting.append(lane, messages)
        else:
            self.waiting.park(lane, parking, messages)
        return lane

    def die_once(self, faults: Faults) -> None:
        """Look after it until the fault has struck, or all is over."""

        def around(port: Any) -> Any:
            return faults.around(port, *CHANGES)

        burials = self.keep_burials(
            ledger=dataclasses.replace(self.ledger, store=around(self.store)),
            notes=around(self.burials),
            queues=around(self.named),
            mappings=around(self.mappings),
            gates=around(self.gates),
            queue=around(self.queues),
            overflow=around(self.waiting),
            receipts=around(self.receipts),
            chores=around(self.chores),
            outlives_s=20.0,
            letters=KeepLetters(around(self.bodies), around(self.letters), Retention(), self.clock, self.new_id),
        )
        until = self.clock.now + LONG
        while not faults.struck and self.clock.now < until:
            with suppress(Crash, Unavailable):
                tend(*KEY, self.ports(burials=burials))
            self.clock.now += 20

    @property
    def kept(self) -> list[Letter]:
        """By their places, as a replay takes them."""
        rows = self.letters.rows.get(KEY, {})
        found = self.bodies.read([rows[place] for place in sorted(rows)])
        return [letter for letter in found if letter is not None]

    @property
    def buried(self) -> list[str]:
        return [bytes(letter.event).decode().partition('"m-')[2].partition('"')[0] for letter in self.kept]

    @property
    def books(self) -> Books:
        return add_up(self.receipts.read(*KEY))

    @property
    def is_gone(self) -> bool:
        left = (self.gates.burials, self.gates.gates, self.waiting.states, self.mappings.made, self.queues.queues)
        return not any(left) and self.store.find(Unfinished, *KEY) is None


@pytest.fixture
def hub() -> Hub:
    return Hub()


def job(*numbers: int, id_: int = 0, key: str = "ada") -> Job:
    return job_of(run_of(*map(event, numbers), key=key), number=id_ or numbers[0])


def message_of(each: Job) -> Message:
    return Message(each.id, group_of(SOURCE, each.run.key), encode_job(each))


def test_what_waits_becomes_dead_letters_in_order_and_then_all_is_taken_down(hub: Hub) -> None:
    hub.gates.save(*KEY, Gate(), moves.paused(Gate(), "holiday", "tok_a", hub.clock.now))
    hub.put(job(1, 2), job(5, key="grace"), job(3))
    hub.delete()
    assert tend(*KEY, hub.ports()) == "burying"
    assert hub.buried == ["1", "2", "3", "5"]
    assert {(letter.kind, letter.reason, letter.attempts) for letter in hub.kept} == {
        ("dead", "destination_deleted", 0)
    }
    assert hub.books == Books(dead=hub.books.dead) and hub.books.dead == {"destination_deleted": 4}
    assert (hub.queue.held, hub.mappings.made) == ([], set())
    assert URL in hub.queues.queues
    hub.pass_(LONG)
    assert hub.is_gone


def test_what_was_delivered_of_a_job_is_no_letter(hub: Hub) -> None:
    hub.put(job(1, 2, 3), job(4, 5, id_=4))
    hub.progress.write(*KEY, job(1, 2, 3).id, Progress(1, 7, "http_500", first_at=hub.clock.now - 60))
    hub.progress.write(*KEY, job(4, 5, id_=4).id, Progress(2))
    hub.delete()
    tend(*KEY, hub.ports())
    assert hub.buried == ["2", "3"]
    assert [(letter.attempts, letter.first_at) for letter in hub.kept] == [(7, "2023-11-14T22:12:20.000Z"), (0, None)]
    assert hub.books.outcomes == 2


def test_what_was_delivered_of_a_job_before_it_was_parked_is_no_letter_though_its_note_is_forgotten(hub: Hub) -> None:
    reached = Progress(2, 7, "http_500", first_at=hub.clock.now - 60)
    hub.put_outside(msgspec.structs.replace(job(1, 2, 3), reached=reached), parking=7)
    hub.delete()
    tend(*KEY, hub.ports())
    assert (hub.buried, [letter.attempts for letter in hub.kept]) == (["3"], [7])


def test_jobs_that_somebody_has_in_hand_are_waited_for(hub: Hub) -> None:
    hub.put(job(1), job(2, key="grace"))
    hub.queue.receive(1)
    hub.queue.held[0].visible_at = hub.clock.now + 3_600
    hub.delete()
    hub.pass_(3_590)
    assert hub.buried == ["2"] and URL in hub.queues.queues
    hub.pass_(LONG)
    assert hub.buried == ["1", "2"] and hub.is_gone


def test_what_is_sent_to_it_by_who_does_not_know_yet_is_buried_too(hub: Hub) -> None:
    hub.delete()
    hub.pass_(OUTLIVES_S - 30)
    hub.put(job(1))
    hub.put(job(2), queue=url_of(IMPORTS))
    hub.pass_(LONG)
    assert hub.buried == ["1", "2"] and hub.is_gone


def test_what_waits_outside_its_queues_is_buried_too(hub: Hub) -> None:
    hub.put(job(3))
    hub.put_outside(job(1), job(2, id_=2), parking=7)
    hub.put_outside(*[job(number) for number in range(4, 260)])
    hub.put_outside(job(300), job(301), name=IMPORTS)
    hub.delete()
    tend(*KEY, hub.ports())
    assert hub.buried == [*map(str, range(1, 260)), "300", "301"]
    assert not hub.waiting.states and not any(hub.waiting.jobs.values())
    hub.pass_(LONG)
    assert hub.is_gone


def test_large_jobs_are_buried_a_few_at_a_time(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("penstock.steps.bury.LARGEST_ROUND", 2 * len(message_of(job(40)).body))
    hub.put(*[job(number, key=str(number)) for number in range(1, 40)])
    hub.put_outside(*[job(number) for number in range(40, 45)])
    hub.delete()
    tend(*KEY, hub.ports())
    assert hub.buried == [*map(str, range(1, 45))] and not hub.waiting.states
    assert len(hub.bodies.objects) == 4 + 3


def test_a_lane_that_a_function_is_writing_to_stays_until_it_is_done(hub: Hub) -> None:
    lane = hub.put_outside(job(1), job(2))
    late = hub.waiting.jobs[lane].popitem()
    hub.waiting.whole[lane] = (0, 1)
    hub.delete()
    tend(*KEY, hub.ports())
    assert hub.buried == ["1"] and lane in hub.waiting.states
    hub.waiting.jobs[lane].update([late])
    hub.waiting.whole[lane] = (0, 2)
    hub.pass_(LONG)
    assert hub.buried == ["1", "2"] and hub.is_gone


def test_what_waits_outside_after_the_end_is_not_dropped(hub: Hub) -> None:
    hub.delete()
    hub.pass_(LONG)
    hub.put_outside(job(1))
    tend(*KEY, hub.ports())
    assert (hub.buried, hub.books.dead, hub.waiting.states) == (["1"], {"destination_deleted": 1}, {})
    hub.pass_(LONG)
    assert not hub.waiting.turns


def test_a_job_that_nobody_can_read_or_that_is_anothers_is_kept_aside(hub: Hub) -> None:
    hub.queue.take("g", "odd", "{")
    hub.put(job_of(run_of(event(1), workspace="ws_bbbbbbbbbbbb"), number=8), job(2))
    hub.put(job_of(run_of(event(3)), number=9, destination="dst_bbbbbbbbbbbb"))
    hub.delete()
    tend(*KEY, hub.ports())
    assert (hub.buried, len(hub.receipts.unreadable[DESTINATION]), hub.queue.held) == (["2"], 3, [])


def test_what_a_replay_had_sent_is_a_letter_behind_its_own_and_is_noted_as_created(hub: Hub) -> None:
    replayed = Job(1, f"{job(1).id}.0.{REPLAY}", DESTINATION, run_of(event(1)), REPLAY)
    hub.put(replayed, job(2))
    hub.delete()
    tend(*KEY, hub.ports())
    assert [letter.place.endswith(REPLAY) for letter in hub.kept] == [True, False]
    assert (hub.books.created, hub.books.dead) == (1, {"destination_deleted": 2})


def test_of_two_chores_at_once_one_does_it(hub: Hub) -> None:
    hub.delete()
    assert hub.burials.take_turn(*KEY, ALONE_FOR_S) is not None
    hub.put(job(1))
    assert tend(*KEY, hub.ports()) == "burying" and hub.buried == []
    hub.clock.now += ALONE_FOR_S
    tend(*KEY, hub.ports())
    assert hub.buried == ["1"]


def test_a_mapping_that_aws_is_changing_is_deleted_later_and_its_queue_stays_until_then(hub: Hub) -> None:
    class Busy:
        def delete(self, destination_id: str, known_id: str | None) -> None:
            raise QueueUnavailable("in use")

    hub.put(job(1))
    hub.delete()
    busy = hub.ports(burials=hub.keep_burials(mappings=Busy()))
    assert tend(*KEY, busy) == "burying" and hub.buried == ["1"]
    hub.clock.now += LONG
    with pytest.raises(QueueUnavailable):
        tend(*KEY, busy)
    assert URL in hub.queues.queues and hub.store.find(Unfinished, *KEY)
    hub.pass_(LONG)
    assert hub.is_gone


def test_what_time_does_not_allow_is_done_at_once_afterwards(hub: Hub) -> None:
    hub.put(*[job(number, key=str(number)) for number in range(1, 251)])
    hub.delete()

    class Slow:
        def __getattr__(self, name: str) -> Any:
            return getattr(hub.receipts, name)

        def keep_deliver(self, *given: Any) -> None:
            hub.clock.now += 25.0
            hub.receipts.keep_deliver(*given)

    tend(*KEY, hub.ports(burials=hub.keep_burials(receipts=Slow())))
    assert len(hub.buried) == 200
    assert hub.chores.take() == [KEY]


def test_a_deletion_that_never_came_to_it_is_called_off(hub: Hub) -> None:
    hub.burials.begin(*KEY)
    hub.clock.now += CALLED_OFF_AFTER_S - 1
    assert tick(hub.ports()) == 0 and hub.gates.burials
    hub.clock.now += 2
    assert tick(hub.ports()) == 0 and not hub.gates.burials


def test_a_destination_that_is_being_made_is_left_alone(hub: Hub) -> None:
    hub.store.commit([Remove(destination())], None)
    begun = Unfinished(workspace_id=WORKSPACE, id=DESTINATION, started_at=int(hub.clock.now))
    hub.store.commit([Create(begun)], None)
    tend(*KEY, hub.ports())
    assert URL in hub.queues.queues and hub.mappings.made and hub.store.find(Unfinished, *KEY) == begun


@pytest.mark.parametrize("after", [False, True], ids=["before-effect", "after-effect"])
@pytest.mark.parametrize("wrong", [Crash, lambda: QueueUnavailable("injected")], ids=["crash", "unavailable"])
def test_a_gatekeeper_that_dies_anywhere_loses_nothing_and_counts_nothing_twice(
    wrong: Callable[[], BaseException], after: bool
) -> None:
    """With no chore left, the tick alone brings it to its end."""
    struck = 0
    for at in range(1, 100):
        hub = Hub()
        replayed = Job(1, f"{job(9).id}.0.{REPLAY}", DESTINATION, run_of(event(9), key="eve"), REPLAY)
        hub.put(job(1, 2), job(3), job(4, key="grace"), replayed)
        hub.put_outside(job(5), job(6))
        hub.delete()
        faults = Faults(at, wrong, after)
        hub.die_once(faults)
        struck += faults.struck
        hub.chores.waiting.clear()
        hub.pass_(2 * LONG + 600)
        assert hub.buried == ["1", "2", "3", "4", "5", "6", "9"], at
        assert (hub.books.created, hub.books.dead) == (1, {"destination_deleted": 7}), at
        assert hub.is_gone, at
        if not faults.struck:
            break
    assert struck > 20 and not faults.struck
