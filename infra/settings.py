"""The environment of each function: the settings it reads, and no others."""

from __future__ import annotations

from dataclasses import dataclass

from infra.rights import Resources
from infra.stages import Stage


@dataclass(frozen=True)
class Names:
    """The physical names that settings carry."""

    config: str
    audit: str
    receipts: str
    progress: str
    dedup: str
    quotas: str
    gates: str
    overflow: str
    letters: str
    places: str
    schemas: str
    changes: str
    event_bus: str
    failure_bucket: str
    letter_bucket: str


@dataclass(frozen=True)
class Environments:
    stage: Stage
    names: Names
    on: Resources

    @property
    def collect(self) -> dict[str, str]:
        return {
            **self._caches,
            **self._streams,
            "PENSTOCK_CONFIG_TABLE": self.names.config,
            "PENSTOCK_SETTLES_S": str(self.stage.settles_s),
        }

    @property
    def control(self) -> dict[str, str]:
        return {
            **self._loopback,
            **self._letters,
            **self._quotas,
            "PENSTOCK_REPLAYS_QUEUE_ARN": self.on.replays,
            "PENSTOCK_CONFIG_TABLE": self.names.config,
            "PENSTOCK_AUDIT_TABLE": self.names.audit,
            "PENSTOCK_SCHEMAS_TABLE": self.names.schemas,
            "PENSTOCK_CHANGES_TABLE": self.names.changes,
            "PENSTOCK_SECRETS_KEY_ARN": self.on.key,
            "PENSTOCK_OPERATOR_SECRET_ARN": self.on.operator_secret,
            **self._overflow,
            "PENSTOCK_CHORES_QUEUE_ARN": self.on.chores,
            "PENSTOCK_DELIVER_FUNCTION_ARN": self.on.deliver,
            "PENSTOCK_VISIBILITY_TIMEOUT_S": str(self.stage.visibility_timeout_s),
            "PENSTOCK_RECEIPTS_TABLE": self.names.receipts,
            "PENSTOCK_PROGRESS_TABLE": self.names.progress,
            "PENSTOCK_ALERT_TOPICS": self.on.alert_topics.removesuffix("*"),
        }

    @property
    def fanout(self) -> dict[str, str]:
        return {
            **self._caches,
            **self._streams,
            **self._quotas,
            "PENSTOCK_DELIVER_FUNCTION_ARN": self.on.deliver,
            "PENSTOCK_VISIBILITY_TIMEOUT_S": str(self.stage.visibility_timeout_s),
            "PENSTOCK_SETTLES_S": str(self.stage.settles_s),
            "PENSTOCK_CHORES_QUEUE_ARN": self.on.chores,
            "PENSTOCK_CONFIG_TABLE": self.names.config,
            **self._overflow,
            "PENSTOCK_RECEIPTS_TABLE": self.names.receipts,
            "PENSTOCK_FAILURE_BUCKET": self.names.failure_bucket,
            **self._partial_failures,
        }

    @property
    def schema(self) -> dict[str, str]:
        return {
            **self._caches,
            "PENSTOCK_CONFIG_TABLE": self.names.config,
            "PENSTOCK_PLACES_TABLE": self.names.places,
            "PENSTOCK_SCHEMAS_TABLE": self.names.schemas,
            "PENSTOCK_FAILURE_BUCKET": self.names.failure_bucket,
            **self._partial_failures,
        }

    @property
    def schema_changes(self) -> dict[str, str]:
        return {
            **self._caches,
            "PENSTOCK_CONFIG_TABLE": self.names.config,
            "PENSTOCK_PLACES_TABLE": self.names.places,
            "PENSTOCK_SCHEMAS_TABLE": self.names.schemas,
            "PENSTOCK_CHANGES_TABLE": self.names.changes,
            "PENSTOCK_RECEIPTS_TABLE": self.names.receipts,
            "PENSTOCK_EVENT_BUS": self.names.event_bus,
            **self._partial_failures,
        }

    @property
    def deliver(self) -> dict[str, str]:
        return {**self.deliver_slow, "PENSTOCK_EARLY_TIMEOUT_S": str(self.stage.early_timeout_s)}

    @property
    def deliver_slow(self) -> dict[str, str]:
        """Whoever is slow, or is probed, is waited for as long as anybody."""
        return {
            **self._caches,
            **self._loopback,
            **self._letters,
            "PENSTOCK_CONFIG_TABLE": self.names.config,
            "PENSTOCK_RECEIPTS_TABLE": self.names.receipts,
            "PENSTOCK_PROGRESS_TABLE": self.names.progress,
            "PENSTOCK_SECRETS_KEY_ARN": self.on.key,
            "PENSTOCK_GATES_TABLE": self.names.gates,
            "PENSTOCK_CHORES_QUEUE_ARN": self.on.chores,
            "PENSTOCK_REQUEST_TIMEOUT_S": str(self.stage.request_timeout_s),
        }

    @property
    def gatekeeper(self) -> dict[str, str]:
        """Deliver's own and more: a probe goes through deliver's step."""
        return {
            **self.deliver_slow,
            **self._quotas,
            **self._overflow,
            "PENSTOCK_SETTLES_S": str(self.stage.settles_s),
            "PENSTOCK_AUDIT_TABLE": self.names.audit,
            "PENSTOCK_DELIVER_FUNCTION_ARN": self.on.deliver,
            "PENSTOCK_DELIVER_SLOW_FUNCTION_ARN": self.on.deliver_slow,
            "PENSTOCK_QUEUE_OUTLIVES_S": str(self.stage.queue_outlives_s),
            "PENSTOCK_EVENT_BUS": self.names.event_bus,
        }

    @property
    def replay(self) -> dict[str, str]:
        return {
            **self._letters,
            "PENSTOCK_CONFIG_TABLE": self.names.config,
            "PENSTOCK_RECEIPTS_TABLE": self.names.receipts,
            "PENSTOCK_REPLAYS_QUEUE_ARN": self.on.replays,
        }

    @property
    def _letters(self) -> dict[str, str]:
        return {"PENSTOCK_LETTERS_TABLE": self.names.letters, "PENSTOCK_LETTER_BUCKET": self.names.letter_bucket}

    @property
    def _overflow(self) -> dict[str, str]:
        """A key's mark is in its own item, a destination's turns beside its gate."""
        return {
            "PENSTOCK_OVERFLOW_TABLE": self.names.overflow,
            "PENSTOCK_DEDUP_TABLE": self.names.dedup,
            "PENSTOCK_GATES_TABLE": self.names.gates,
        }

    @property
    def _quotas(self) -> dict[str, str]:
        return {
            "PENSTOCK_QUOTAS_TABLE": self.names.quotas,
            "PENSTOCK_SOURCE_QUOTA": str(self.stage.source_quota),
            "PENSTOCK_WORKSPACE_QUOTA": str(self.stage.workspace_quota),
        }

    @property
    def _streams(self) -> dict[str, str]:
        return {"PENSTOCK_STREAM_ARN": self.on.stream, "PENSTOCK_BULK_STREAM_ARN": self.on.bulk}

    @property
    def _partial_failures(self) -> dict[str, str]:
        return {"PENSTOCK_STREAM_PARTIAL_FAILURES": "false" if self.stage.local else "true"}

    @property
    def _caches(self) -> dict[str, str]:
        return {
            "PENSTOCK_CACHE_FRESH_S": str(self.stage.cache_fresh_s),
            "PENSTOCK_CACHE_STALE_S": str(self.stage.cache_stale_s),
        }

    @property
    def _loopback(self) -> dict[str, str]:
        return {"PENSTOCK_ALLOW_LOOPBACK": "true"} if self.stage.local else {}
