"""Ids that carry their workspace, so that every look-up begins with the workspace.

workspace    ws_ + 12 of [a-z0-9]                  ws_k3v9x0a1b2c3
source       src_ + 12, destination dst_ + 12, access token tok_ + 12
write key    the workspace's 12 + 24 of [a-z0-9]   (36 characters, a public identifier)
token        pt.<workspace id>.<token id>.<40 of [a-z0-9]>
"""

from __future__ import annotations

import re

ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789"
SUFFIX_LENGTH = 12
WRITE_KEY_SECRET_LENGTH = 24
TOKEN_SECRET_LENGTH = 40

_WRITE_KEY = re.compile(r"[a-z0-9]{36}")
_TOKEN = re.compile(r"pt\.(ws_[a-z0-9]{12})\.(tok_[a-z0-9]{12})\.[a-z0-9]{40}")


def workspace_of_write_key(write_key: str) -> str | None:
    """The workspace id inside a write key, or None for text that no write key could be."""
    if not _WRITE_KEY.fullmatch(write_key):
        return None
    return "ws_" + write_key[:SUFFIX_LENGTH]


def parts_of_token(token: str) -> tuple[str, str] | None:
    """(workspace id, token id) inside an access token, or None for text that no token could be."""
    found = _TOKEN.fullmatch(token)
    return (found[1], found[2]) if found else None
