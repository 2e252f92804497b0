"""Faults planted on purpose, each a small mutation of one port or step: the simulation has to see every one of them.

Beside each stands the promise that it breaks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import msgspec

from penstock.domain import letter_index
from penstock.domain.books import DEAD, Books, DeliverReceipt, FanoutReceipt, add_up, deliver_receipt
from penstock.domain.dedup import Claims, KeyState, Known, Owner, Wanted
from penstock.domain.event import iso
from penstock.domain.job import decode_job
from penstock.domain.letters import Letter, encode_letter
from penstock.domain.overflow import LaneKey
from penstock.steps.deliver import Message
from penstock.steps.fan_out import Message as Outgoing
from penstock.steps.keep_burials import KeepBurials
from tests.simulation.fifo import Held
from tests.simulation.lambdas import Instance, Invocation
from tests.simulation.overflowing import Overflowing
from tests.simulation.promises import BOOKS, LOST, REORDERED, REPEATED
from tests.simulation.restless import Restless
from tests.simulation.stream import Kept
from tests.simulation.wiring import WORKSPACE, moment
from tests.simulation.world import World


class DropsTheDedupWrite(World):
    """Fan-out takes for claimed what it never wrote."""

    breaks = REPEATED

    def fan_out_ports(self, instance: Instance) -> Any:
        ports = super().fan_out_ports(instance)
        return replace(ports, dedup=_Unwritten(ports.dedup))


class _Unwritten:
    def __init__(self, dedup: Any) -> None:
        self.read = dedup.read

    def claim(self, owner: Owner, day: str, claims: Claims) -> Claims:
        return claims


class RemovesTheDedupStore(World):
    """Every messageId looks new."""

    breaks = REPEATED

    def fan_out_ports(self, instance: Instance) -> Any:
        return replace(super().fan_out_ports(instance), dedup=_Nothing())


class _Nothing:
    def read(self, wanted: Sequence[Wanted]) -> Mapping[Owner, Known]:
        return {each.owner: Known(KeyState(), {}) for each in wanted}

    def claim(self, owner: Owner, day: str, claims: Claims) -> Claims:
        return claims


class AcknowledgesBeforeSending(World):
    """Messages are deleted when they are received, not when they are done."""

    breaks = LOST

    def carry_messages(
        self, destination: str, messages: Sequence[Held], given: Sequence[Message]
    ) -> tuple[Invocation, Sequence[str]]:
        for message in given:
            self.mappings[destination].acknowledge(message.receipt)
        return super().carry_messages(destination, messages, given)


class IgnoresAPartialFailure(World):
    """What deliver reports as failed is deleted all the same."""

    breaks = LOST

    def carry_messages(
        self, destination: str, messages: Sequence[Held], given: Sequence[Message]
    ) -> tuple[Invocation, Sequence[str]]:
        invocation, _ = super().carry_messages(destination, messages, given)
        return invocation, ()


class CountsWithTheReceiveCount(World):
    """A job that was received five times is given up, whatever it was received for."""

    breaks = LOST

    def carry_messages(
        self, destination: str, messages: Sequence[Held], given: Sequence[Message]
    ) -> tuple[Invocation, Sequence[str]]:
        worn = [place for place, each in enumerate(given) if each.receives >= 5]
        for place in worn:
            self._give_up(destination, given[place])
            self.mappings[destination].acknowledge(given[place].receipt)
        left = [place for place in range(len(given)) if place not in worn]
        return super().carry_messages(destination, [messages[at] for at in left], [given[at] for at in left])

    def _give_up(self, destination: str, message: Message) -> None:
        job, at = decode_job(message.body), iso(moment(self, 0.0))
        run = msgspec.structs.replace(job.run, events=[])
        letters = [
            Letter(kind="dead", reason="exhausted", at=at, job=job.id, index=index, run=run, event=event)
            for index, event in enumerate(job.run.events)
        ]
        self.letters.bodies.put(job.id, [encode_letter(letter) for letter in letters])
        entries = [letter_index.entry(letter, job.id, slot, 2**40) for slot, letter in enumerate(letters)]
        self.letters.index.put(WORKSPACE, destination, entries)
        fates = [f"{DEAD}exhausted"] * len(letters)
        self.receipts.keep_deliver(WORKSPACE, destination, deliver_receipt(at, {job.id: (0, fates)}))


class ForgetsTheGroup(World):
    """Jobs go to their queue under any message group."""

    breaks = REORDERED

    def fan_out_ports(self, instance: Instance) -> Any:
        ports = super().fan_out_ports(instance)
        return replace(ports, queues=_AnyGroup(ports.queues))


class _AnyGroup:
    def __init__(self, queues: Any) -> None:
        self._queues = queues

    def send(self, queue_url: str, messages: Sequence[Outgoing]) -> set[str]:
        return self._queues.send(queue_url, [each._replace(group=each.id) for each in messages])  # type: ignore[no-any-return]


class LosesAJob(World):
    """One job in twenty never reaches its queue, and fan-out does not know."""

    breaks = LOST

    def fan_out_ports(self, instance: Instance) -> Any:
        ports = super().fan_out_ports(instance)
        return replace(ports, queues=_Leaking(ports.queues, self))


class _Leaking:
    def __init__(self, queues: Any, world: World) -> None:
        self._queues = queues
        self._world = world

    def send(self, queue_url: str, messages: Sequence[Outgoing]) -> set[str]:
        left = [each for each in messages if self._world.chance.random() > 0.05]
        return self._queues.send(queue_url, left)  # type: ignore[no-any-return]


SEVEN = (
    DropsTheDedupWrite,
    RemovesTheDedupStore,
    AcknowledgesBeforeSending,
    IgnoresAPartialFailure,
    CountsWithTheReceiveCount,
    ForgetsTheGroup,
    LosesAJob,
)


class ForgetsThoseBehind(World):
    """Deliver reports the failing job alone, so the jobs behind it are deleted unsent."""

    breaks = LOST

    def carry_messages(
        self, destination: str, messages: Sequence[Held], given: Sequence[Message]
    ) -> tuple[Invocation, Sequence[str]]:
        invocation, failed = super().carry_messages(destination, messages, given)
        groups = {message.id: message.group for message in given}
        return invocation, list({groups[each]: each for each in reversed(failed)}.values())


class GoesOnWithoutAcknowledgement(World):
    """Fan-out takes what the queue refused for sent."""

    breaks = LOST

    def carry_records(self, batch: Sequence[Kept]) -> int | None:
        super().carry_records(batch)
        return None


class SendsFailuresLater(World):
    """A job that was refused goes behind those of its user that came later."""

    breaks = REORDERED

    def fan_out_ports(self, instance: Instance) -> Any:
        ports = super().fan_out_ports(instance)
        return replace(ports, queues=_Postponing(ports.queues, self))


class _Postponing:
    def __init__(self, queues: Any, world: World) -> None:
        self._queues = queues
        self._world = world

    def send(self, queue_url: str, messages: Sequence[Outgoing]) -> set[str]:
        late = [each for each in messages if self._world.chance.random() < 0.1]
        for each in late:
            self._world.clock.at(self._world.clock.now + 20.0, self._world.queues.send, queue_url, [each])
        return self._queues.send(queue_url, [each for each in messages if each not in late])  # type: ignore[no-any-return]


class LosesReceipts(World):
    """Most of what deliver did is not noted."""

    breaks = BOOKS

    def deliver_ports(self, instance: Instance) -> Any:
        ports = super().deliver_ports(instance)
        return replace(ports, receipts=_Forgetful(ports.receipts, self))


class _Forgetful:
    def __init__(self, receipts: Any, world: World) -> None:
        self._receipts = receipts
        self._world = world
        self.keep_unreadable = receipts.keep_unreadable

    def keep_deliver(self, workspace: str, destination: str, receipt: DeliverReceipt) -> None:
        if self._world.chance.random() < 0.1:
            self._receipts.keep_deliver(workspace, destination, receipt)


class CountsWhatItReads(World):
    """Books that add up rows and forget that a row may say again what another has said."""

    breaks = BOOKS

    def books(self, destination: str) -> Books:
        total = Books()
        for each in (add_up([row]) for row in self.rows(destination)):
            total.accepted += each.accepted
            total.filtered += each.filtered
            total.delivered += each.delivered
            total.discarded += each.discarded
            total.dead += each.dead
        return total


class TakesFanOutsWordForIt(Restless):
    """Books that do not know that the queue may have kept the jobs of another try, by other settings."""

    breaks = BOOKS

    def books(self, destination: str) -> Books:
        rows = self.rows(destination)
        return replace(add_up(rows), filtered=add_up(row for row in rows if isinstance(row, FanoutReceipt)).filtered)


class BelievesInNotesAlone(Restless):
    """Books that count nothing as created of which no note was left."""

    breaks = BOOKS

    def books(self, destination: str) -> Books:
        return add_up(self.rows(destination), lambda job_id, at: False)


class NewKeyForEveryTry(World):
    """The tool cannot tell a repetition."""

    breaks = REPEATED

    def deliver_ports(self, instance: Instance) -> Any:
        return replace(super().deliver_ports(instance), tool=_Rekeying(self))


class _Rekeying:
    def __init__(self, world: World) -> None:
        self._world = world

    def post(self, url: str, headers: Mapping[str, str], body: bytes, timeout_s: float) -> Any:
        key = f"{headers['Idempotency-Key']}-{self._world.chance.random()}"
        return self._world.sites.post(url, {**headers, "Idempotency-Key": key}, body, timeout_s)


class TakesAQueueDownWithItsJobs(World):
    """A deleted destination's queue goes at once, with whatever waits in it."""

    breaks = LOST

    def delete(self, name: str) -> None:
        super().delete(name)
        self.clock.at(self.clock.now + 1.0, self.take_down, name)


class DoesNotWaitForWhatIsInHand(World):
    """A deleted destination's queue goes although somebody still sends to it, or has jobs of it in hand."""

    breaks = LOST

    def gatekeeper_ports(self, instance: Instance) -> Any:
        ports = super().gatekeeper_ports(instance)
        burials = ports.burials._ports
        hasty = replace(burials, queue=_SeemsEmpty(), outlives_s=0.0)
        return replace(ports, burials=KeepBurials(hasty))


class _SeemsEmpty:
    def waiting(self, queue_url: str) -> int:
        return 0


class ShowsHalfOfWhatIsStored(Overflowing):
    """Whatever is in the overflow goes back, whether or not what was appended before it is there yet."""

    breaks = REORDERED

    def _make_stores(self) -> None:
        super()._make_stores()
        self.overflow.whole = _Everything()  # type: ignore[assignment]


class _Everything(dict[LaneKey, tuple[int, int]]):
    def __getitem__(self, lane: LaneKey) -> tuple[int, int]:
        return 10**12, 10**12


MORE = (
    ForgetsThoseBehind,
    GoesOnWithoutAcknowledgement,
    SendsFailuresLater,
    LosesReceipts,
    CountsWhatItReads,
    TakesFanOutsWordForIt,
    BelievesInNotesAlone,
    NewKeyForEveryTry,
    TakesAQueueDownWithItsJobs,
    DoesNotWaitForWhatIsInHand,
    ShowsHalfOfWhatIsStored,
)
