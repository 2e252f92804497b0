"""Where a local hub lives on this machine: its folder, its ports, and the tools beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from penstock.local.trouble import Trouble

REPO = Path(__file__).resolve().parents[5]
LOOPBACK = "127.0.0.1"
REGION = "us-east-1"
ACCOUNT = "000000000000"
# The CDK remembers in the home folder which account a key belongs to: the local cloud has a key of its own.
ACCESS_KEY = "penstock-local"
SECRET_KEY = ACCESS_KEY


@dataclass(frozen=True)
class Home:
    """One local hub: everything it writes lies in `folder`, everything it opens is one of three ports."""

    folder: Path
    cloud_port: int = 4566
    port: int = 4600
    sink_port: int = 4601
    repo: Path = REPO

    @property
    def cloud_url(self) -> str:
        return f"http://{LOOPBACK}:{self.cloud_port}"

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    @property
    def sink_url(self) -> str:
        return f"http://{LOOPBACK}:{self.sink_port}"

    @property
    def hub_file(self) -> Path:
        return self.folder / "hub.json"

    @property
    def state_file(self) -> Path:
        return self.folder / "state.json"

    @property
    def logs(self) -> Path:
        return self.folder / "logs"

    @property
    def tools(self) -> Path:
        """Made from the lock files, and shared by every hub of this checkout."""
        return self.repo / ".penstock"

    @property
    def ports(self) -> dict[str, int]:
        """Each port by the variable that moves it."""
        return {
            "PENSTOCK_CLOUD_PORT": self.cloud_port,
            "PENSTOCK_PORT": self.port,
            "PENSTOCK_SINK_PORT": self.sink_port,
        }


def home_from(environment: Mapping[str, str], repo: Path = REPO) -> Home:
    """The hub that the environment means. Raises `Trouble` for a port that is none."""
    return Home(
        folder=Path(environment.get("PENSTOCK_HOME") or repo / ".penstock").absolute(),
        cloud_port=_port(environment, "PENSTOCK_CLOUD_PORT", 4566),
        port=_port(environment, "PENSTOCK_PORT", 4600),
        sink_port=_port(environment, "PENSTOCK_SINK_PORT", 4601),
        repo=repo,
    )


def _port(environment: Mapping[str, str], name: str, default: int) -> int:
    text = environment.get(name) or str(default)
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise Trouble(f"{name} is no port: {text!r}")
    return int(text)
