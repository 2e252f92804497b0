"""A job: one SQS message, the events of one run that go to one destination.

A job's id is `<shard>-<sequence number>-<chunk>`: it names the stream's record, so a replay of the record makes
the same job again. It is the message's deduplication id; the message group is `group_of(source, key)`.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache

import msgspec

from penstock.domain.progress import Progress
from penstock.domain.run import Run


class Job(msgspec.Struct, omit_defaults=True):
    """The body of one message of a destination's queue; `replay` is the id of the replay that made it, if one did.

    `reached` is how far it was when it was parked, if anybody had it in hand before: as a message it is new.
    """

    v: int
    id: str
    destination: str
    run: Run
    replay: str | None = None
    reached: Progress | None = None


_decode = msgspec.json.Decoder(Job).decode
_encode = msgspec.json.Encoder().encode


def decode_job(body: str | bytes) -> Job:
    """The job in a message. Raises `msgspec.ValidationError` or `DecodeError` for what is none."""
    return _decode(body)


def job_in(body: str, destination: str) -> Job | None:
    """The job in a message of a destination's queue, None for what is none or is not for that destination."""
    try:
        job = decode_job(body)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return None
    return job if job.destination == destination else None


def encode_job(job: Job) -> str:
    """The message body. SQS refuses U+FFFE and U+FFFF as characters, so they travel as JSON escapes."""
    text = _encode(job).decode()
    return text.replace("\ufffe", "\\ufffe").replace("\uffff", "\\uffff")


def record_of(job_id: str) -> str | None:
    """The stream's record that a job comes from; None for what the hub made itself, a replayed event included."""
    record, _, chunk = job_id.rpartition("-")
    return record if _is_number(chunk) and _is_number(record.rpartition("-")[2]) else None


def replay_of(job_id: str) -> str | None:
    """The replay that has sent a job, `<job>.<number>.rpl_…` being its id; None where none has."""
    _, is_one, replay = job_id.rpartition(".rpl_")
    return f"rpl_{replay}" if is_one else None


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()


def group_of(source: str, key: str) -> str:
    """The unit of order as an SQS message group and a Kinesis partition key (32 hex characters)."""
    digest = _begun(source).copy()
    digest.update(key.encode())
    return digest.hexdigest()


@lru_cache(maxsize=10_000)
def _begun(source: str) -> hashlib.blake2b:
    """The digest of all that a source's keys begin with; only ever copied."""
    return hashlib.blake2b(f"{source}\0".encode(), digest_size=16)
