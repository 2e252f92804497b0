"""The hub that a command of the command line speaks to."""

from __future__ import annotations

import os

from penstock.local.control_client import ControlClient
from penstock.local.home import home_from
from penstock.local.hub import hub_for
from penstock.local.trouble import Trouble


def control() -> ControlClient:
    """The control API, with the token that belongs to it. Raises `Trouble` where there is none."""
    hub = hub_for(home_from(os.environ), os.environ)
    if not hub.token:
        raise Trouble("PENSTOCK_URL is set and PENSTOCK_TOKEN is not")
    return ControlClient(hub.url, hub.token)
