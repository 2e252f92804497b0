"""Letters and replays for tests, each field overridable."""

from __future__ import annotations

from typing import Any

import msgspec

from penstock.domain import letter_index
from penstock.domain.letter_index import LetterEntry, LetterFilter
from penstock.domain.letters import Letter
from penstock.domain.replays import Replay
from tests.builders_pipeline import DESTINATION, SHARD, WORKSPACE, event, raw, run_of

AT, LATER = "2026-11-23T16:00:00.000Z", "2026-11-23T16:00:05.000Z"
REPLAY = "rpl_aaaaaaaaaaaa"
ENTRY = frozenset({"replayed_at", "replay", "claimed", "object", "slot", "expires_at"})


def job_id(number: int) -> str:
    return f"{SHARD}-{number:056d}-0"


def letter(number: int = 1, key: str = "ada", **fields: Any) -> Letter:
    """The letter of the only event of record `number`, unless told otherwise."""
    shared = {
        name: fields.pop(name) for name in ("context", "integrations", "workspace", "source", "turn") if name in fields
    }
    run = msgspec.structs.replace(run_of(event(number), key=key, **shared), events=[])
    plain = {"kind": "discarded", "reason": "http_404", "at": AT, "job": job_id(number), "index": 0, "run": run}
    return Letter(**(plain | {"event": raw(event(number)), "attempts": 1} | fields))


def entry(**fields: Any) -> LetterEntry:
    own = {name: fields.pop(name) for name in ENTRY if name in fields}
    found = letter_index.entry(letter(**fields), "r30/object", 0, 1_800_000_000)
    return msgspec.structs.replace(found, **own)


def replay(**fields: Any) -> Replay:
    plain = {"workspace": WORKSPACE, "destination": DESTINATION, "id": REPLAY, "filter": LetterFilter()}
    return Replay(**(plain | {"target": DESTINATION, "created_at": LATER, "updated_at": LATER} | fields))
