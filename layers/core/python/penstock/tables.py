"""The DynamoDB tables and the shape of their keys: what `infra` creates and the adapters read.

Every partition key begins with the workspace id, so no read or write can reach another workspace.

config    workspace_id | kind#id             workspace, source, write key, destination, access token
audit     workspace_id | at#id               who changed what, when
receipts  workspace_id#destination_id | …    the books: one row per invocation of fanout and deliver
progress  workspace_id#destination_id | job  what a failing job has reached: done, attempts, next try
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Table:
    """One table: on demand, both keys strings; `ttl` names the attribute with the expiry in epoch seconds."""

    name: str
    partition_key: str
    sort_key: str
    ttl: str | None = None


CONFIG = Table("config", "workspace_id", "sk")
AUDIT = Table("audit", "workspace_id", "sk", ttl="expires_at")
RECEIPTS = Table("receipts", "owner", "sk", ttl="expires_at")
PROGRESS = Table("progress", "owner", "sk", ttl="expires_at")

ALL = (CONFIG, AUDIT, RECEIPTS, PROGRESS)


def owner(workspace_id: str, destination_id: str) -> str:
    """Partition key of a destination's own rows."""
    return f"{workspace_id}#{destination_id}"
