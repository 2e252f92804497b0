"""The gatekeeper parks what would grow too old, opens nothing before that is whole, and puts jobs back in turns."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from msgspec.structs import replace

from penstock.domain import gate as gates
from penstock.domain import gate_moves as moves
from penstock.domain.dedup import Owner
from penstock.domain.destinations import import_name
from penstock.domain.gate import Gate, GateState
from penstock.domain.job import decode_job, encode_job, group_of
from penstock.domain.overflow import LANES_AT_ONCE, PARKED_AFTER_S, REFILLED_EVERY_S, LaneKey, Limits, QueueKey
from penstock.domain.progress import Progress
from penstock.steps.fan_out import Message
from penstock.steps.keep_gates import tend, tick
from penstock.steps.keep_overflow import REFILLED_FOR_S, KeepOverflow
from penstock.steps.probe_queue import Received, Sent
from penstock.steps.refill import LARGEST_ROUND
from tests.builders_pipeline import DESTINATION, SOURCE, WORKSPACE, event, job_of, run_of
from tests.fakes_overflow import ANY_SIZE
from tests.fakes_pipeline import MemoryQueues
from tests.gate_world import KEY, URL, World

ADA = Owner(WORKSPACE, SOURCE, group_of(SOURCE, "ada"))
LANE = LaneKey(WORKSPACE, DESTINATION, ADA.group)
TWO_AT_ONCE = Limits(refilled_at_once=2)


class Hub(World):
    """`taken` are the numbers of the jobs that the tool took, or that it would have taken from the queue, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.overflow = KeepOverflow(self.waiting, self.queues, self.filled, self.progress, self.clock, TWO_AT_ONCE)
        self.is_down = True
        self.taken: list[str] = []

    def deliver(self, destination: str, queue_url: str, jobs: Sequence[Received]) -> Sent:
        if self.is_down:
            return Sent(frozenset(job.id for job in jobs), 0)
        self.taken += [number_in(job.body) for job in jobs]
        return Sent(frozenset(), len(jobs))

    def put(self, *numbers: int) -> None:
        for each in messages(*numbers):
            self.queue.take(each.group, each.id, each.body)

    def drain(self) -> None:
        """As deliver does while the mapping is on."""
        if self.mapped.on and not self.is_down:
            for each in self.queue.receive():
                self.taken.append(number_in(each.body))
                self.queue.delete(each.receipt)

    def wait(self, seconds: float) -> None:
        for _ in range(int(seconds)):
            self.pass_(1)
            self.drain()

    def sleep(self, seconds: float) -> None:
        """Nobody looks; then the tick does."""
        self.clock.now += seconds
        tick(self.ports())
        self.pass_(1)

    def pause(self) -> None:
        self.gates.save(*KEY, self.gate, moves.paused(self.gate, "holiday", "ada", self.clock.now))

    def resume(self) -> None:
        self.gates.save(*KEY, self.gate, moves.resumed(self.gate, "ada", self.clock.now))
        tend(*KEY, self.ports())


def messages(*numbers: int) -> list[Message]:
    jobs = [job_of(run_of(event(number)), number) for number in numbers]
    return [Message(job.id, ADA.group, encode_job(job)) for job in jobs]


def number_in(body: str) -> str:
    return body.partition('"m-')[2].partition('"')[0]


@pytest.fixture
def hub() -> Hub:
    return Hub()


def in_order(count: int) -> list[str]:
    return [str(number) for number in range(count)]


def test_a_destination_that_is_paused_for_long_has_its_queue_parked_and_nothing_is_lost(hub: Hub) -> None:
    hub.put(*range(25))
    hub.pause()
    tend(*KEY, hub.ports())
    hub.sleep(PARKED_AFTER_S - 5)
    assert len(hub.queue.held) == 25
    hub.sleep(3_700)
    assert (hub.queue.held, hub.waiting.count(*KEY, 100)) == ([], 25)
    hub.is_down = False
    hub.resume()
    hub.wait(600)
    assert (hub.gate.state, hub.mapped.on, hub.taken) == (GateState.OPEN, True, in_order(25))
    assert (hub.waiting.states, hub.waiting.turns) == ({}, {})


def parked_and_paused(hub: Hub) -> None:
    hub.put(*range(25))
    hub.pause()
    tend(*KEY, hub.ports())
    hub.sleep(PARKED_AFTER_S + 1)
    assert (hub.queue.held, hub.gate.has_parked, hub.gate.is_parking) == ([], True, False)


def test_a_gate_that_opens_now_and_then_is_parked_twelve_days_after_it_first_shut(hub: Hub) -> None:
    hub.put(*range(25))
    for _ in range(3):
        hub.pause()
        hub.sleep(3 * 86_400)
        hub.resume()
        hub.wait(60)
        assert len(hub.queue.held) == 25
    hub.pause()
    hub.sleep(3 * 86_400 + 3_600)
    assert (hub.queue.held, hub.waiting.count(*KEY, 100)) == ([], 25)
    hub.is_down = False
    hub.resume()
    hub.wait(600)
    assert hub.taken == in_order(25)


def test_a_gate_that_was_seen_empty_in_between_is_parked_twelve_days_after_it_shut_since(hub: Hub) -> None:
    hub.put(*range(5))
    hub.pause()
    hub.sleep(11 * 86_400)
    hub.is_down = False
    hub.resume()
    hub.wait(10)
    hub.sleep(gates.LOOKED_AFTER_S + gates.OVERDUE_S)
    assert (hub.gate.filled_at, hub.taken) == (None, in_order(5))
    assert gates.attend_at(hub.gate, hub.clock.now) is None
    hub.put(*range(5, 10))
    hub.pause()
    hub.sleep(11 * 86_400)
    assert len(hub.queue.held) == 5
    hub.sleep(86_400 + 3_600)
    assert hub.queue.held == []


def test_a_job_that_is_parked_carries_what_it_had_reached_and_its_old_message_counts_for_nothing(hub: Hub) -> None:
    hub.put(1, 2, 3)
    first, second, third = (job_of(run_of(event(number)), number) for number in (1, 2, 3))
    for each in hub.queue.receive(2):
        hub.queue.hide(each.receipt, 0)
    note = Progress(1, 4, "http_503", first_at=5.0, returns=40)
    hub.progress.write(WORKSPACE, DESTINATION, first.id, note)
    hub.pause()
    tend(*KEY, hub.ports())
    hub.sleep(PARKED_AFTER_S + 1)
    carried = [decode_job(each.body) for each in hub.waiting.stored(LANE, 10, ANY_SIZE)]
    assert [each.id for each in carried] == [first.id, second.id, third.id]
    assert [each.reached for each in carried] == [note._replace(returns=0), Progress(), None]
    assert hub.progress.read(WORKSPACE, DESTINATION, first.id) == note._replace(returns=0)


def test_a_destination_that_is_resumed_with_all_of_its_queue_parked_flows_at_once(hub: Hub) -> None:
    parked_and_paused(hub)
    hub.put(25)
    hub.resume()
    assert (hub.gate.state, hub.mapped.on, hub.gate.has_parked) == (GateState.OPEN, True, False)
    hub.is_down = False
    hub.wait(16 * REFILLED_EVERY_S)
    assert hub.taken == in_order(26)


def test_a_destination_that_is_resumed_while_its_queue_is_being_parked_flows_as_soon_as_that_ends(hub: Hub) -> None:
    parked_and_paused(hub)
    hub.put(25)

    class Resumed(KeepOverflow):
        def park(self, queues: Sequence[QueueKey], parking: int) -> bool:
            if hub.gate.state is GateState.PAUSED:
                hub.resume()
                assert not hub.mapped.on
            return super().park(queues, parking)

    hub.clock.now += gates.LOOKED_AFTER_S
    tend(*KEY, hub.ports(overflow=Resumed(hub.waiting, hub.queues, hub.filled, hub.progress, hub.clock)))
    assert (hub.gate.state, hub.mapped.on, hub.queue.held) == (GateState.OPEN, True, [])


def test_where_whoever_was_parking_is_gone_a_resumed_destination_flows_once_that_is_known(hub: Hub) -> None:
    parked_and_paused(hub)
    hub.gates.save(*KEY, hub.gate, moves.parking(hub.gate, hub.clock.now))
    hub.resume()
    hub.wait(moves.PARKING_TAKES_S - 5)
    assert not hub.mapped.on
    hub.wait(gates.OVERDUE_S + 66)
    assert hub.mapped.on


def test_a_mapping_stays_off_until_all_is_parked_if_anything_was(hub: Hub) -> None:
    hub.put(*range(25))
    hub.pause()
    hub.sleep(PARKED_AFTER_S + 1)
    hub.put(25)
    (out,) = hub.queue.receive(1)
    hub.queue.hide(out.receipt, 1_000)
    hub.resume()
    hub.wait(300)
    assert not hub.mapped.on
    hub.is_down = False
    hub.wait(1_500)
    assert (hub.mapped.on, hub.taken) == (True, in_order(26))


def test_what_was_put_back_for_a_probe_in_vain_stays_before_what_was_not(hub: Hub) -> None:
    hub.put(*range(9))
    hub.close()
    for _ in range(3):
        hub.sleep(PARKED_AFTER_S)
        hub.wait(200)
        assert hub.gate.state is GateState.CLOSED
        assert [number_in(each.body) for each in hub.queue.held] == in_order(2)
    hub.is_down = False
    hub.wait(600)
    assert (hub.gate.state, hub.taken) == (GateState.OPEN, in_order(9))


def test_while_a_gate_is_open_jobs_come_back_every_15_seconds_however_many_chores_come(hub: Hub) -> None:
    hub.is_down = False
    hub.waiting.open(LANE, ADA)
    hub.waiting.append(LANE, messages(*range(40)))
    began = hub.clock.now
    hub.wait(130)
    rounds = (hub.clock.now - began - 60) // REFILLED_EVERY_S + 1
    assert 2 * rounds - 4 <= len(hub.taken) <= 2 * rounds + 2
    assert len(hub.chores.waiting) <= 2
    hub.wait(600)
    assert (hub.taken, hub.waiting.states, hub.waiting.turns) == (in_order(40), {}, {})


def test_of_more_lanes_than_one_round_takes_none_waits_for_others_to_end(hub: Hub) -> None:
    hub.is_down = False
    groups = [f"user-{number:03d}" for number in range(2 * LANES_AT_ONCE + 50)]
    for group in groups:
        lane = LANE._replace(group=group)
        hub.waiting.open(lane, ADA._replace(group=group))
        hub.waiting.append(lane, [Message(f"{group}-{number}", group, "{}") for number in range(40)])
    hub.wait(60 + 3 * REFILLED_EVERY_S)
    left = [len(hub.waiting.jobs[LANE._replace(group=group)]) for group in groups]
    assert max(left) < 40
    assert max(left) - min(left) <= 4


class SlowQueues(MemoryQueues):
    """A call takes so long; what is in the queues is another's."""

    def __init__(self, hub: Hub, seconds: float) -> None:
        super().__init__(hub.clock)
        self.queues, self._clock, self._seconds = hub.filled.queues, hub.clock, seconds

    def send(self, queue_url: str, messages: Sequence[Message]) -> set[str]:
        self._clock.now += self._seconds
        return super().send(queue_url, messages)


def test_a_round_ends_in_time_and_what_the_queue_has_by_then_is_forgotten(hub: Hub) -> None:
    hub.overflow = KeepOverflow(hub.waiting, hub.queues, SlowQueues(hub, 5.0), hub.progress, hub.clock)
    hub.waiting.open(LANE, ADA)
    hub.waiting.append(LANE, messages(*range(40)))
    began = hub.clock.now
    assert hub.overflow.refill_in_turn(*KEY, [QueueKey(*KEY, URL)])
    assert (hub.clock.now - began, len(hub.queue.held), hub.waiting.count(*KEY, 100)) == (REFILLED_FOR_S, 4, 36)
    hub.is_down = False
    hub.wait(40 * 5 * 4)
    assert (hub.taken, hub.waiting.states) == (in_order(40), {})


def test_a_round_that_ends_early_has_taken_as_much_of_each_lane(hub: Hub) -> None:
    hub.overflow = KeepOverflow(hub.waiting, hub.queues, SlowQueues(hub, 0.2), hub.progress, hub.clock)
    lanes = [LANE._replace(group=f"{number:032x}") for number in range(30)]
    for lane in lanes:
        hub.waiting.open(lane, ADA._replace(group=lane.group))
        hub.waiting.append(lane, [Message(f"{lane.group}-{number}", lane.group, "{}") for number in range(200)])
    hub.overflow.refill_in_turn(*KEY, [QueueKey(*KEY, URL)])
    left = [len(hub.waiting.jobs[lane]) for lane in lanes]
    assert max(left) < 200
    assert max(left) - min(left) <= 1


def test_a_round_takes_no_more_into_memory_than_fits_and_something_of_each_lane(hub: Hub) -> None:
    hub.overflow = KeepOverflow(hub.waiting, hub.queues, hub.filled, hub.progress, hub.clock)
    large = "x" * (LARGEST_ROUND // 8)
    lanes = [LANE._replace(group=f"{number:032x}") for number in range(10)]
    for lane in lanes:
        hub.waiting.open(lane, ADA._replace(group=lane.group))
        hub.waiting.append(lane, [Message(f"{lane.group}-{number}", lane.group, large) for number in range(5)])
    hub.overflow.refill_in_turn(*KEY, [QueueKey(*KEY, URL)])
    assert [len(hub.waiting.jobs[lane]) for lane in lanes] == [4] * 10
    assert sum(len(each.body) for each in hub.queue.held) <= LARGEST_ROUND + 10 * len(large)


def test_while_a_gate_is_shut_nothing_comes_back(hub: Hub) -> None:
    hub.waiting.open(LANE, ADA)
    hub.waiting.append(LANE, messages(*range(4)))
    hub.pause()
    hub.wait(300)
    assert hub.queue.held == []
    assert hub.waiting.count(*KEY, 10) == 4


def test_imports_are_parked_and_put_back_with_a_destinations_other_jobs(hub: Hub) -> None:
    hub.put(*range(3))
    imported = hub.equip_for_imports()
    for each in messages(*range(10, 20)):
        imported.take(each.group, each.id, each.body)
    hub.pause()
    tend(*KEY, hub.ports())
    hub.sleep(PARKED_AFTER_S + 3_700)
    assert (hub.queue.held, imported.held) == ([], [])
    assert hub.waiting.count(WORKSPACE, import_name(DESTINATION), 100) == 10
    assert hub.waiting.marks[ADA] == {DESTINATION, import_name(DESTINATION)}
    hub.is_down = False
    hub.resume()
    hub.wait(600)
    assert hub.taken == in_order(3)
    assert [number_in(each.body) for each in imported.held] == [str(number) for number in range(10, 20)]
    assert (hub.waiting.states, hub.waiting.turns) == ({}, {})


def test_imports_that_are_all_outside_their_queue_are_what_a_gate_is_probed_with_if_nothing_else_is_there(
    hub: Hub,
) -> None:
    imported = hub.equip_for_imports()
    for each in messages(*range(5)):
        imported.take(each.group, each.id, each.body)
    hub.close()
    hub.sleep(PARKED_AFTER_S)
    hub.wait(300)
    assert hub.gate.state is GateState.CLOSED
    assert [number_in(each.body) for each in imported.held] == in_order(2)
    hub.is_down = False
    hub.wait(61)
    assert (hub.gate.state, hub.taken) == (GateState.OPEN, in_order(2))
    hub.wait(100)
    assert [number_in(each.body) for each in imported.held] == ["2", "3", "4"]


def test_a_lane_from_which_nothing_comes_back_keeps_no_gate_closed_for_long(hub: Hub) -> None:
    hub.waiting.open(LANE, ADA)
    hub.close()
    hub.wait(100)
    assert (hub.gate.state, hub.waiting.states) == (GateState.OPEN, {})


def live(hub: Hub, days: int) -> None:
    """With a tick now and then; and what has expired is gone."""
    for _ in range(days):
        for seconds in (85_800, 600):
            hub.sleep(seconds)
            hub.waiting.expire()


def test_what_a_paused_destination_still_has_to_get_never_expires(hub: Hub) -> None:
    hub.put(*range(250))
    hub.pause()
    tend(*KEY, hub.ports())
    live(hub, days=400)
    hub.is_down = False
    hub.resume()
    hub.wait(3_000)
    assert hub.taken == in_order(250)


def test_what_waits_behind_a_queue_that_is_deep_for_long_never_expires(hub: Hub) -> None:
    hub.overflow = KeepOverflow(hub.waiting, hub.queues, hub.filled, hub.progress, hub.clock, Limits(refilled_below=0))
    hub.waiting.open(LANE, ADA)
    hub.waiting.append(LANE, messages(*range(40)))
    live(hub, days=400)
    assert (hub.waiting.count(*KEY, 100), hub.waiting.marks[ADA]) == (40, {DESTINATION})


def test_what_everybody_has_forgotten_expires(hub: Hub) -> None:
    hub.waiting.open(LANE, ADA)
    hub.waiting.append(LANE, messages(1, 2))
    hub.waiting.turns.clear()
    live(hub, days=61)
    assert (hub.waiting.states, hub.waiting.count(*KEY, 10), hub.waiting.marks[ADA]) == ({}, 0, set())


def test_a_gate_that_shuts_again_names_its_parking_anew_but_not_before_anything_could_flow() -> None:
    first = moves.closed(Gate(), gates.FAILING, 100.0)
    paused = moves.paused(first, "holiday", "ada", 200.0)
    opened = moves.resumed(paused, "ada", 300.0)
    still_off = replace(opened, mapped=opened.mapped._replace(on=False))
    assert (first.parking, paused.parking, opened.parking) == (100.0, 100.0, 100.0)
    assert moves.paused(still_off, "holiday", "ada", 400.0).parking == 100.0
    assert moves.paused(opened, "holiday", "ada", 400.0).parking == 400.0
    assert moves.paused(opened, "holiday", "ada", 50.0).parking > 100.0
