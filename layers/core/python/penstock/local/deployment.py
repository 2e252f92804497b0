"""The CDK app on the local cloud: deploy it, find its APIs and the operator's token in what was deployed."""

from __future__ import annotations

import contextlib
import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from penstock.local.cloud import aws_environment
from penstock.local.commands import run
from penstock.local.home import ACCESS_KEY, ACCOUNT, REGION, SECRET_KEY, Home
from penstock.local.progress import Progress
from penstock.local.trouble import Trouble

if TYPE_CHECKING:
    from boto3.session import Session

STAGE = "local"
PREFIX = f"penstock-{STAGE}"
STREAM = f"{PREFIX}-events"
WITHIN_S = 300.0
ASKING = Config(connect_timeout=5, read_timeout=30, retries={"total_max_attempts": 3})
UNATTENDED = ("--require-approval", "never", "--concurrency", "4", "--progress", "events")
SYNTHESIZED = ("app.py", "cdk.json", "uv.lock", "package-lock.json", "infra", "functions", "layers")


@dataclass(frozen=True)
class Deployment:
    """Where the APIs of the deployed app are, by name; its stream; and the token that makes workspaces."""

    apis: dict[str, str]
    stream: str
    operator_token: str


def deploy(home: Home, progress: Progress) -> Deployment:
    """Put the app as it stands on the cloud. Raises `Trouble`."""
    with ThreadPoolExecutor(max_workers=1) as pool:  # the synth, which is longer, here: an interruption ends it at once
        bootstrapped = pool.submit(bootstrap, home, progress)
        synthesize(home, progress)
        bootstrapped.result()
    with progress.step("deploying the CDK app", "CDK app deployed"):
        cdk(home, "the deploy", "deploy", "--all", "--app", str(assembly(home)), *UNATTENDED)
        let_browsers_in(home)
    return find(home)


def bootstrap(home: Home, progress: Progress) -> None:
    with progress.step("bootstrapping", "local cloud bootstrapped"):
        cdk(home, "the bootstrap", "bootstrap", f"aws://{ACCOUNT}/{REGION}")


def synthesize(home: Home, progress: Progress) -> None:
    """Only where something that goes into the templates or the layers has changed since the last time."""
    mark, wanted = assembly(home) / ".made-from", fingerprint(home.repo)
    if mark.exists() and mark.read_text() == wanted:
        return
    with progress.step("synthesizing the CDK app", "CDK app synthesized, layers built"):
        cdk(home, "the synth", "synth", "--quiet", "--output", str(assembly(home)), folder=home.repo)
    mark.write_text(wanted)


def assembly(home: Home) -> Path:
    return home.folder / "cdk.out"


def cdk(home: Home, what: str, *arguments: str, folder: Path | None = None) -> None:
    """Beside a cdk.json the command line runs the app first, whatever it is asked: only the synth is run there."""
    environment = {
        **aws_environment(home),
        "STAGE": STAGE,
        "REGION": REGION,
        "JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION": "18,20,21,22,23",
        "CI": "true",
    }
    command = [str(home.repo / "node_modules" / ".bin" / "cdk"), *arguments]
    run(what, command, home.logs / f"cdk-{arguments[0]}.log", environment, folder or home.folder, WITHIN_S)


def fingerprint(repo: Path) -> str:
    digest = hashlib.sha256(str(repo).encode())
    for file in sorted(_inputs(repo)):
        digest.update(f"{file.relative_to(repo)}\0".encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()


def _inputs(repo: Path) -> Iterator[Path]:
    for name in SYNTHESIZED:
        found = repo / name
        if found.is_file():
            yield found
        else:
            yield from (file for file in found.rglob("*") if file.is_file() and file.suffix != ".pyc")


def session() -> Session:
    return boto3.Session(aws_access_key_id=ACCESS_KEY, aws_secret_access_key=SECRET_KEY, region_name=REGION)


def find(home: Home) -> Deployment:
    """What was deployed, as the cloud tells it. Raises `Trouble`."""
    known = outputs(home)
    secrets = session().client("secretsmanager", endpoint_url=home.cloud_url, config=ASKING)
    with translated():
        token = secrets.get_secret_value(SecretId=known["OperatorTokenSecretArn"])["SecretString"]
    base = f"{home.cloud_url}/_aws/execute-api"
    apis = {name: f"{base}/{known[f'{name.capitalize()}ApiId']}/$default" for name in ("collect", "control")}
    return Deployment(apis, STREAM, token)


def outputs(home: Home) -> dict[str, str]:
    """What the API's stack tells of itself."""
    stacks = session().client("cloudformation", endpoint_url=home.cloud_url, config=ASKING)
    with translated():
        found = stacks.describe_stacks(StackName=f"{PREFIX}-api")["Stacks"][0]["Outputs"]
    return {output["OutputKey"]: output["OutputValue"] for output in found}


def let_browsers_in(home: Home) -> None:
    """The local cloud does not understand a template's CORS, only the API's: it is told the same once more."""
    template = json.loads((assembly(home) / f"{PREFIX}-api.template.json").read_text())
    gateway = session().client("apigatewayv2", endpoint_url=home.cloud_url, config=ASKING)
    known = outputs(home)
    for logical_id, resource in template["Resources"].items():
        cors = resource["Properties"].get("CorsConfiguration") if resource["Type"].endswith("V2::Api") else None
        if cors is not None:
            with translated():
                gateway.update_api(ApiId=known[f"{logical_id}Id"], CorsConfiguration=cors)


@contextlib.contextmanager
def translated() -> Iterator[None]:
    try:
        yield
    except (BotoCoreError, ClientError) as error:
        raise Trouble(f"the local cloud does not know what was deployed: {error}") from error


def destroy(home: Home, progress: Progress) -> None:
    """Remove what was made at run time, then the stacks. Raises `Trouble`."""
    with progress.step("removing queues and mappings made at run time", "queues and mappings removed"):
        run("the sweep", of_infra("sweep"), home.logs / "sweep.log", aws_environment(home), home.repo, WITHIN_S)
    with progress.step("destroying the stacks", "stacks destroyed"):
        cdk(home, "the destroy", "destroy", "--all", "--force", "--app", str(assembly(home)))
        remove_late_logs(home)


def remove_late_logs(home: Home) -> None:
    """The local cloud makes a function's log group again for a call that ends after its removal; AWS does not."""
    logs = session().client("logs", endpoint_url=home.cloud_url, config=ASKING)
    for found in logs.describe_log_groups(logGroupNamePrefix=f"/aws/lambda/{PREFIX}-")["logGroups"]:
        logs.delete_log_group(logGroupName=found["logGroupName"])


def audit(home: Home, progress: Progress) -> None:
    """Raises `Trouble` where something of the hub is left in the cloud, naming it."""
    with progress.step("looking for what is left in the cloud", "the local cloud was searched"):
        done = subprocess.run(
            of_infra("audit"),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            env=aws_environment(home),
            cwd=home.repo,
            timeout=WITHIN_S,
            check=False,
        )
    if done.returncode:
        found = done.stdout.splitlines() or done.stderr.splitlines()[-1:]
        raise Trouble(f"left in the cloud: {', '.join(found)}")


def of_infra(module: str) -> list[str]:
    return [sys.executable, "-m", f"infra.{module}", "--stage", STAGE, "--region", REGION]
