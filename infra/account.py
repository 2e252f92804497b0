"""What an operator's command works on: the stage that it names, and clients for its account and region."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import cache
from typing import Any

import boto3
from botocore.config import Config

from infra.stages import Stage, stage

MakeClient = Callable[[str], Any]
CONFIG = Config(connect_timeout=5, read_timeout=20, retries={"total_max_attempts": 5, "mode": "standard"})


def clients_of(of: Stage) -> MakeClient:
    """Clients by the name of their service, for the credentials at hand."""

    @cache
    def made(service: str) -> Any:
        return boto3.client(service, region_name=of.region, config=CONFIG)  # type: ignore[call-overload]

    return made


def given_stage(what: str | None, arguments: list[str] | None = None) -> Stage:
    """The stage that the command line names. Raises `WrongStage`."""
    parser = argparse.ArgumentParser(description=what)
    parser.add_argument("--stage", required=True)
    parser.add_argument("--region", required=True)
    given = parser.parse_args(arguments)
    return stage(given.stage, given.region)
