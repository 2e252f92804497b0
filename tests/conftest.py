"""Every test runs with fake credentials, no endpoint of its own, and no way out but loopback."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings
from pytest_socket import disable_socket, enable_socket, socket_allow_hosts

os.environ.pop("AWS_ENDPOINT_URL", None)
os.environ.update(
    AWS_ACCESS_KEY_ID="testing",
    AWS_SECRET_ACCESS_KEY="testing",
    AWS_DEFAULT_REGION="us-east-1",
    AWS_REGION="us-east-1",
    AWS_EC2_METADATA_DISABLED="true",
)

# No test depends on the machine's speed. `quick` is for `make check`; `make test` tries more.
settings.register_profile("thorough", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("quick", parent=settings.get_profile("thorough"), max_examples=15)
settings.load_profile("thorough")

SOCKETLESS = ("domain", "steps")


@pytest.fixture(autouse=True)
def _sockets(request: pytest.FixtureRequest):
    """Domain and step tests get no socket at all; every other test may reach loopback alone."""
    if request.path.parent.name in SOCKETLESS:
        disable_socket(allow_unix_socket=True)
    else:
        socket_allow_hosts(["127.0.0.1", "::1", "localhost"], allow_unix_socket=True)
    yield
    enable_socket()
