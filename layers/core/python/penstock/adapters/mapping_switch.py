"""Lambda: switches a destination's event source mapping off and on, and from one function to the other.

A change takes AWS up to minutes, and meanwhile it refuses another. So a mapping is asked what it does, told what it is
to do if that differs, and asked again later.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from botocore.exceptions import ClientError

from penstock.adapters.aws_errors import asking, code_of
from penstock.domain.gate import Mapped, Pool
from penstock.errors import QueueUnavailable

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient

GONE = "ResourceNotFoundException"
BUSY = frozenset({"ResourceInUseException", "ResourceConflictException"})
SETTLED = {True: "Enabled", False: "Disabled"}
CHANGING = frozenset({"Creating", "Enabling", "Disabling", "Updating", "Deleting"})


class Functions(NamedTuple):
    """The ARNs of the two functions that empty queues."""

    fast: str
    slow: str

    def of(self, pool: Pool) -> str:
        return self.slow if pool is Pool.SLOW else self.fast


class MappingSwitch:
    def __init__(self, client: LambdaClient, functions: Functions) -> None:
        self._client = client
        self._functions = functions

    def put(self, mapping_id: str, wanted: Mapped) -> bool:
        """Have a mapping do what is wanted; whether it does already, or is no more. Raises `QueueUnavailable`."""
        with asking("Lambda", QueueUnavailable):
            try:
                return self._put(mapping_id, wanted)
            except ClientError as error:
                if code_of(error) not in BUSY | {GONE}:
                    raise
                return code_of(error) == GONE

    def _put(self, mapping_id: str, wanted: Mapped) -> bool:
        found = self._client.get_event_source_mapping(UUID=mapping_id)
        if self._does(found, wanted):
            return True
        if found["State"] in CHANGING:
            return False
        changed = self._client.update_event_source_mapping(
            UUID=mapping_id, Enabled=wanted.on, FunctionName=self._functions.of(wanted.pool)
        )
        return self._does(changed, wanted)

    def _does(self, mapping: Any, wanted: Mapped) -> bool:
        function: str = mapping["FunctionArn"]
        state: str = mapping["State"]
        return function == self._functions.of(wanted.pool) and state == SETTLED[wanted.on]
