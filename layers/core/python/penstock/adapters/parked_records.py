"""Records of the stream that nobody can read, kept in S3 for a person to look at."""

from __future__ import annotations

from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from penstock.errors import StoreUnavailable

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


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
