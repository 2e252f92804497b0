"""What deliver keeps and notes of a batch, in an order in which a crash loses nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest

from penstock.domain.books import Cause
from penstock.domain.delivery import Answer
from penstock.errors import QueueGone, QueueUnavailable, StoreUnavailable
from tests.builders_pipeline import DESTINATION, WORKSPACE, message
from tests.deliver_works import Hidden, KeptLetters, Works, job, reached
from tests.fakes_pipeline import MemoryProgress, MemoryReceipts, RecordingTool


@dataclass
class Ledger:
    """Remembers in what order the effects of an invocation happened."""

    effects: list[str] = field(default_factory=list)

    def noting(self, port: Any) -> Any:
        ledger = self

        class Noted:
            def __getattr__(self, name: str) -> Any:
                method = getattr(port, name)

                def noted(*given: Any) -> Any:
                    ledger.effects.append(name)
                    return method(*given)

                return noted

        return Noted()


def test_the_receipt_comes_before_the_note_and_the_note_before_the_hiding() -> None:
    ledger, works = Ledger(), Works(tool=RecordingTool(200, 500))
    works.receipts, works.progress, works.queue = (
        ledger.noting(each) for each in (works.receipts, works.progress, works.queue)
    )
    works.deliver(message(job(1, 2)), message(job(3, id_=2)))
    assert ledger.effects == ["keep_deliver", "write", "give_back", "hide", "hide"]


def test_without_a_receipt_nothing_is_noted_and_all_comes_again() -> None:
    class Full(MemoryReceipts):
        def keep_deliver(self, *_: Any) -> None:
            raise StoreUnavailable("injected")

    works = Works(tool=RecordingTool(200, 500), receipts=Full())
    with pytest.raises(StoreUnavailable):
        works.deliver(message(job(1, 2)))
    assert (works.progress.notes, works.queue.calls) == ({}, [])


def test_a_note_that_cannot_be_kept_costs_repeats_and_loses_nothing() -> None:
    class Full(MemoryProgress):
        def write(self, *_: Any) -> None:
            raise StoreUnavailable("injected")

    works = Works(tool=RecordingTool(200, 500), progress=Full())
    works.deliver(message(job(1, 2)))
    works.deliver(message(job(1, 2), receives=2))
    assert (works.numbers, works.books.delivered) == ([1, 2, 1, 2], 2)
    keys = [each.headers["Idempotency-Key"] for each in works.tool.posted]
    assert keys[:2] == keys[2:]


@pytest.mark.parametrize("trouble", [QueueUnavailable("injected"), QueueGone("injected")])
def test_what_cannot_be_hidden_is_reported_all_the_same(trouble: Exception) -> None:
    works = Works(tool=RecordingTool(500), queue=Hidden(trouble))
    assert len(works.deliver(message(job(1))).failed) == 1
    assert reached(works.note(job(1))) == (0, 1, "http_500")


def test_the_letters_come_before_the_receipt_and_without_them_nothing_is_settled() -> None:
    class Full(KeptLetters):
        def keep(self, *_: Any) -> None:
            raise StoreUnavailable("injected")

    works = Works(tool=RecordingTool(400), letters=Full())
    with pytest.raises(StoreUnavailable):
        works.deliver(message(job(1)))
    assert works.receipts.read(WORKSPACE, DESTINATION) == []


def test_receipts_tell_of_retries_causes_and_how_long_it_took() -> None:
    works = Works(tool=RecordingTool(200, Answer(503, body=b"busy")))
    works.deliver(message(job(1, 2), receives=2))
    (receipt,) = works.receipts.read(WORKSPACE, DESTINATION)
    assert receipt.retried == 1
    assert receipt.waiting == {job(1, 2).id: job(1, 2).run.received_at}
    assert sum(receipt.delays.values()) == 1
    assert receipt.causes == {"http_503": Cause(1, "m-2", 503, "busy")}
    assert (receipt.jobs[job(1, 2).id].again, receipt.jobs[job(1, 2).id].left) == (True, 1)
    works.now += timedelta(seconds=60)
    works.deliver(message(job(1, 2), receives=3))
    *_, receipt = works.receipts.read(WORKSPACE, DESTINATION)
    assert (receipt.jobs[job(1, 2).id].first, receipt.jobs[job(1, 2).id].left) == (1, 0)
