"""`make deploy`: look before, bootstrap where that is needed, deploy every stack."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence

from botocore.exceptions import BotoCoreError, ClientError

from infra import preflight, sweep
from infra.account import clients_of, given_stage
from infra.bundles import ROOT
from infra.stages import Stage, WrongStage

DEPLOY = ("deploy", "--all", "--require-approval", "never", "--concurrency", "4")


class Failed(RuntimeError):
    """A step did not succeed; the message is one clear line."""


def deploy(of: Stage) -> None:
    """Raises `Failed`."""
    client = clients_of(of)
    account = preflight.account(client)
    print(f"penstock: deploying stage {of.name} to account {account}, {of.region}", flush=True)  # noqa: T201
    obstacles = list(preflight.obstacles(client, of))
    if obstacles:
        raise Failed("; ".join(obstacles))
    if not preflight.is_bootstrapped(client):
        cdk(of, "bootstrap", f"aws://{account}/{of.region}")
    cdk(of, *DEPLOY)
    sweep.let_control_plane_run(client, of)


def cdk(of: Stage, *arguments: str) -> None:
    """Run the CDK's command line for a stage, its output shown as it comes. Raises `Failed`."""
    environment = {**os.environ, "STAGE": of.name, "REGION": of.region, "AWS_REGION": of.region}
    command: Sequence[str] = ["npx", "--no-install", "cdk", *arguments]
    if subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode:
        raise Failed(f"cdk {arguments[0]} failed; what it said stands above")


def main() -> None:
    try:
        deploy(given_stage(__doc__))
    except (Failed, WrongStage, BotoCoreError, ClientError) as error:
        sys.exit(f"penstock: {error}")


if __name__ == "__main__":
    main()
