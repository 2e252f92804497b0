"""KMS: encrypts the secrets of destinations' settings, bound to one workspace and destination."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TypeVar

from botocore.exceptions import BotoCoreError, ClientError

from penstock.errors import StoreUnavailable

if TYPE_CHECKING:
    from mypy_boto3_kms import KMSClient

T = TypeVar("T")


class SecretCipher:
    def __init__(self, client: KMSClient, key_arn: str) -> None:
        self._client = client
        self._key_arn = key_arn

    def encrypt(self, data: bytes, context: Mapping[str, str]) -> bytes:
        answer = _asked(
            lambda: self._client.encrypt(KeyId=self._key_arn, Plaintext=data, EncryptionContext=dict(context))
        )
        return answer["CiphertextBlob"]

    def decrypt(self, data: bytes, context: Mapping[str, str]) -> bytes:
        """Raises `StoreUnavailable` also for what was encrypted for another context."""
        answer = _asked(
            lambda: self._client.decrypt(KeyId=self._key_arn, CiphertextBlob=data, EncryptionContext=dict(context))
        )
        return answer["Plaintext"]


def _asked(call: Callable[[], T]) -> T:
    try:
        return call()
    except ClientError as error:
        raise StoreUnavailable(f"KMS: {error.response['Error']['Code']}") from error
    except BotoCoreError as error:
        raise StoreUnavailable(f"KMS: {type(error).__name__}") from error
