"""Trouble with AWS's services as errors of ours: each says the service's name and its code, or what kept it away."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, TypeAlias, TypeVar

from botocore.exceptions import BotoCoreError, ClientError

from penstock.errors import QueueGone, QueueUnavailable, StoreChanged, StoreUnavailable, Unavailable

Refusal: TypeAlias = Callable[[ClientError], bool]
T = TypeVar("T")

QUEUE_GONE = frozenset({"AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist"})


def code_of(error: ClientError) -> str:
    return error.response["Error"]["Code"]


def is_refused(error: ClientError) -> bool:
    """Whether the condition of a write to DynamoDB does not hold."""
    return code_of(error) == "ConditionalCheckFailedException"


def is_cancelled(error: ClientError) -> bool:
    """Whether a transaction of DynamoDB's was given up, for whatever reason."""
    return code_of(error) == "TransactionCanceledException"


def is_first_refused(error: ClientError) -> bool:
    """Whether a transaction of DynamoDB's was given up for the condition of its first part."""
    reasons: Any = error.response.get("CancellationReasons", [{}])
    return bool(reasons[0].get("Code") == "ConditionalCheckFailed")


def is_conflict(error: ClientError) -> bool:
    """Whether DynamoDB turned it away for another write of the same item: trying again is right, and nobody does."""
    reasons: Any = error.response.get("CancellationReasons", [])
    is_theirs = any(reason.get("Code") == "TransactionConflict" for reason in reasons)
    return is_theirs or code_of(error) == "TransactionConflictException"


def _is_gone(error: ClientError) -> bool:
    return code_of(error) in QUEUE_GONE


def _never(_: ClientError) -> bool:
    return False


@contextmanager
def asking(
    service: str, trouble: type[Unavailable], refusal: type[Unavailable] = Unavailable, refused_if: Refusal = _never
) -> Iterator[None]:
    """Raises `trouble` for all that botocore raises within, but `refusal` for what the service refuses like that."""
    try:
        yield
    except ClientError as error:
        kind = refusal if refused_if(error) else trouble
        raise kind(f"{service}: {code_of(error)}") from error
    except BotoCoreError as error:
        raise trouble(f"{service}: {type(error).__name__}") from error


def asking_dynamodb(changed_if: Refusal = _never) -> AbstractContextManager[None]:
    """Raises `StoreChanged` where it is refused like that, else `StoreUnavailable`."""
    return asking("DynamoDB", StoreUnavailable, StoreChanged, changed_if)


def asking_queue() -> AbstractContextManager[None]:
    """Raises `QueueGone` or `QueueUnavailable`."""
    return asking("SQS", QueueUnavailable, QueueGone, _is_gone)


def ask_if(call: Callable[[], T]) -> T | None:
    """What DynamoDB answers; None where the condition does not hold. Raises `StoreUnavailable`."""
    try:
        with asking_dynamodb(changed_if=is_refused):
            return call()
    except StoreChanged:
        return None
