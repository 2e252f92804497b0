"""Letters' bodies in S3: a JSON text sequence (RFC 7464) in gzip, several letters to an object.

A client's bytes may have line breaks between its values, so lines would not do; what begins a text here stands in none.
"""

from __future__ import annotations

import gzip
import threading
import zlib
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Any, Protocol

import msgspec
from botocore.exceptions import BotoCoreError, ClientError

from penstock.adapters.aws_errors import asking
from penstock.domain.letter_index import LetterEntry
from penstock.domain.letters import Letter, decode_letter
from penstock.errors import StoreUnavailable

COMPRESSION = 5
BEGIN, END = b"\x1e", b"\n"
MOST_IN_MEMORY = 32 * 1024 * 1024
ABSENT = frozenset({"NoSuchKey", "404"})

Texts = tuple[bytes, ...]


class S3Client(Protocol):
    """What is used of botocore's."""

    def put_object(self, *, Bucket: str, Key: str, Body: bytes) -> Any: ...  # noqa: N803

    def get_object(self, *, Bucket: str, Key: str) -> Any: ...  # noqa: N803


class LetterBodies:
    """`client` makes the client of S3 when it is needed first: most invocations of deliver never need one."""

    def __init__(self, client: Callable[[], S3Client], bucket: str) -> None:
        self._client = client
        self._bucket = bucket

    def put(self, held: str, texts: Sequence[bytes]) -> None:
        """Write an object of so many letters under the key `held`. Raises `StoreUnavailable`."""
        body = gzip.compress(b"".join(BEGIN + text + END for text in texts), COMPRESSION, mtime=0)
        with asking("S3", StoreUnavailable):
            self._client().put_object(Bucket=self._bucket, Key=held, Body=body)

    def texts(self, held: str) -> Texts:
        """The letters of an object, none where it is gone. Raises `StoreUnavailable`."""
        try:
            answer = self._client().get_object(Bucket=self._bucket, Key=held)
            return tuple(gzip.decompress(answer["Body"].read()).split(BEGIN)[1:])
        except ClientError as error:
            if error.response["Error"]["Code"] in ABSENT:
                return ()
            raise StoreUnavailable(f"S3: {error.response['Error']['Code']}") from error
        except (BotoCoreError, OSError, EOFError, zlib.error) as error:
            raise StoreUnavailable(f"S3: {type(error).__name__}") from error


class LetterReader:
    """Opens letters. What was opened stays in memory for a while: the next page often needs the same objects."""

    def __init__(self, bodies: LetterBodies, threads: Executor) -> None:
        self._bodies = bodies
        self._threads = threads
        self._opened: OrderedDict[str, Texts] = OrderedDict()
        self._size = 0
        self._lock = threading.Lock()

    def read(self, entries: Sequence[LetterEntry]) -> list[Letter | None]:
        """The letters of these entries, None for each whose body is gone. Raises `StoreUnavailable`."""
        needed = list(dict.fromkeys(entry.object for entry in entries))
        with self._lock:
            opened = {held: self._opened[held] for held in needed if held in self._opened}
        missing = [held for held in needed if held not in opened]
        for held, texts in zip(missing, self._threads.map(self._bodies.texts, missing), strict=True):
            opened[held] = texts
            self._remember(held, texts)
        return [_letter(opened[entry.object], entry.slot) for entry in entries]

    def _remember(self, held: str, texts: Texts) -> None:
        with self._lock:
            self._size += 0 if held in self._opened else sum(map(len, texts))
            self._opened[held] = texts
            while self._size > MOST_IN_MEMORY:
                _, oldest = self._opened.popitem(last=False)
                self._size -= sum(map(len, oldest))


def _letter(texts: Texts, number: int) -> Letter | None:
    try:
        return decode_letter(texts[number])
    except (IndexError, msgspec.MsgspecError):
        return None
