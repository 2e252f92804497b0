"""A port that is taken is named, and what listens beyond loopback is found."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from penstock.local.home import Home, home_from
from penstock.local.ports import free_port, is_taken, open_to_others, refuse_taken
from penstock.local.trouble import Trouble


def test_a_taken_port_is_named_with_the_variable_that_moves_it(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        home = Home(tmp_path, cloud_port=free_port(), port=free_port(), sink_port=port)
        assert is_taken(port)
        with pytest.raises(Trouble, match=rf"^port {port} is taken .* PENSTOCK_SINK_PORT=…$"):
            refuse_taken(home)
    refuse_taken(home)


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="the system has no /proc to tell")
def test_what_listens_beyond_loopback_is_found() -> None:
    with socket.create_server(("127.0.0.1", 0)):
        assert open_to_others([os.getpid()]) == []
    with socket.socket() as everywhere:
        everywhere.bind(("0.0.0.0", 0))
        everywhere.listen()
        assert open_to_others([os.getpid()]) == [f"0.0.0.0:{everywhere.getsockname()[1]}"]


def test_the_environment_moves_a_hub(tmp_path: Path) -> None:
    home = home_from({"PENSTOCK_HOME": str(tmp_path), "PENSTOCK_PORT": "5000"})
    assert (home.folder, home.url, home.sink_url) == (tmp_path, "http://127.0.0.1:5000", "http://127.0.0.1:4601")
    assert home_from({}).folder == home.repo / ".penstock"


@pytest.mark.parametrize("port", ["x", "0", "65536", "-1", "4.5"])
def test_a_port_that_is_none_is_refused(port: str) -> None:
    with pytest.raises(Trouble, match="PENSTOCK_PORT is no port"):
        home_from({"PENSTOCK_PORT": port})
