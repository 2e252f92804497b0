"""The CDK app on the local cloud: deploy it, find its APIs, destroy it, look for what is left."""

from __future__ import annotations

from dataclasses import dataclass

from penstock.local.home import Home
from penstock.local.progress import Progress


@dataclass(frozen=True)
class Deployment:
    """Where the APIs of the deployed app are, by name; its stream; and the token that makes workspaces."""

    apis: dict[str, str]
    stream: str
    operator_token: str


def deploy(home: Home, progress: Progress) -> Deployment:
    raise NotImplementedError


def destroy(home: Home, progress: Progress) -> None:
    raise NotImplementedError


def remains(home: Home) -> list[str]:
    raise NotImplementedError
