"""Records of the stream that nobody can read, kept in S3 for a person to look at."""

from __future__ import annotations

from typing import Any, Protocol

from penstock.adapters.aws_errors import asking
from penstock.errors import StoreUnavailable


class S3Client(Protocol):
    """What is used of botocore's."""

    def put_object(self, *, Bucket: str, Key: str, Body: bytes, Metadata: dict[str, str]) -> Any: ...  # noqa: N803


class ParkedRecords:
    def __init__(self, client: S3Client, bucket: str, folder: str = "unreadable") -> None:
        self._client = client
        self._bucket = bucket
        self._folder = folder

    def keep(self, record_id: str, data: bytes, reason: str = "no run") -> None:
        """Under `<folder>/<shard>-<sequence number>`, the reason in its metadata. Raises `StoreUnavailable`."""
        key, metadata = f"{self._folder}/{record_id}", {"reason": reason}
        with asking("S3", StoreUnavailable):
            self._client.put_object(Bucket=self._bucket, Key=key, Body=data, Metadata=metadata)
