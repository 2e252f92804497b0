"""Secrets Manager: the operator's token, as plain text in one secret."""

from __future__ import annotations

from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from penstock.errors import StoreUnavailable

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient


class OperatorSecret:
    def __init__(self, client: SecretsManagerClient, secret_arn: str) -> None:
        self._client = client
        self._secret_arn = secret_arn

    def read(self) -> str:
        try:
            return self._client.get_secret_value(SecretId=self._secret_arn)["SecretString"]
        except ClientError as error:
            raise StoreUnavailable(f"Secrets Manager: {error.response['Error']['Code']}") from error
        except BotoCoreError as error:
            raise StoreUnavailable(f"Secrets Manager: {type(error).__name__}") from error
