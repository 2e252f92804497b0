"""`make deploy`: look before, bootstrap where that is needed, deploy every stack."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

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
        bootstrap(of, account)
    cdk(of, *DEPLOY)
    sweep.let_control_plane_run(client, of)


def bootstrap(of: Stage, account: str) -> None:
    """In a folder without an app: in ours, the CDK would synthesize it only to see where it goes. Raises `Failed`."""
    with TemporaryDirectory() as elsewhere:
        run(of, Path(elsewhere), "bootstrap", f"aws://{account}/{of.region}")


def cdk(of: Stage, *arguments: str) -> None:
    """Run the CDK's command line on our app. Raises `Failed`."""
    run(of, ROOT, *arguments, "--output", str(ROOT / ".penstock" / "cdk.out" / of.name))


def run(of: Stage, folder: Path, *arguments: str) -> None:
    """Its output is shown as it comes."""
    environment = {**os.environ, "STAGE": of.name, "REGION": of.region, "AWS_REGION": of.region}
    command = [str(ROOT / "node_modules" / ".bin" / "cdk"), *arguments]
    if subprocess.run(command, cwd=folder, env=environment, check=False).returncode:
        raise Failed(f"cdk {arguments[0]} failed; what it said stands above")


def main() -> None:
    try:
        deploy(given_stage(__doc__))
    except (Failed, WrongStage, BotoCoreError, ClientError) as error:
        sys.exit(f"penstock: {error}")


if __name__ == "__main__":
    main()
