"""Which ports are taken, and what listens where."""

from __future__ import annotations

import socket
import struct
import time
from pathlib import Path

from penstock.local.home import LOOPBACK, Home
from penstock.local.trouble import Trouble

LISTENING = "0A"


def is_taken(port: int) -> bool:
    """Whether something else holds the port on loopback or on every address."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return True
    return False


def refuse_taken(home: Home) -> None:
    for variable, port in home.ports.items():
        if is_taken(port):
            raise Trouble(f"port {port} is taken by another program: end it, or choose another with {variable}=…")


def wait_until_free(port: int, within_s: float) -> bool:
    deadline = time.monotonic() + within_s
    while is_taken(port):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def open_to_others(pids: list[int]) -> list[str]:
    """Addresses beyond loopback on which these processes listen; empty where the system has no /proc to tell."""
    inodes = {inode for pid in pids for inode in _sockets_of(pid)}
    found = []
    for table, family in (("tcp", socket.AF_INET), ("tcp6", socket.AF_INET6)):
        for line in _lines(Path("/proc/net") / table):
            fields = line.split()
            if fields[3] != LISTENING or fields[9] not in inodes:
                continue
            host, port = _address(fields[1], family)
            if not host.startswith("127.") and host != "::1":
                found.append(f"{host}:{port}")
    return found


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text().splitlines()[1:]
    except FileNotFoundError:
        return []


def _sockets_of(pid: int) -> list[str]:
    inodes = []
    try:
        descriptors = list(Path(f"/proc/{pid}/fd").iterdir())
    except (FileNotFoundError, PermissionError):
        return []
    for descriptor in descriptors:
        try:
            target = str(descriptor.readlink())
        except FileNotFoundError:
            continue
        if target.startswith("socket:["):
            inodes.append(target[len("socket:[") : -1])
    return inodes


def _address(text: str, family: socket.AddressFamily) -> tuple[str, int]:
    """`0100007F:11D6` as the kernel writes it: words in the machine's byte order."""
    host, _, port = text.partition(":")
    words = [int(host[i : i + 8], 16) for i in range(0, len(host), 8)]
    return socket.inet_ntop(family, b"".join(struct.pack("=I", word) for word in words)), int(port, 16)
