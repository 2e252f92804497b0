"""Two thousand destinations on one account's Lambdas: what the healthy ones notice while hundreds hang.

A model of Lambda's concurrency, with the shares that the stage `prod` writes down, around the hub's own decisions:
what closes a gate, moves a destination to the slow function and probes it are the real steps, and so are the schedule
of retries and the queue. Times of AWS that nobody promises are taken for worse than they are said to be. A run is a
pure function of its plan. `scale_figures` prints what it comes to.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime

from infra.stages import stage
from penstock.domain import delivery
from penstock.domain.delivery import Answer, Patience, Trouble, Verdict
from penstock.domain.evidence import Evidence
from penstock.domain.gate import Gate, Key, Mapped, Pool
from penstock.steps.watch_gate import WatchGate
from tests.fakes_gate import MemoryGates
from tests.simulation.at_scale_gatekeeper import Gatekeeper
from tests.simulation.clock import Clock
from tests.simulation.fifo import Fifo, Held, NotInFlight, ReceiptExpired

PROD = stage("prod", "us-east-1")
BATCHES_OF_A_QUEUE, JOBS_OF_A_BATCH = 2, 10
USERS = 40  # of one destination
PATIENCE = {
    Pool.FAST: Patience(PROD.early_timeout_s, PROD.request_timeout_s),
    Pool.SLOW: Patience(PROD.request_timeout_s, PROD.request_timeout_s),
}
HANDED_OVER_S = 0.02  # from the queue to the function
AROUND_S = 0.03  # of an invocation, besides its requests: gate, receipt
GATE_SEEN_LATE_S = 5.0  # by what an instance remembers
SLOWLY_S, HEALTHY_S = 9.0, 0.12
NEVER = float("inf")
TIMED_OUT = Answer(None, trouble=Trouble.TIMEOUT)


@dataclass(frozen=True)
class Plan:
    """From `falls_ill_at` on `sick` of the destinations `hang`, or are `slow`: they take nine seconds for each event.

    They fall ill in the same moment, or one after another within `falls_ill_over_s`. Without `bulkhead` one
    function with the shares of both works for everybody, without `gates` nobody looks at how a destination does.
    """

    sick: int
    illness: str = "hang"
    destinations: int = 2_000
    events_per_s: float = 0.1  # of each destination
    falls_ill_at: float = 20.0
    falls_ill_over_s: float = 0.0
    lasts_s: float = 180.0
    bulkhead: bool = True
    gates: bool = True
    seed: int = 42


@dataclass
class Share:
    """The share of one function. Whoever finds none free waits in line: its poller tries again."""

    most: int
    busy: int = 0
    peak: int = 0
    waiting: deque[Callable[[], None]] = field(default_factory=deque)

    def enter(self, begin: Callable[[], None]) -> None:
        if self.busy == self.most:
            self.waiting.append(begin)
            return
        self.busy += 1
        self.peak = max(self.peak, self.busy)
        begin()

    def leave(self) -> None:
        self.busy -= 1
        if self.waiting:
            self.enter(self.waiting.popleft())


@dataclass
class Site:
    """A destination, its queue and its event source mapping; also what the hub's configuration says of it."""

    id: str
    falls_ill_at: float
    queue: Fifo
    workspace_id: str = "ws"
    import_queue_url: None = None
    import_mapping_id: None = None
    mapped: Mapped = field(default_factory=Mapped)
    is_switching: bool = False
    busy: int = 0
    looks_at: float | None = None
    delivered_at: float = float("-inf")
    attempts: dict[int, int] = field(default_factory=dict)

    @property
    def mapping_id(self) -> str:
        return self.id

    @property
    def queue_url(self) -> str:
        return self.id


class RememberedGates(MemoryGates):
    """What `get` says is as old as an instance may remember it."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self._now = clock
        self._before: dict[Key, deque[tuple[float, Gate]]] = {}

    def get(self, key: Key) -> Gate:
        past = self._before.get(key)
        while past and past[0][0] <= self._now() - GATE_SEEN_LATE_S:
            past.popleft()
        return past[0][1] if past else self.find(key)

    def save(self, workspace: str, destination: str, before: Gate, after: Gate) -> Gate:
        known = self.find((workspace, destination))
        saved = super().save(workspace, destination, before, after)
        self._note((workspace, destination), known)
        return saved

    def strike(self, workspace: str, destination: str, groups: Collection[str], now: float) -> Gate:
        self._note((workspace, destination), self.find((workspace, destination)))
        return super().strike(workspace, destination, groups, now)

    def _note(self, key: Key, known: Gate) -> None:
        self._before.setdefault(key, deque()).append((self._now(), known))


class Hub:
    """Queues, functions and the gatekeeper, under one clock."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.clock = Clock()
        self.arrivals, self.chance = random.Random(plan.seed), random.Random(plan.seed + 1)
        self.sites = [self._site(number) for number in range(plan.destinations)]
        self.by_id = {site.id: site for site in self.sites}
        fast, slow = Share(PROD.reserved["deliver"]), Share(PROD.reserved["deliver_slow"])
        one = Share(fast.most + slow.most)
        self.shares = {Pool.FAST: fast, Pool.SLOW: slow} if plan.bulkhead else {Pool.FAST: one, Pool.SLOW: one}
        self.gates = RememberedGates(self.clock)
        gatekeeper = Gatekeeper(self.clock, self.gates, self)
        self.watch = WatchGate(self.gates, self.gates, self, gatekeeper, self.clock)
        self.delays: list[tuple[float, float]] = []  # of the healthy ones' events: accepted at, seconds to delivery

    def run(self) -> Hub:
        self.clock.at(0.0, self._accept)
        self.clock.run(self.plan.falls_ill_at + self.plan.lasts_s, most=50_000_000)
        return self

    def since(self, workspace: str, destination: str, at: float) -> bool:
        """As the receipts tell it: whether anything was delivered after `at`."""
        return self.by_id[destination].delivered_at > at

    def probe_s(self, site: Site) -> float | None:
        """How long a probe takes that gets through; None for one that hangs."""
        is_slow = self.plan.illness == "slow"
        return (SLOWLY_S if is_slow else None) if self.is_ill(site) else HEALTHY_S

    def is_ill(self, site: Site) -> bool:
        return self.clock.now >= site.falls_ill_at

    def look(self, site: Site) -> None:
        """What the pollers of a queue do: as many batches as its mapping may have at once."""
        is_more = bool(site.queue.held) and site.mapped.on
        while is_more and site.busy < BATCHES_OF_A_QUEUE:
            jobs = site.queue.receive(JOBS_OF_A_BATCH)
            if jobs:
                site.busy += 1
                pool = site.mapped.pool
                share = self.shares[pool]
                patience = PATIENCE[pool if self.plan.bulkhead else Pool.SLOW]
                share.enter(Batch(self, site, share, jobs, patience).begin)
            is_more = len(jobs) == JOBS_OF_A_BATCH
        if site.queue.held and site.mapped.on and not site.busy:
            at = max(site.queue.next_at() or 0.0, self.clock.now + 0.05)
            if site.looks_at is None or at < site.looks_at:
                site.looks_at = at
                self.clock.at(at, self._look_again, site, at)

    def _look_again(self, site: Site, moment: float) -> None:
        if site.looks_at == moment:
            site.looks_at = None
            self.look(site)

    def _accept(self) -> None:
        """The next event: of any user of any destination, with the time that a healthy tool takes for it."""
        site = self.sites[int(self.arrivals.random() * len(self.sites))]
        takes_s = self.arrivals.lognormvariate(-2.1, 0.5)  # 0.12 s at the median, 0.28 s at p95
        user = int(self.arrivals.random() * USERS)
        site.queue.take(str(user), str(site.queue.numbers), f"{takes_s:.4f}")
        self.look(site)
        per_s = self.plan.events_per_s * self.plan.destinations
        self.clock.at(self.clock.now + self.arrivals.expovariate(per_s), self._accept)

    def _site(self, number: int) -> Site:
        queue = Fifo(self.clock, visibility_s=float(PROD.visibility_timeout_s))
        ill_at = NEVER
        if number < self.plan.sick:
            ill_at = self.plan.falls_ill_at + number / self.plan.sick * self.plan.falls_ill_over_s
        return Site(f"dst_{number:04d}", ill_at, queue)


@dataclass
class Batch:
    """One invocation of deliver: the lanes of its users at once, each in order."""

    hub: Hub
    site: Site
    share: Share
    jobs: Sequence[Held]
    patience: Patience
    done: list[tuple[Held, float]] = field(default_factory=list)
    failed: list[tuple[Held, float]] = field(default_factory=list)
    requests: int = 0
    spent_s: float = 0.0
    failed_groups: set[str] = field(default_factory=set)

    @property
    def key(self) -> Key:
        return self.site.workspace_id, self.site.id

    def begin(self) -> None:
        now = self.hub.clock.now
        if any(job.visible_at <= now for job in self.jobs):  # it waited for a function until its jobs were anybody's
            self._over()
            return
        hold_s = self.hub.gates.get(self.key).hold_s(now)
        if hold_s is not None:
            self.failed = [(job, hold_s) for job in self.jobs]
            self.hub.clock.at(now + HANDED_OVER_S + AROUND_S, self._settle)
            return
        lanes: dict[str, list[Held]] = {}
        for job in self.jobs:
            lanes.setdefault(job.group, []).append(job)
        took_s = max(self._sent(jobs) for jobs in lanes.values())
        self.hub.clock.at(now + HANDED_OVER_S + took_s + AROUND_S, self._settle)

    def _sent(self, jobs: Sequence[Held]) -> float:
        """Send one user's jobs; how long that takes."""
        at_s, has_s = 0.0, PROD.deliver_timeout_s - PROD.request_timeout_s - 3.0
        for place, job in enumerate(jobs):
            if at_s > has_s:
                self.failed += [(each, 0.0) for each in jobs[place:]]
                break
            timeout_s = self.patience.of(self.site.attempts.get(job.number, 0))
            takes_s = min(self._takes_s(job), timeout_s)
            at_s, self.spent_s, self.requests = at_s + takes_s, self.spent_s + takes_s, self.requests + 1
            if takes_s >= timeout_s:
                wait_s = self._wait_s(job)
                self.failed += [(each, wait_s) for each in jobs[place:]]
                self.failed_groups.add(job.group)
                break
            self.done.append((job, self.hub.clock.now + HANDED_OVER_S + at_s))
        return at_s

    def _takes_s(self, job: Held) -> float:
        if not self.hub.is_ill(self.site):
            return float(job.body)
        return SLOWLY_S if self.hub.plan.illness == "slow" else NEVER

    def _wait_s(self, job: Held) -> float:
        attempts = self.site.attempts[job.number] = self.site.attempts.get(job.number, 0) + 1
        verdict = delivery.judge(TIMED_OUT)
        assert verdict is Verdict.RETRY
        now = datetime.fromtimestamp(self.hub.clock.now, UTC)
        return delivery.delay_s(verdict, TIMED_OUT, attempts, self.hub.chance.random(), now)

    def _settle(self) -> None:
        for job, at in self.done:
            self.site.delivered_at = max(self.site.delivered_at, at)
            if self.site.falls_ill_at == NEVER:
                self.hub.delays.append((job.sent_at, at - job.sent_at))
            with suppress(ReceiptExpired):
                self.site.queue.delete(job.receipt)
        for job, wait_s in self.failed:
            with suppress(ReceiptExpired, NotInFlight):
                self.site.queue.change_visibility(job.receipt, wait_s)
        if self.requests and self.hub.plan.gates:
            mean_s = self.spent_s / self.requests
            evidence = Evidence(frozenset(self.failed_groups), len(self.done), None, mean_s, self.requests)
            self.hub.watch.report(*self.key, evidence)
        self._over()

    def _over(self) -> None:
        if not self.site.queue.held:
            self.site.queue.by_receipt.clear()
        self.site.busy -= 1
        self.share.leave()
        self.hub.look(self.site)
