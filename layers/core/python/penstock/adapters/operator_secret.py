"""Secrets Manager: the operator's token, as plain text in one secret."""

from __future__ import annotations

from typing import TYPE_CHECKING

from penstock.adapters.aws_errors import asking
from penstock.errors import StoreUnavailable

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient


class OperatorSecret:
    def __init__(self, client: SecretsManagerClient, secret_arn: str) -> None:
        self._client = client
        self._secret_arn = secret_arn

    def read(self) -> str:
        with asking("Secrets Manager", StoreUnavailable):
            return self._client.get_secret_value(SecretId=self._secret_arn)["SecretString"]
