"""The table `progress`: what failing jobs have reached."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from penstock import tables
from penstock.adapters.aws_errors import ask_if, asking_dynamodb
from penstock.domain.progress import Progress

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

KEPT_S = 15 * 86_400  # longer than SQS keeps a job


class ProgressTable:
    def __init__(self, client: DynamoDBClient, table: str, clock: Callable[[], float]) -> None:
        self._client = client
        self._table = table
        self._clock = clock

    def read(self, workspace: str, destination: str, job_id: str) -> Progress | None:
        """Raises `StoreUnavailable`."""
        key = _key(workspace, destination, job_id)
        with asking_dynamodb():
            answer = self._client.get_item(TableName=self._table, Key=key, ConsistentRead=True)
        return _progress(answer["Item"]) if "Item" in answer else None

    def write(self, workspace: str, destination: str, job_id: str, progress: Progress) -> None:
        """A note that has reached less than what is noted changes nothing: whoever wrote it had lost its message.

        Raises `StoreUnavailable`.
        """
        item = _key(workspace, destination, job_id) | {
            "done": {"N": str(progress.done)},
            "attempts": {"N": str(progress.attempts)},
            "last": {"S": progress.last},
            "first_at": {"N": repr(progress.first_at)},
            "next_at": {"N": repr(progress.next_at)},
            "returns": {"N": str(progress.returns)},
            "is_alone": {"BOOL": progress.is_alone},
            "answer": {"S": progress.answer},
            "kind": {"S": progress.kind},
            "kind_at": {"N": repr(progress.kind_at)},
            "is_started": {"BOOL": progress.is_started},
            "expires_at": self._expiry(),
        }
        ask_if(
            lambda: self._client.put_item(
                TableName=self._table,
                Item=item,
                ConditionExpression="attribute_not_exists(#done) OR #done <= :done",
                ExpressionAttributeNames={"#done": "done"},
                ExpressionAttributeValues={":done": item["done"]},
            )
        )

    def give_back(self, workspace: str, destination: str, job_ids: Sequence[str]) -> None:
        """Count for each job that it was given back, whatever else is noted of it. Raises `StoreUnavailable`."""
        for job_id in job_ids:
            with asking_dynamodb():
                self._client.update_item(
                    TableName=self._table,
                    Key=_key(workspace, destination, job_id),
                    UpdateExpression="ADD #returns :one SET #expires_at = :expires_at",
                    ExpressionAttributeNames={"#returns": "returns", "#expires_at": "expires_at"},
                    ExpressionAttributeValues={":one": {"N": "1"}, ":expires_at": self._expiry()},
                )

    def _expiry(self) -> dict[str, str]:
        return {"N": str(int(self._clock()) + KEPT_S)}


def _key(workspace: str, destination: str, job_id: str) -> dict[str, Any]:
    return {"owner": {"S": tables.owner(workspace, destination)}, "sk": {"S": job_id}}


def _progress(item: Mapping[str, Any]) -> Progress:
    """What is absent was not noted: a job that was only ever given back has its `returns` alone."""
    return Progress(
        done=int(_number(item, "done")),
        attempts=int(_number(item, "attempts")),
        last=item.get("last", {"S": ""})["S"],
        first_at=float(_number(item, "first_at")),
        next_at=float(_number(item, "next_at")),
        returns=int(_number(item, "returns")),
        is_alone=_flag(item, "is_alone"),
        answer=item.get("answer", {"S": ""})["S"],
        kind=item.get("kind", {"S": ""})["S"],
        kind_at=float(_number(item, "kind_at")),
        is_started=_flag(item, "is_started"),
    )


def _number(item: Mapping[str, Any], name: str) -> str:
    found: str = item.get(name, {"N": "0"})["N"]
    return found


def _flag(item: Mapping[str, Any], name: str) -> bool:
    found: bool = item.get(name, {"BOOL": False})["BOOL"]
    return found
