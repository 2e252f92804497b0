"""`cdk synth` begins here: the stage comes from STAGE, the region from REGION."""

from __future__ import annotations

import sys

from aws_cdk import App

from infra.app import hub
from infra.bundles import CannotBuild
from infra.stages import WrongStage, from_environment

app = App()
try:
    hub(app, from_environment())
except (WrongStage, CannotBuild) as error:
    sys.exit(f"penstock: {error}")
app.synth()
