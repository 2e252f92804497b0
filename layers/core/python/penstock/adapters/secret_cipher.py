"""KMS: encrypts the secrets of destinations' settings, bound to one workspace and destination."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from penstock.adapters.aws_errors import asking
from penstock.errors import StoreUnavailable

if TYPE_CHECKING:
    from mypy_boto3_kms import KMSClient


class SecretCipher:
    def __init__(self, client: KMSClient, key_arn: str) -> None:
        self._client = client
        self._key_arn = key_arn

    def encrypt(self, data: bytes, context: Mapping[str, str]) -> bytes:
        with asking("KMS", StoreUnavailable):
            answer = self._client.encrypt(KeyId=self._key_arn, Plaintext=data, EncryptionContext=dict(context))
        return answer["CiphertextBlob"]

    def decrypt(self, data: bytes, context: Mapping[str, str]) -> bytes:
        """Raises `StoreUnavailable` also for what was encrypted for another context."""
        with asking("KMS", StoreUnavailable):
            answer = self._client.decrypt(KeyId=self._key_arn, CiphertextBlob=data, EncryptionContext=dict(context))
        return answer["Plaintext"]
