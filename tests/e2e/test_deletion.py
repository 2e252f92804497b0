"""A destination that is deleted on the whole hub: what waited for it is kept, and its books balance."""

from __future__ import annotations

from tests.e2e.running_hub import RunningHub, track
from tests.e2e.test_books import books_of
from tests.e2e.waiting import wait_for

WAITING = 12


def test_what_waits_for_a_destination_when_it_is_deleted_becomes_letters(running: RunningHub) -> None:
    pipe = running.new_pipe()
    deleted = pipe.destinations[0]["id"]
    running.behave(pipe.path, status=503)
    pipe.post(*[track(f"user-{number % 3}", number) for number in range(WAITING)])
    wait_for("a try", lambda: running.received(pipe.path))
    running.control.delete(f"/control/destinations/{deleted}")
    wait_for("balanced books", lambda: books_of(running, pipe).outcomes == WAITING)
    books = books_of(running, pipe)
    assert (books.accepted, books.dead) == (WAITING, {"destination_deleted": WAITING})
    letters = running.control.get(f"/control/destinations/{deleted}/letters?limit=50")["letters"]
    assert {(each["kind"], each["reason"]) for each in letters} == {("dead", "destination_deleted")}
    assert len(letters) == WAITING
    wait_for("the end of its queue", lambda: not [url for url in running.queues() if deleted in url])
