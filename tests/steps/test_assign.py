"""A batch is decided by what was configured at one moment, whatever changes while it is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from penstock.domain.routing import Route
from penstock.domain.tracking_plan import Compiled
from tests.builders_pipeline import SOURCE, WORKSPACE, event, record_of, route, run_of
from tests.fan_out_works import Works, planned


@dataclass
class Created(Works):
    """The destination is not known at first, and from the second look on it is."""

    known: Iterator[tuple[Route, ...]] = field(default_factory=lambda: iter(((), (route(),))))

    def get(self, workspace: str) -> tuple[Route, ...]:
        return next(self.known)


def test_a_destination_that_becomes_known_amid_a_batch_gets_all_of_a_users_events_in_order_or_none() -> None:
    works = Created()
    batch = [record_of(run_of(event(number)), number) for number in range(3)]
    works.fan_out(*batch)
    assert works.sent() == []
    works.fan_out(*batch)  # it comes again, for another destination's sake
    assert works.sent() == [0, 1, 2]


def test_a_plan_that_changes_amid_a_batch_holds_from_the_next_one_on() -> None:
    works = Works()
    planned(works, violation="block")
    blocks = works.plans.plans[WORKSPACE, SOURCE]
    looks: Iterator[Compiled | None] = iter((None, blocks))
    works.plans.get = lambda _: next(looks)  # type: ignore[method-assign]
    batch = [record_of(run_of(event(number, properties={"n": str(number)})), number) for number in range(3)]
    works.fan_out(*batch)
    assert works.sent() == ["0", "1", "2"]
