"""What AWS's services refuse, and their silence, in our errors."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, ReadTimeoutError

from penstock.adapters.aws_errors import ask_if, asking, asking_dynamodb, asking_queue, is_cancelled, is_refused
from penstock.errors import (
    BusUnavailable,
    QueueGone,
    QueueUnavailable,
    StoreChanged,
    StoreUnavailable,
    StreamUnavailable,
    Unavailable,
)

REFUSED, CANCELLED = "ConditionalCheckFailedException", "TransactionCanceledException"
SILENCE = ReadTimeoutError(endpoint_url="https://aws.example")


def refusal(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "what it says to people"}}, "UpdateItem")


def raiser(error: Exception) -> None:
    raise error


@pytest.mark.parametrize("kind", [StoreUnavailable, QueueUnavailable, BusUnavailable])
@pytest.mark.parametrize(
    ("error", "said"),
    [
        (refusal("ThrottlingException"), "KMS: ThrottlingException"),
        (SILENCE, "KMS: ReadTimeoutError"),
        (EndpointConnectionError(endpoint_url="https://aws.example"), "KMS: EndpointConnectionError"),
    ],
)
def test_trouble_is_told_by_its_service_and_code_and_has_its_cause(
    kind: type[Unavailable], error: Exception, said: str
) -> None:
    with pytest.raises(Unavailable) as raised, asking("KMS", kind):
        raise error
    assert type(raised.value) is kind
    assert str(raised.value) == said
    assert raised.value.__cause__ is error


@pytest.mark.parametrize("error", [KeyError("Item"), StreamUnavailable("Kinesis"), StoreChanged("the key has moved")])
def test_other_errors_pass_untouched(error: Exception) -> None:
    for context in (asking("KMS", StoreUnavailable), asking_dynamodb(changed_if=is_refused), asking_queue()):
        with pytest.raises(type(error)) as raised, context:
            raise error
        assert raised.value is error
        assert raised.value.__cause__ is None


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (REFUSED, StoreChanged),
        (CANCELLED, StoreUnavailable),
        ("ProvisionedThroughputExceededException", StoreUnavailable),
    ],
)
def test_what_is_refused_as_the_caller_says_is_a_change_of_the_store(code: str, kind: type[Unavailable]) -> None:
    error = refusal(code)
    with pytest.raises(StoreUnavailable) as raised, asking_dynamodb(changed_if=is_refused):
        raise error
    assert type(raised.value) is kind
    assert str(raised.value) == f"DynamoDB: {code}"
    assert raised.value.__cause__ is error


def test_a_cancelled_transaction_is_a_change_only_to_whom_it_is() -> None:
    with pytest.raises(StoreChanged, match=f"DynamoDB: {CANCELLED}"), asking_dynamodb(changed_if=is_cancelled):
        raise refusal(CANCELLED)
    for code in (REFUSED, CANCELLED):
        with pytest.raises(StoreUnavailable) as raised, asking_dynamodb():
            raise refusal(code)
        assert type(raised.value) is StoreUnavailable


def test_silence_is_never_a_change_of_the_store() -> None:
    with pytest.raises(StoreUnavailable) as raised, asking_dynamodb(changed_if=lambda _: True):
        raise SILENCE
    assert type(raised.value) is StoreUnavailable


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("AWS.SimpleQueueService.NonExistentQueue", QueueGone),
        ("QueueDoesNotExist", QueueGone),
        ("RequestThrottled", QueueUnavailable),
    ],
)
def test_a_queue_that_is_gone_is_told_from_one_that_cannot_be_reached(code: str, kind: type[Unavailable]) -> None:
    with pytest.raises(kind, match=f"SQS: {code}"), asking_queue():
        raise refusal(code)


def test_a_condition_that_does_not_hold_is_an_answer() -> None:
    assert ask_if(lambda: {"Attributes": {}}) == {"Attributes": {}}
    assert ask_if(lambda: raiser(refusal(REFUSED))) is None


@pytest.mark.parametrize("error", [refusal(CANCELLED), SILENCE])
def test_all_other_trouble_under_a_condition_is_raised(error: Exception) -> None:
    with pytest.raises(StoreUnavailable) as raised:
        ask_if(lambda: raiser(error))
    assert type(raised.value) is StoreUnavailable
    assert raised.value.__cause__ is error
