"""Before a deploy: does the account have room for what the stage reserves?"""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from moto import mock_aws

from infra import preflight
from infra.stages import Stage
from tests.infra.moto_stage import DEV, moto_clients

RESERVING = dataclasses.replace(DEV, reserved={"collect": 300, "deliver": 400})


class Account:
    """What Lambda tells of an account: moto knows no limits."""

    def __init__(self, limit: int, reserved: dict[str, int]) -> None:
        self._limit = limit
        self._reserved = reserved

    def __call__(self, service: str) -> Account:
        assert service == "lambda"
        return self

    def get_account_settings(self) -> dict[str, Any]:
        return {"AccountLimit": {"ConcurrentExecutions": self._limit}}

    def get_paginator(self, operation: str) -> Account:
        assert operation == "list_functions"
        return self

    def paginate(self) -> list[dict[str, Any]]:
        return [{"Functions": [{"FunctionName": name}]} for name in self._reserved]

    def get_function_concurrency(self, **asked: str) -> dict[str, int]:
        reserved = self._reserved[asked["FunctionName"]]
        return {"ReservedConcurrentExecutions": reserved} if reserved else {}


def obstacles(of: Stage, limit: int, **reserved: int) -> list[str]:
    return list(preflight.obstacles(Account(limit, reserved), of))


def test_a_stage_that_reserves_nothing_fits_a_new_account() -> None:
    assert obstacles(DEV, 10) == []


def test_a_reservation_in_a_new_account_is_refused_with_the_numbers_and_the_way_out() -> None:
    (refusal,) = obstacles(RESERVING, 10)
    for told in ("700", "10", "us-east-1", "Service Quotas", "infra/stages.py"):
        assert told in refusal


@given(others=st.integers(0, 2000), spare=st.integers(-3, 3))
def test_the_limit_must_hold_ours_others_and_what_aws_keeps_back(others: int, spare: int) -> None:
    limit = 700 + others + preflight.UNRESERVED + spare
    assert bool(obstacles(RESERVING, limit, somebody=others)) is (spare < 0)


def test_what_an_earlier_deploy_reserved_is_not_counted_twice() -> None:
    earlier = {"penstock-dev-collect": 300, "penstock-dev-deliver": 400}
    assert obstacles(RESERVING, 800, **earlier) == []


@pytest.mark.parametrize("bootstrapped", [True, False])
def test_an_account_is_bootstrapped_where_the_cdk_has_left_its_version(bootstrapped: bool) -> None:
    with mock_aws():
        client = moto_clients()
        if bootstrapped:
            client("ssm").put_parameter(Name=preflight.BOOTSTRAP, Value="30", Type="String")
        assert preflight.is_bootstrapped(client) is bootstrapped


def test_the_account_is_the_one_of_the_credentials() -> None:
    with mock_aws():
        assert preflight.account(moto_clients()) == "123456789012"
