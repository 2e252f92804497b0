"""Records of the stream that nobody can read, kept in S3 for a person to look at."""

from __future__ import annotations

from typing import Any, Protocol

from botocore.exceptions import BotoCoreError, ClientError

from penstock.errors import StoreUnavailable


class S3Client(Protocol):
    """What is used of botocore's."""

    def put_object(self, *, Bucket: str, Key: str, Body: bytes) -> Any: ...  # noqa: N803 - botocore's own names


class ParkedRecords:
    def __init__(self, client: S3Client, bucket: str) -> None:
        self._client = client
        self._bucket = bucket

    def keep(self, record_id: str, data: bytes) -> None:
        """Under `unreadable/<shard>-<sequence number>`. Raises `StoreUnavailable`."""
        try:
            self._client.put_object(Bucket=self._bucket, Key=f"unreadable/{record_id}", Body=data)
        except ClientError as error:
            raise StoreUnavailable(f"S3: {error.response['Error']['Code']}") from error
        except BotoCoreError as error:
            raise StoreUnavailable(f"S3: {type(error).__name__}") from error
