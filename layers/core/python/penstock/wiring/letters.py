"""What keeps, reads and replays letters: parts of what deliver, the control function and `replay` have."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import cache
from typing import Any

from penstock.adapters.letter_bodies import LetterBodies, LetterReader
from penstock.adapters.letter_retention import LetterRetention
from penstock.adapters.letter_table import LetterTable
from penstock.adapters.replay_table import ReplayTable
from penstock.adapters.replay_tickets import ReplayTickets
from penstock.domain.letter_index import LetterEntry
from penstock.domain.letters import Letter
from penstock.settings import Settings
from penstock.steps import keep_replays
from penstock.steps.keep_letters import KeepLetters
from penstock.steps.look_up import LookUp
from penstock.steps.record import Ledger

MakeClient = Callable[[str], Any]

AT_ONCE = 8
WORKSPACES_IN_MEMORY = 1_000


def keeping(client: MakeClient, given: Settings) -> KeepLetters:
    """The client of S3 is made with the first letter: it takes longer to make than most invocations run."""
    dynamodb = client("dynamodb")
    retention = LetterRetention(dynamodb, given.config_table)
    days = LookUp(retention.days, given.cache_fresh_s, given.cache_stale_s, capacity=WORKSPACES_IN_MEMORY)
    bodies = LetterBodies(_once(client), given.letter_bucket)
    return KeepLetters(bodies, index(dynamodb, given, _threads()), days, time.time, new_id)


class Letters:
    """Letters as they are read, by their places and whole."""

    def __init__(self, client: MakeClient, given: Settings) -> None:
        threads = _threads()
        self.index = index(client("dynamodb"), given, threads)
        self.bodies = LetterReader(LetterBodies(_once(client), given.letter_bucket), threads)

    def find(self, workspace: str, destination: str, place: str) -> LetterEntry | None:
        return self.index.find(workspace, destination, place)

    def read(self, entries: Sequence[LetterEntry]) -> list[Letter | None]:
        return self.bodies.read(entries)


def replays(client: MakeClient, ledger: Ledger, letters: Letters, given: Settings) -> keep_replays.Works:
    kept = ReplayTable(client("dynamodb"), given.letters_table, given.audit_table, time.time)
    return keep_replays.Works(ledger, letters.index, kept, ReplayTickets(client("sqs"), given.replays_url))


def index(dynamodb: Any, given: Settings, threads: Executor) -> LetterTable:
    return LetterTable(dynamodb, given.letters_table, time.time, threads)


def new_id() -> str:
    return os.urandom(8).hex()


def _once(client: MakeClient) -> Callable[[], Any]:
    return cache(lambda: client("s3"))


def _threads() -> ThreadPoolExecutor:
    """They begin with what they are given first."""
    return ThreadPoolExecutor(AT_ONCE)
