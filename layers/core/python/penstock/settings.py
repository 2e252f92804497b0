"""The only reader of the environment: every Lambda's settings, read once, typed, named in its errors."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass


class MissingSetting(RuntimeError):
    """A setting that this function needs is not in its environment."""


@dataclass(frozen=True)
class Settings:
    """What the deploy tells a function. A function gets the settings it uses; asking for another raises."""

    environment: Mapping[str, str]

    @property
    def stage(self) -> str:
        return self._text("PENSTOCK_STAGE")

    @property
    def region(self) -> str:
        return self._text("AWS_REGION")

    @property
    def stream_arn(self) -> str:
        """The stream of live events."""
        return self._text("PENSTOCK_STREAM_ARN")

    @property
    def bulk_stream_arn(self) -> str:
        """The stream of imports, and of sources above their quota."""
        return self._text("PENSTOCK_BULK_STREAM_ARN")

    @property
    def config_table(self) -> str:
        return self._text("PENSTOCK_CONFIG_TABLE")

    @property
    def audit_table(self) -> str:
        return self._text("PENSTOCK_AUDIT_TABLE")

    @property
    def receipts_table(self) -> str:
        return self._text("PENSTOCK_RECEIPTS_TABLE")

    @property
    def progress_table(self) -> str:
        return self._text("PENSTOCK_PROGRESS_TABLE")

    @property
    def dedup_table(self) -> str:
        return self._text("PENSTOCK_DEDUP_TABLE")

    @property
    def gates_table(self) -> str:
        return self._text("PENSTOCK_GATES_TABLE")

    @property
    def overflow_table(self) -> str:
        return self._text("PENSTOCK_OVERFLOW_TABLE")

    @property
    def places_table(self) -> str:
        return self._text("PENSTOCK_PLACES_TABLE")

    @property
    def schemas_table(self) -> str:
        return self._text("PENSTOCK_SCHEMAS_TABLE")

    @property
    def changes_table(self) -> str:
        return self._text("PENSTOCK_CHANGES_TABLE")

    @property
    def event_bus(self) -> str:
        """The EventBridge bus that tells of what the hub learns."""
        return self._text("PENSTOCK_EVENT_BUS")

    @property
    def failure_bucket(self) -> str:
        """The S3 bucket for what the stream's consumers could not read or handle."""
        return self._text("PENSTOCK_FAILURE_BUCKET")

    @property
    def secrets_key_arn(self) -> str:
        """The KMS key that encrypts secrets in destinations' settings."""
        return self._text("PENSTOCK_SECRETS_KEY_ARN")

    @property
    def operator_secret_arn(self) -> str:
        """The Secrets Manager secret that holds the operator's token."""
        return self._text("PENSTOCK_OPERATOR_SECRET_ARN")

    @property
    def deliver_function_arn(self) -> str:
        return self._text("PENSTOCK_DELIVER_FUNCTION_ARN")

    @property
    def deliver_slow_function_arn(self) -> str:
        """The function that empties the queues of slow destinations."""
        return self._text("PENSTOCK_DELIVER_SLOW_FUNCTION_ARN")

    @property
    def chores_queue_arn(self) -> str:
        """The queue of what the gatekeeper is to look after."""
        return self._text("PENSTOCK_CHORES_QUEUE_ARN")

    @property
    def alert_topics(self) -> str:
        """What the ARN of every SNS topic begins with that an alert may name."""
        return self._text("PENSTOCK_ALERT_TOPICS")

    @property
    def chores_url(self) -> str:
        *_, account, name = self.chores_queue_arn.split(":")
        return f"{self.endpoint_of('sqs')}/{account}/{name}"

    @property
    def letters_table(self) -> str:
        return self._text("PENSTOCK_LETTERS_TABLE")

    @property
    def letter_bucket(self) -> str:
        """The S3 bucket of what destinations did not take."""
        return self._text("PENSTOCK_LETTER_BUCKET")

    @property
    def replays_queue_arn(self) -> str:
        """The queue of the replays' next steps."""
        return self._text("PENSTOCK_REPLAYS_QUEUE_ARN")

    @property
    def replays_url(self) -> str:
        *_, account, name = self.replays_queue_arn.split(":")
        return f"{self.endpoint_of('sqs')}/{account}/{name}"

    @property
    def deliver_concurrency(self) -> int:
        """How many Lambdas at most empty one destination's queue at once; AWS takes no less than 2."""
        return self._whole("PENSTOCK_DELIVER_CONCURRENCY", 2)

    @property
    def queue_prefix(self) -> str:
        """What every destination queue's name begins with: `penstock-<stage>-d-`."""
        return f"penstock-{self.stage}-d-"

    @property
    def visibility_timeout_s(self) -> int:
        """For how long a job that a Lambda took and never gave back stays hidden, in seconds."""
        return self._whole("PENSTOCK_VISIBILITY_TIMEOUT_S", 360)

    @property
    def queue_outlives_s(self) -> float:
        """For how long somebody may send to a destination that is deleted already, in seconds.

        That is how old a route may be, and the time of whoever has it: a gatekeeper lives for two minutes.
        """
        return self._number("PENSTOCK_QUEUE_OUTLIVES_S", 300.0)

    @property
    def cache_fresh_s(self) -> float:
        """Up to this age a warm Lambda uses what it has looked up without asking again, in seconds."""
        return self._number("PENSTOCK_CACHE_FRESH_S", 10.0)

    @property
    def cache_stale_s(self) -> float:
        """Up to this age it is still served while it is refreshed; past it a caller waits, in seconds."""
        return self._number("PENSTOCK_CACHE_STALE_S", 30.0)

    @property
    def quotas_table(self) -> str:
        return self._text("PENSTOCK_QUOTAS_TABLE")

    @property
    def source_quota(self) -> int:
        """Events per second above which a source takes the bulk stream, where the operator says nothing else."""
        return self._whole("PENSTOCK_SOURCE_QUOTA", 1_000)

    @property
    def workspace_quota(self) -> int:
        """Events per second of all sources of a workspace together, likewise."""
        return self._whole("PENSTOCK_WORKSPACE_QUOTA", 5_000)

    @property
    def settles_s(self) -> float:
        """For how long at most a request of the tracking API can take, in seconds."""
        return self._number("PENSTOCK_SETTLES_S", 30.0)

    @property
    def schema_fresh_s(self) -> float:
        """Up to this age a schema that was asked for is answered without asking the store again, in seconds."""
        return self._number("PENSTOCK_SCHEMA_FRESH_S", 0.2)

    @property
    def longest_wait_s(self) -> float:
        """For how long at most a request may wait for something to happen, in seconds: what callers' clients bear."""
        return self._number("PENSTOCK_LONGEST_WAIT_S", 8.0)

    @property
    def schema_stale_s(self) -> float:
        """Up to this age it is still answered while it is asked for anew, in seconds."""
        return self._number("PENSTOCK_SCHEMA_STALE_S", 1.0)

    @property
    def request_timeout_s(self) -> float:
        """For how long a destination may take to answer one request, in seconds."""
        return self._number("PENSTOCK_REQUEST_TIMEOUT_S", 10.0)

    @property
    def early_timeout_s(self) -> float:
        """For how long it may in an event's first tries, in seconds."""
        return self._number("PENSTOCK_EARLY_TIMEOUT_S", self.request_timeout_s)

    @property
    def allow_loopback(self) -> bool:
        """The local hub alone lets destinations be on this machine."""
        return self.environment.get("PENSTOCK_ALLOW_LOOPBACK") == "true"

    @property
    def stream_partial_failures(self) -> bool:
        """Whether the stream's poller honours `batchItemFailures`; the local cloud's does not."""
        return self.environment.get("PENSTOCK_STREAM_PARTIAL_FAILURES", "true") == "true"

    @property
    def public_url(self) -> str | None:
        """The hub's own address as clients see it, where the deploy knows it."""
        return self.environment.get("PENSTOCK_PUBLIC_URL")

    @property
    def access_key(self) -> str:
        return self._text("AWS_ACCESS_KEY_ID")

    @property
    def secret_key(self) -> str:
        return self._text("AWS_SECRET_ACCESS_KEY")

    @property
    def session_token(self) -> str | None:
        return self.environment.get("AWS_SESSION_TOKEN") or None

    def endpoint_of(self, service: str) -> str:
        """Base URL of an AWS service, by AWS's own variables for endpoints elsewhere."""
        specific = self.environment.get(f"AWS_ENDPOINT_URL_{service.upper()}")
        general = self.environment.get("AWS_ENDPOINT_URL")
        return specific or general or f"https://{service}.{self.region}.amazonaws.com"

    def _text(self, name: str) -> str:
        value = self.environment.get(name)
        if not value:
            raise MissingSetting(f"{name} is not set")
        return value

    def _whole(self, name: str, default: int) -> int:
        return int(self._number(name, default))

    def _number(self, name: str, default: float) -> float:
        value = self.environment.get(name)
        if not value:
            return default
        try:
            return float(value)
        except ValueError:
            raise MissingSetting(f"{name} is no number: {value!r}") from None


def from_environment() -> Settings:
    return Settings(os.environ)
