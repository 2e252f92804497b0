"""The books of a real hub balance: what was accepted is what was delivered, filtered and discarded."""

from __future__ import annotations

import time
import uuid

from penstock.adapters.receipts import ReceiptTable
from penstock.domain.books import Books, add_up
from penstock.local.deployment import PREFIX, session
from tests.e2e.running_hub import Pipe, RunningHub, track, wait_for_effect
from tests.e2e.waiting import wait_for

SENT = 60


def books_of(running: RunningHub, pipe: Pipe) -> Books:
    client = session().client("dynamodb", endpoint_url=running.home.cloud_url)
    table = ReceiptTable(client, f"{PREFIX}-receipts", time.time, lambda: uuid.uuid4().hex)
    return add_up(table.read(running.hub.workspace_id, pipe.destinations[0]["id"]))


def test_accepted_is_delivered_and_filtered_and_discarded_whatever_failed_in_between(running: RunningHub) -> None:
    pipe = running.new_pipe()
    destination = pipe.destinations[0]
    running.control.patch(f"/control/destinations/{destination['id']}", {"subscription": "properties.n >= 10"})
    wait_for_effect()
    running.behave(pipe.path, status=500, times=2)
    for first in range(0, SENT, 20):
        pipe.post(*[track(f"user-{number % 7}", number) for number in range(first, first + 20)])
    pipe.wait_for_events(SENT - 10)
    running.behave(pipe.path, status=400, times=1)
    pipe.post(track("user-0", 1_000))
    books = wait_for("balanced books", lambda: balanced(books_of(running, pipe)))
    assert (books.accepted, books.filtered, books.delivered) == (SENT + 1, 10, SENT - 10)
    assert books.discarded.total() == 1


def balanced(books: Books) -> Books | None:
    return books if books.accepted == SENT + 1 == books.outcomes else None
