"""The templates of a stage, synthesized once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest


def synthesized(stage_name: str, outdir: str) -> dict[str, dict[str, Any]]:
    """The template of each stack, by the stack's name. Loads the CDK only when it is asked: that takes seconds."""
    from aws_cdk import App

    from infra.app import hub
    from infra.stages import stage

    app = App(outdir=outdir, context={"aws:cdk:enable-path-metadata": False})
    hub(app, stage(stage_name, "us-east-1"))
    return {stack.stack_name: stack.template for stack in app.synth().stacks}


@pytest.fixture(scope="session")
def templates(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, dict[str, Any]]:
    """Those of stage dev."""
    return synthesized("dev", str(tmp_path_factory.mktemp("cdk.out")))
