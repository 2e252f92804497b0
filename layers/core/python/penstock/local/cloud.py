"""The local cloud: ministack, in a venv of its own, on loopback, with nothing kept on disk past its end."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import requests

from penstock.local import processes
from penstock.local.home import ACCESS_KEY, ACCOUNT, LOOPBACK, REGION, SECRET_KEY, Home
from penstock.local.ports import open_to_others
from penstock.local.processes import Background
from penstock.local.trouble import Trouble

READY_WITHIN_S = 30.0
LOOK_EVERY_S = 0.1


def credentials(home: Home) -> dict[str, str]:
    """What points the AWS command lines and libraries at this cloud and at nothing else."""
    return {
        "AWS_ENDPOINT_URL": home.cloud_url,
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_EC2_METADATA_DISABLED": "true",
        "CDK_DEFAULT_ACCOUNT": ACCOUNT,
        "CDK_DEFAULT_REGION": REGION,
    }


def aws_environment(home: Home) -> dict[str, str]:
    """Our own environment without any trace of a real account, and with the local cloud's instead."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "CDK_"))}
    return {**kept, **credentials(home), "AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull}


def scratch(home: Home) -> Path:
    return home.folder / "cloud"


def start_cloud(home: Home) -> Background:
    """Start it; `wait_until_ready` says when it answers. Raises `Trouble`."""
    python = home.tools / "cloud-venv" / "bin" / "python"
    if not python.exists():
        raise Trouble("the local cloud's environment is not made: run `make env`")
    shutil.rmtree(scratch(home), ignore_errors=True)
    scratch(home).mkdir(parents=True)
    command = [str(python), "-m", "ministack"]
    return processes.start(command, home.logs / "cloud.log", cloud_environment(home), scratch(home))


def cloud_environment(home: Home) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "LC_ALL") if name in os.environ}
    return {
        **kept,
        "BIND_HOST": LOOPBACK,
        "MINISTACK_HOST": LOOPBACK,
        "GATEWAY_PORT": str(home.cloud_port),
        "MINISTACK_ACCOUNT_ID": ACCOUNT,
        "MINISTACK_REGION": REGION,
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
        "PERSIST_STATE": "0",
        "LAMBDA_EXECUTOR": "local",
        "LOG_LEVEL": "WARNING",
        "PYTHONUNBUFFERED": "1",
        "TMPDIR": str(scratch(home)),
        "S3_DATA_DIR": str(scratch(home) / "s3"),
        "STATE_DIR": str(scratch(home) / "state"),
        "DOCKER_HOST": "unix:///nonexistent",
    }


def wait_until_ready(home: Home, background: Background) -> None:
    """Until it answers, and on loopback alone. Raises `Trouble`."""
    deadline = time.monotonic() + READY_WITHIN_S
    while not is_healthy(home):
        if not background.is_alive():
            raise Trouble(f"the local cloud ended while it started: see {home.logs / 'cloud.log'}")
        if time.monotonic() > deadline:
            raise Trouble(f"the local cloud was not ready within {READY_WITHIN_S:.0f} s: see {home.logs / 'cloud.log'}")
        time.sleep(LOOK_EVERY_S)
    refuse_open_doors(background)


def is_healthy(home: Home) -> bool:
    try:
        return requests.get(f"{home.cloud_url}/_ministack/health", timeout=5).ok
    except requests.RequestException:
        return False


def refuse_open_doors(background: Background) -> None:
    """Nothing of ours listens beyond loopback."""
    found = open_to_others(processes.living_members(background.pid))
    if found:
        raise Trouble(f"the local cloud listens beyond loopback on {', '.join(found)}")
