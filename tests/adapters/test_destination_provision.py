"""What is made for each destination, and the secrets: the fakes and AWS's own keep one contract."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from penstock.adapters.operator_secret import OperatorSecret
from penstock.adapters.queue_mapping import TRIES, MappingPlan, QueueMapping
from penstock.adapters.queue_provision import QueueProvision
from penstock.adapters.secret_cipher import SecretCipher
from penstock.errors import QueueUnavailable, StoreUnavailable
from penstock.steps.keep_destinations import Cipher, Mappings, Queues
from tests.control_api import REGION, make_deliver
from tests.fakes_control import MemoryMappings, MemoryQueues, PlainCipher

WORKSPACE, DESTINATION = "ws_aaaaaaaaaaaa", "dst_aaaaaaaaaaaa"
PREFIX = "penstock-test-d-"
TAGS = {"penstock:stage": "test", "penstock:workspace": WORKSPACE, "penstock:destination": DESTINATION}


def client(service: str) -> Any:
    return boto3.client(service, region_name=REGION)


@pytest.fixture
def aws() -> Iterator[None]:
    with mock_aws():
        yield


def queues_of_aws() -> QueueProvision:
    return QueueProvision(client("sqs"), "test", PREFIX, 360)


def mappings_of_aws(**plan_fields: Any) -> QueueMapping:
    plan = MappingPlan("test", PREFIX, make_deliver(), 2, **plan_fields)
    return QueueMapping(client("lambda"), plan, lambda _: None)


@pytest.fixture(params=["memory", "sqs"])
def queues(request: pytest.FixtureRequest, aws: None) -> Queues:
    return MemoryQueues() if request.param == "memory" else queues_of_aws()


@pytest.fixture(params=["memory", "lambda"])
def mappings(request: pytest.FixtureRequest, aws: None) -> Mappings:
    if request.param == "memory":
        return MemoryMappings()
    queues_of_aws().create(WORKSPACE, DESTINATION)
    return mappings_of_aws()


@pytest.fixture(params=["plain", "kms"])
def cipher(request: pytest.FixtureRequest, aws: None) -> Cipher:
    if request.param == "plain":
        return PlainCipher()
    return SecretCipher(client("kms"), client("kms").create_key()["KeyMetadata"]["Arn"])


def test_a_queue_made_twice_is_one_and_deleted_twice_is_none(queues: Any) -> None:
    url = queues.create(WORKSPACE, DESTINATION)
    assert url == queues.create(WORKSPACE, DESTINATION) == queues.find(DESTINATION)
    queues.delete(DESTINATION)
    assert queues.find(DESTINATION) is None
    queues.delete(DESTINATION)
    queues.delete("dst_never00000000")


def test_a_mapping_is_deleted_by_its_queue_whether_its_id_is_known_or_not(mappings: Mappings) -> None:
    known = mappings.create(WORKSPACE, DESTINATION)
    mappings.delete(DESTINATION, None)
    mappings.delete(DESTINATION, known)
    mappings.delete("dst_never00000000", None)


def test_what_is_sealed_opens_in_its_own_context_and_in_no_other(cipher: Cipher) -> None:
    sealed = cipher.encrypt(b"hush", {"workspace": "a", "destination": "b"})
    assert sealed != b"hush"
    assert cipher.decrypt(sealed, {"workspace": "a", "destination": "b"}) == b"hush"
    with pytest.raises(StoreUnavailable):
        cipher.decrypt(sealed, {"workspace": "other", "destination": "b"})


def test_a_queue_is_fifo_in_high_throughput_mode_kept_long_encrypted_and_tagged(aws: None) -> None:
    url = queues_of_aws().create(WORKSPACE, DESTINATION)
    found = client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    assert {
        "FifoQueue": "true",
        "ContentBasedDeduplication": "false",
        "DeduplicationScope": "messageGroup",
        "FifoThroughputLimit": "perMessageGroupId",
        "MessageRetentionPeriod": "1209600",
        "MaximumMessageSize": "1048576",
        "VisibilityTimeout": "360",
        "SqsManagedSseEnabled": "true",
    }.items() <= found.items()
    assert url.endswith(f"/{PREFIX}{DESTINATION}.fifo")
    assert client("sqs").list_queue_tags(QueueUrl=url)["Tags"] == TAGS


def test_a_mapping_carries_its_queue_to_deliver_and_takes_partial_answers(aws: None) -> None:
    queues_of_aws().create(WORKSPACE, DESTINATION)
    mapping_id = mappings_of_aws().create(WORKSPACE, DESTINATION)
    found = client("lambda").get_event_source_mapping(UUID=mapping_id)
    assert found["EventSourceArn"].endswith(f":{PREFIX}{DESTINATION}.fifo")
    assert found["FunctionArn"].endswith(":function:penstock-test-deliver")
    assert found["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert (found["BatchSize"], found["ScalingConfig"]) == (10, {"MaximumConcurrency": 2})


@pytest.mark.parametrize(("is_on", "state"), [(True, "Enabled"), (False, "Disabled")])
def test_a_mapping_is_made_on_or_off_as_planned(is_on: bool, state: str, aws: None) -> None:
    queues_of_aws().create(WORKSPACE, DESTINATION)
    mapping_id = mappings_of_aws(is_on=is_on).create(WORKSPACE, DESTINATION)
    assert client("lambda").get_event_source_mapping(UUID=mapping_id)["State"] == state


def test_deleting_leaves_neither_queue_nor_mapping(aws: None) -> None:
    queues, mappings = queues_of_aws(), None
    queues.create(WORKSPACE, DESTINATION)
    mappings = mappings_of_aws()
    mappings.create(WORKSPACE, DESTINATION)
    mappings.delete(DESTINATION, None)
    queues.delete(DESTINATION)
    assert client("lambda").list_event_source_mappings()["EventSourceMappings"] == []
    assert "QueueUrls" not in client("sqs").list_queues()


def test_a_queue_arn_lies_where_the_function_lies() -> None:
    plan = MappingPlan("test", PREFIX, "arn:aws-cn:lambda:cn-north-1:42:function:deliver", 2)
    assert plan.queue_arn("dst_x") == f"arn:aws-cn:sqs:cn-north-1:42:{PREFIX}dst_x.fifo"


class Lambda:
    """Lambda's answers where moto has none of its own: it refuses with `codes`, one call after the other."""

    def __init__(self, codes: list[str], listed: list[dict[str, str]]) -> None:
        self.codes, self.listed, self.deleted = codes, listed, 0

    def _refuse(self, operation: str) -> None:
        if self.codes:
            raise ClientError({"Error": {"Code": self.codes.pop(0), "Message": ""}}, operation)

    def create_event_source_mapping(self, **_: Any) -> dict[str, str]:
        self._refuse("CreateEventSourceMapping")
        return {"UUID": "made"}

    def list_event_source_mappings(self, **_: Any) -> dict[str, Any]:
        return {"EventSourceMappings": self.listed}

    def delete_event_source_mapping(self, **_: Any) -> None:
        self._refuse("DeleteEventSourceMapping")
        self.deleted += 1


def mapping_on(service: Lambda, pauses: list[float]) -> QueueMapping:
    plan = MappingPlan("test", PREFIX, f"arn:aws:lambda:{REGION}:42:function:deliver", 2)
    return QueueMapping(service, plan, pauses.append)  # type: ignore[arg-type]


def test_a_mapping_that_exists_already_is_found() -> None:
    service = Lambda(["ResourceConflictException"], [{"UUID": "known", "State": "Enabled"}])
    assert mapping_on(service, []).create(WORKSPACE, DESTINATION) == "known"


def test_a_mapping_in_use_is_deleted_as_soon_as_it_is_free() -> None:
    service, pauses = Lambda(["ResourceInUseException"] * 2, [{"UUID": "known", "State": "Creating"}]), []
    mapping_on(service, pauses).delete(DESTINATION, "known")
    assert service.deleted == 1 and len(pauses) == 2


def test_a_mapping_that_stays_in_use_is_left_for_the_next_try() -> None:
    service, pauses = Lambda(["ResourceInUseException"] * 99, [{"UUID": "known", "State": "Updating"}]), []
    with pytest.raises(QueueUnavailable):
        mapping_on(service, pauses).delete(DESTINATION, None)
    assert len(pauses) == TRIES - 1


def test_a_mapping_that_is_being_deleted_is_left_alone() -> None:
    service = Lambda(["AccessDeniedException"], [{"UUID": "known", "State": "Deleting"}])
    mapping_on(service, []).delete(DESTINATION, None)
    assert service.deleted == 0


def test_a_refusal_of_aws_is_unavailable(aws: None) -> None:
    service = Lambda(["TooManyRequestsException"] * 2, [{"UUID": "known", "State": "Enabled"}])
    with pytest.raises(QueueUnavailable):
        mapping_on(service, []).create(WORKSPACE, DESTINATION)
    with pytest.raises(QueueUnavailable):
        mapping_on(service, []).delete(DESTINATION, None)
    with pytest.raises(StoreUnavailable):
        SecretCipher(client("kms"), f"arn:aws:kms:{REGION}:123456789012:key/none").encrypt(b"x", {})


def test_the_operators_token_is_the_secret_and_a_missing_one_is_unavailable(aws: None) -> None:
    made = client("secretsmanager").create_secret(Name="operator", SecretString="text as it is")
    assert OperatorSecret(client("secretsmanager"), made["ARN"]).read() == "text as it is"
    with pytest.raises(StoreUnavailable):
        OperatorSecret(client("secretsmanager"), made["ARN"] + "none").read()
