"""What a warm Lambda remembers: fresh, then stale while one thread asks anew, then not without asking."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import StoreUnavailable
from penstock.steps.look_up import LONGEST_OUTAGE_S, LookUp

BOUND_S = 10.0


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


class Store:
    """Answers with its present `value`, once `open` lets it; fails while `down`."""

    def __init__(self) -> None:
        self.value: str | None = "first"
        self.asked: list[str] = []
        self.down: Exception | None = None
        self.open = threading.Event()
        self.open.set()
        self.entered = threading.Semaphore(0)

    def load(self, key: str) -> str | None:
        self.asked.append(key)
        value = self.value
        self.entered.release()
        assert self.open.wait(BOUND_S)
        if self.down:
            raise self.down
        return value


class Bench:
    def __init__(self, capacity: int = 10_000) -> None:
        self.clock, self.store = Clock(), Store()
        self.look_up = LookUp(self.store.load, 10, 30, self.clock, capacity)

    def get(self, key: str = "k") -> str | None:
        return self.look_up.get(key)


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.store.open.set()


def until(holds: Callable[[], bool]) -> None:
    """Wait for another thread's doing, within a bound."""
    waited = threading.Event()
    for _ in range(int(BOUND_S / 0.002)):
        if holds():
            return
        waited.wait(0.002)
    raise AssertionError("it did not come to that")


def test_what_is_fresh_is_not_asked_for_again(bench: Bench) -> None:
    assert bench.get() == "first"
    bench.clock.now += 10
    bench.store.value = "second"
    assert [bench.get() for _ in range(3)] == ["first"] * 3
    assert bench.store.asked == ["k"]


def test_what_is_stale_is_served_at_once_while_one_thread_asks(bench: Bench) -> None:
    bench.get()
    bench.clock.now += 11
    bench.store.value = "second"
    bench.store.open.clear()
    assert [bench.get() for _ in range(20)] == ["first"] * 20
    until(lambda: len(bench.store.asked) == 2)
    bench.store.open.set()
    until(lambda: bench.get() == "second")
    assert bench.store.asked == ["k", "k"]


def test_past_stale_the_caller_waits_for_the_present_value(bench: Bench) -> None:
    bench.get()
    bench.clock.now += 30.5
    bench.store.value = "second"
    assert bench.get() == "second"


def test_age_counts_from_before_the_question(bench: Bench) -> None:
    class Slow(Store):
        def load(self, key: str) -> str | None:
            bench.clock.now += 31
            return super().load(key)

    slow = Slow()
    look_up = LookUp(slow.load, 10, 30, bench.clock)
    look_up.get("k")
    look_up.get("k")
    assert len(slow.asked) == 2


def test_in_an_outage_what_is_known_serves_on_for_an_hour(bench: Bench) -> None:
    bench.get()
    bench.store.down = StoreUnavailable("down")
    bench.clock.now += LONGEST_OUTAGE_S
    assert bench.get() == "first"
    bench.clock.now += 1
    with pytest.raises(StoreUnavailable):
        bench.get()


def test_in_an_outage_one_caller_waits_and_those_after_it_do_not(bench: Bench) -> None:
    bench.get()
    bench.store.down = StoreUnavailable("down")
    bench.clock.now += 31
    assert [bench.get() for _ in range(5)] == ["first"] * 5
    assert len(bench.store.asked) == 2
    bench.clock.now += 10.5
    bench.store.down, bench.store.value = None, "second"
    assert bench.get() == "second"


def test_in_an_outage_nothing_is_made_up_for_what_is_unknown(bench: Bench) -> None:
    bench.store.down = StoreUnavailable("down")
    with pytest.raises(StoreUnavailable):
        bench.get()
    bench.store.down = None
    assert bench.get() == "first"


def test_after_a_failed_refresh_the_next_stale_call_tries_again(bench: Bench) -> None:
    bench.get()
    bench.clock.now += 11
    bench.store.down = StoreUnavailable("down")
    assert bench.get() == "first"
    until(lambda: len(bench.store.asked) == 2)
    bench.store.down, bench.store.value = None, "second"
    until(lambda: bench.get() == "second")


def test_what_is_no_outage_is_no_reason_to_serve_what_is_known(bench: Bench) -> None:
    bench.get()
    bench.clock.now += 31
    bench.store.down = KeyError("a defect")
    with pytest.raises(KeyError):
        bench.get()


def test_that_something_is_absent_is_an_answer(bench: Bench) -> None:
    bench.store.value = None
    assert [bench.get() for _ in range(5)] == [None] * 5
    assert bench.store.asked == ["k"]
    bench.clock.now += 31
    bench.store.value = "made since"
    assert bench.get() == "made since"


def test_a_late_answer_does_not_replace_a_newer_one(bench: Bench) -> None:
    bench.get()
    bench.clock.now += 11
    bench.store.value = "late"
    bench.store.open.clear()
    bench.get()
    until(lambda: len(bench.store.asked) == 2)
    late, bench.store.open = bench.store.open, threading.Event()
    bench.store.open.set()
    bench.clock.now += 20
    bench.store.value = "newer"
    assert bench.get() == "newer"
    refreshing = [thread for thread in threading.enumerate() if thread.name.startswith("look-up")]
    late.set()
    for thread in refreshing:
        thread.join(BOUND_S)
    assert refreshing and bench.get() == "newer"


def test_one_keys_question_does_not_hold_up_another_key(bench: Bench) -> None:
    bench.get("known")
    bench.store.open.clear()
    waiting = threading.Thread(target=bench.get, args=("unknown",), daemon=True)
    waiting.start()
    until(lambda: "unknown" in bench.store.asked)
    assert bench.get("known") == "first"
    bench.store.open.set()
    waiting.join(BOUND_S)
    assert not waiting.is_alive()


def test_many_who_wait_for_one_thing_wait_for_one_answer(bench: Bench) -> None:
    bench.store.open.clear()
    answers: list[str | None] = []
    waiting = [threading.Thread(target=lambda: answers.append(bench.get()), daemon=True) for _ in range(20)]
    for each in waiting:
        each.start()
    until(lambda: len(bench.store.asked) == 1)
    bench.store.open.set()
    until(lambda: len(answers) == 20)
    assert set(answers) == {"first"}
    assert len(bench.store.asked) == 1


def test_the_memory_is_bounded_and_forgets_what_was_used_least_recently() -> None:
    bench = Bench(capacity=3)
    for key in "abcad":
        bench.get(key)
    bench.store.asked.clear()
    for key in "acd":
        bench.get(key)
    assert bench.store.asked == []
    bench.get("b")
    assert bench.store.asked == ["b"]


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.floats(0, 50)), max_size=30))
def test_no_answer_is_older_than_stale_allows_while_the_store_answers(calls: list[tuple[str, float]]) -> None:
    clock = Clock()
    look_up = LookUp(lambda key: clock.now, 10, 30, clock, capacity=2)
    for key, passed in calls:
        clock.now += passed
        assert clock.now - look_up.get(key) <= 30
