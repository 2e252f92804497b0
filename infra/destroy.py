"""`make destroy`: sweep what was made at run time, destroy every stack, look for what is left."""

from __future__ import annotations

import sys

from botocore.exceptions import BotoCoreError, ClientError

from infra import preflight
from infra.account import clients_of, given_stage
from infra.audit import audit
from infra.deploy import Failed, cdk
from infra.stages import Stage, WrongStage
from infra.sweep import QUIET_S, Clock, StillThere, sweep


def destroy(of: Stage) -> None:
    """Raises `Failed` or `StillThere`."""
    client = clients_of(of)
    confirm(of, preflight.account(client))
    say(f"stopping the control plane of stage {of.name} and sweeping its queues; that takes a minute")
    say(f"swept {sweep(client, of, Clock(), 0.0 if of.local else QUIET_S)} queues and mappings")
    cdk(of, "destroy", "--all", "--force")
    found = audit(client, of)
    for line in found.pending:
        say(line)
    if found.left:
        raise Failed("left behind: " + ", ".join(found.left))
    say("nothing is left" + (" but what AWS keeps pending deletion" if found.pending else ""))


def confirm(of: Stage, account: str) -> None:
    """A person is asked; a script that runs this has decided already."""
    if not sys.stdin.isatty():
        return
    question = f"This destroys stage {of.name} in account {account}, {of.region}, its data included. Type {of.name}: "
    if input(question).strip() != of.name:
        raise Failed("nothing was destroyed")


def say(text: str) -> None:
    print(f"penstock: {text}", flush=True)  # noqa: T201


def main() -> None:
    try:
        destroy(given_stage(__doc__))
    except (Failed, StillThere, WrongStage, BotoCoreError, ClientError) as error:
        sys.exit(f"penstock: {error}")


if __name__ == "__main__":
    main()
