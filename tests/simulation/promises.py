"""What has to hold after a run: nothing lost, order, no repetition without a cause, books that balance.

The simulator knows what clients sent, what the stream took and what each tool really took. Receipts, letters and
queues are held against that; nothing is computed as a remainder.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise

import msgspec

from penstock.domain.books import DELIVERED, DeliverReceipt, FanoutReceipt
from penstock.domain.delivery import LAST_TRIED_S, TOO_OLD_S
from penstock.domain.job import decode_job, record_of, replay_of
from penstock.domain.letters import Letter
from penstock.domain.run import decode_run
from penstock.steps.lane import TOO_OLD
from tests.simulation.clients import Event
from tests.simulation.lambdas import LONGEST_SKEW_S
from tests.simulation.stores import Settings
from tests.simulation.tool import Site, Taken
from tests.simulation.wiring import FRESH_S, OUTAGE_S, WORKSPACE
from tests.simulation.world import TIMEOUT_S, World

LOST, REORDERED, REPEATED, BOOKS = "lost", "reordered", "repeated", "books"
SLACK_S = FRESH_S + OUTAGE_S + TIMEOUT_S + 5.0  # how long a setting that was changed may still be gone by


class _Named(msgspec.Struct, rename="camel"):
    message_id: str


_message_id = msgspec.json.Decoder(_Named).decode


@dataclass
class Findings:
    """What a run came to; `broken` says of each promise where it does not hold."""

    seed: int
    broken: dict[str, list[str]] = field(default_factory=lambda: {LOST: [], REORDERED: [], REPEATED: [], BOOKS: []})
    explained: Counter[str] = field(default_factory=Counter)
    events: int = 0
    deliveries: int = 0
    simulated_s: float = 0.0
    story: tuple[str, ...] = ()

    @property
    def is_good(self) -> bool:
        return not any(self.broken.values())


@dataclass(frozen=True)
class _Accepted:
    """An event that the stream has, by its first record: its place in the order, and when it was accepted and sent on.

    `was_replayed` says that fan-out came to it more than once.
    """

    event: Event
    place: int
    at: float
    done_at: float
    was_replayed: bool


@dataclass(frozen=True)
class _Said:
    """What receipts, letters and queues say of a destination's events, by messageId; `lettered` are jobs."""

    fates: dict[str, list[str]]
    given_up: frozenset[str]
    lettered: frozenset[str]
    letters: dict[str, Letter]
    queued: frozenset[str]
    queued_count: int


def check(world: World) -> Findings:
    findings = Findings(world.seed, simulated_s=world.clock.now, story=tuple(world.story))
    accepted = _accepted(world)
    findings.events = len(accepted)
    if not world.is_at_rest():
        findings.broken[LOST].append("the hub never comes to rest")
    for site in world.sites.by_url.values():
        _Check(world, site, accepted, findings).all()
    return findings


def _accepted(world: World) -> dict[str, _Accepted]:
    """A run that is carried on from stream to stream is there several times; what became of it was decided last."""
    done_at: dict[str, float] = defaultdict(float)
    replayed: set[str] = set()
    first: dict[str, float] = {}
    for kept in world.live.log:
        ends = [each.done_at[kept.id] for each in world.records if kept.id in each.done_at]
        for raw in decode_run(kept.record.data).events:
            name = _message_id(raw).message_id
            first.setdefault(name, kept.at)
            done_at[name] = max(done_at[name], *ends, float("inf") if not ends else 0.0)
            if world.attempts[kept.id] > 1:
                replayed.add(name)
    return {
        name: _Accepted(world.events[name], place, at, done_at[name], name in replayed)
        for place, (name, at) in enumerate(first.items())
    }


@dataclass
class _Check:
    """One destination's promises."""

    world: World
    site: Site
    accepted: dict[str, _Accepted]
    findings: Findings

    def all(self) -> None:
        self.taken: dict[str, list[Taken]] = defaultdict(list)
        for taken in self.site.taken:
            self.taken[taken.message_id].append(taken)
        self.findings.deliveries += len(self.site.taken)
        bodies = {id_: list(theirs) for id_, theirs in self.world.jobs.get(self.site.name, {}).items()}
        for body in self.world.overflow.ever[self.site.name]:
            bodies.setdefault(decode_job(body).id, [body])
        self.names = {
            id_: [[_message_id(raw).message_id for raw in decode_job(body).run.events] for body in theirs]
            for id_, theirs in bodies.items()
        }
        self.jobs_of: dict[str, list[str]] = defaultdict(list)
        for id_, versions in self.names.items():
            for name in dict.fromkeys(name for names in versions for name in names):
                self.jobs_of[name].append(id_)
        self.rerouted = frozenset(
            name
            for versions in self.names.values()
            if len(set(map(tuple, versions))) > 1
            for each in versions
            for name in each
        )  # a late replay of fan-out chose others, by settings that were changed in between
        self.said = self._said()
        self.order()
        self.repetitions()
        self.outcomes()
        self.letters()
        self.books()

    def broken(self, promise: str, what: str) -> None:
        self.findings.broken[promise].append(f"{self.site.name}: {what}")

    def _said(self) -> _Said:
        names = self.names
        events: dict[tuple[str, int], tuple[bool, str, str]] = {}
        given_up: set[str] = set()
        for row in self.world.receipts.read(WORKSPACE, self.site.name):
            if isinstance(row, DeliverReceipt):
                for id_, job in row.jobs.items():
                    for index, code in enumerate(job.codes, job.first):
                        fate = (code != DELIVERED, row.at, row.reasons.get(code, DELIVERED))
                        events[id_, index] = min(events.get((id_, index), fate), fate)
                        given_up |= self._at(id_, index) if code != DELIVERED else set()
        fates: dict[str, list[str]] = defaultdict(list)
        for (id_, index), (_, _, reason) in events.items():
            for name in self._at(id_, index):
                fates[name].append(reason)
        kept = self.world.letters.letters(WORKSPACE, self.site.name)
        letters = {_message_id(letter.event).message_id: letter for letter in kept}
        held = list(dict.fromkeys(decode_job(body).id for body in self.world.held(self.site.name)))
        queued = [(id_, place) for id_ in held for place in range(len(names[id_][-1])) if (id_, place) not in events]
        given_up |= letters.keys()
        queued_names = frozenset(names[id_][-1][place] for id_, place in queued)
        return _Said(
            fates, frozenset(given_up), frozenset(letter.job for letter in kept), letters, queued_names, len(queued)
        )

    def _at(self, job_id: str, index: int) -> set[str]:
        """Which event stood there; more than one, if a late replay of fan-out chose others."""
        return {names[index] for names in self.names[job_id] if index < len(names)}

    # the promises

    def order(self) -> None:
        last: dict[tuple[str, str], int] = {}
        for name in self.taken:  # in the order of first deliveries
            accepted = self.accepted.get(name)
            if accepted is None:
                self.broken(LOST, f"{name} was delivered and never accepted")
                continue
            if name in self.said.given_up or name in self.rerouted:
                continue  # those behind it have not waited for it, and rightly
            key = (accepted.event.source, accepted.event.key)
            if accepted.place < last.get(key, -1):
                self.broken(REORDERED, f"{name} of {accepted.event.key} came after one that was accepted later")
            last[key] = max(accepted.place, last.get(key, -1))

    def repetitions(self) -> None:
        for name, theirs in self.taken.items():
            if len({each.key for each in theirs}) > 1:
                self.broken(REPEATED, f"{name} under several keys")
            for first, second in pairwise(theirs):
                why = self._why(name, first, second)
                if why is None:
                    self.broken(REPEATED, f"{name} at {first.at:.3f} and again at {second.at:.3f}")
                else:
                    self.findings.explained[why] += 1

    def _why(self, name: str, first: Taken, second: Taken) -> str | None:
        """What was noted when it happened, of this event's job or of the whole invocation that had it."""
        if first.lied:
            return "the tool lied"
        jobs = self.jobs_of[name]
        ours, theirs = self._jobs_in(name, first), self._jobs_in(name, second)
        if len(ours | theirs) > 1 and self.said.lettered & (ours | theirs):
            return "a replay of what got through too"
        if ours != theirs and any(self._has_failed(replay) for replay in map(replay_of, ours) if replay):
            return "a replay of what one that failed had sent"
        for notes in (first.invocation.excuses, second.invocation.echoes):
            why = notes.get("") or next((notes[job] for job in jobs if job in notes), None)
            if why is not None:
                return why.partition(":")[0]
        if any((self.site.name, job) in self.world.late for job in jobs):
            return "sent again after five minutes"
        return None

    def _has_failed(self, replay_id: str) -> bool:
        """It ended in mid-page, its target being disabled: what it has sent and not marked is the next one's."""
        replay = self.world.replays.find(WORKSPACE, self.site.name, replay_id)
        return replay is not None and replay.state == "failed"

    def _jobs_in(self, name: str, taken: Taken) -> frozenset[str]:
        """By which of its jobs an event came to the tool: its own, or those of replays."""
        had = {each.job for each in taken.invocation.about or ()}
        return frozenset(job for job in self.jobs_of[name] if job in had)

    def outcomes(self) -> None:
        """Every accepted event that the destination wants has an outcome, and a true one."""
        for name, accepted in self.accepted.items():
            wishes = self._wishes(accepted)
            has_outcome = name in self.taken or name in self.said.fates or name in self.said.queued
            if wishes == {True} and not has_outcome:
                self.broken(LOST, f"{name} has no outcome")
            if wishes == {False} and has_outcome:
                self.broken(BOOKS, f"{name} was filtered and has an outcome")
            fates = self.said.fates.get(name, ())
            if DELIVERED in fates and name not in self.taken and name not in self.rerouted:
                self.broken(LOST, f"{name} is said to be delivered and never was")
            if name in self.taken and not fates and name not in self.said.queued:
                self.broken(BOOKS, f"{name} was delivered and no receipt tells of it")

    def _wishes(self, accepted: _Accepted) -> set[bool]:
        in_force = self.world.config.between(self.site.name, accepted.at - SLACK_S, accepted.done_at + 1.0)
        if not in_force or in_force[0].since > accepted.at - SLACK_S:
            return {True, False}  # it was made about then
        return {_wants(settings, accepted.event) for settings in in_force}

    def _is_gone(self) -> bool:
        return self.world.config.now(self.site.name).route is None

    def letters(self) -> None:
        """Each event that was given up is kept whole, and was not given up before its time."""
        if self.world.dropped.get(self.site.name):
            self.broken(LOST, f"its queue was taken down with {self.world.dropped[self.site.name]} jobs in it")
        for name, fates in self.said.fates.items():
            if name in self.rerouted or DELIVERED in fates:
                continue
            letter = self.said.letters.get(name)
            if letter is None:
                self.broken(LOST, f"{name} was given up ({fates[0]}) and no letter is kept of it")
            elif letter.kind == "dead" and not self._is_due(letter):
                self.broken(LOST, f"{name} was given up ({fates[0]}) before its time")

    def _is_due(self, letter: Letter) -> bool:
        if letter.reason == "crash":
            return True
        if letter.reason == "destination_deleted":
            return self._is_gone()
        kept_s = (_moment(letter.at) - _moment(letter.run.received_at)).total_seconds()
        if letter.reason == TOO_OLD or kept_s >= LAST_TRIED_S:
            return kept_s >= (TOO_OLD_S if letter.reason == TOO_OLD else LAST_TRIED_S) - 2 * LONGEST_SKEW_S
        webhook = self.world.config.versions[self.site.name][0].webhook
        assert webhook is not None
        if letter.first_at is None or letter.attempts < 2:
            return False
        tried_s = (_moment(letter.at) - _moment(letter.first_at)).total_seconds()
        return tried_s >= webhook.policy.age_s(letter.reason == "http_429") - 2 * LONGEST_SKEW_S - 1.0

    def books(self) -> None:
        books = self.world.books(self.site.name)
        total = books.outcomes + self.said.queued_count
        if books.accepted + books.created + self._unaccepted() != total:
            self.broken(BOOKS, f"{books.accepted} accepted + {books.created} created, {total} outcomes and queued")
        if self._is_gone():
            return  # what came later is nobody's
        meant = [each for each in self.accepted.values() if self._is_source(each.event)]
        if books.accepted != len(meant) and self.world.config.versions[self.site.name][0].since == 0.0:
            self.broken(BOOKS, f"{books.accepted} are said to be accepted and {len(meant)} were")

    def _unaccepted(self) -> int:
        """Events that one try of fan-out sent and did not note, nor the next, which did not know of the destination."""
        rows = self.world.receipts.read(WORKSPACE, self.site.name)
        noted = {record for row in rows if isinstance(row, FanoutReceipt) for record in row.records}
        unnoted = (names[0] for id_, names in self.names.items() if record_of(id_) not in {None, *noted})
        return sum(len(names) for names in unnoted if self._is_gone() or self._was_new(names))

    def _was_new(self, names: Sequence[str]) -> bool:
        """Whether the destination was made so shortly before that not every function knew of it."""
        return all(self._wishes(self.accepted[name]) == {True, False} for name in names if name in self.accepted)

    def _is_source(self, event: Event) -> bool:
        route = self.world.config.versions[self.site.name][0].route
        return route is not None and event.source in route.source_ids


def _wants(settings: Settings, event: Event) -> bool:
    route = settings.route
    if route is None or not route.enabled or event.source not in route.source_ids:
        return False
    name = "userId" if event.key.startswith("u") else "anonymousId"
    fields = {"type": "track", "event": "Counted", name: event.key, "properties": {"n": event.n}}
    return route.subscription is None or route.subscription.matches(fields)


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)
