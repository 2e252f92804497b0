"""The DynamoDB tables and the shape of their keys: what `infra` creates and the adapters read.

Every partition key begins with the workspace id, so no read or write can reach another workspace.

config    workspace_id | kind#id             workspace, source, write key, destination, access token
audit     workspace_id | at#id               who changed what, when
receipts  workspace_id#destination_id | …    the books: one row per invocation of fanout and deliver
progress  workspace_id#destination_id | job  what a failing job has reached: done, attempts, next try
dedup     workspace_id#source_id#group | …   an ordering key: which record claimed which messageId on which day
letters   workspace_id#destination_id | …    what it did not take, by the stream's order, and replays of that
overflow  workspace_id#destination_id#group  a lane's jobs that wait outside the queue, and the lane's own item
gates     workspace_id#destination_id | …    `gate`: whether a destination's events flow; `rate`: how fast they may;
                                             `overflow`: when its overflow has its turn; `burial`: that it is deleted
quotas    workspace_id | window#source_id    what a source, or all, brought in ten seconds; `bulk`: how late it
                                             is; `operator`: who is moved

Of the schemas, where an event is the digest of its call and name:

places    workspace_id#source_id#event | …   the facts: one item per path, and which column is whose
schemas   workspace_id#source_id#event | …   what a query reads: the compact schema, and each shard's counts
changes   workspace_id#source_id | …         the change feed: its head, and one item per version
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Index:
    """A sparse index of a table: its keys, both strings, and the attributes that it carries besides."""

    name: str
    partition_key: str
    sort_key: str
    carries: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """One table: on demand, both keys strings; `ttl` names the attribute with the expiry in epoch seconds.

    `feeds` is the function that reads the table's stream, each item as it was and as it is.
    """

    name: str
    partition_key: str
    sort_key: str
    ttl: str | None = None
    feeds: str | None = None
    index: Index | None = None


CONFIG = Table("config", "workspace_id", "sk")
AUDIT = Table("audit", "workspace_id", "sk", ttl="expires_at")
RECEIPTS = Table("receipts", "owner", "sk", ttl="expires_at")
PROGRESS = Table("progress", "owner", "sk", ttl="expires_at")
QUOTAS = Table("quotas", "owner", "sk", ttl="expires_at")
GATES_BY_ATTENTION = "by_attention"
GATES = Table("gates", "owner", "sk", index=Index(GATES_BY_ATTENTION, "attention", "attend_at", ("state",)))
LETTERS_BY_TIME = "by_time"
LETTERS = Table(
    "letters",
    "owner",
    "sk",
    ttl="expires_at",
    index=Index(
        LETTERS_BY_TIME,
        "owner",
        "listed",
        (
            "kind", "reason", "at", "job", "index", "source", "user", "event", "message_id", "attempts",
            "object", "slot", "expires_at", "replayed_at", "replay",
        ),
    ),
)  # fmt: skip
DEDUP = Table("dedup", "owner", "sk", ttl="expires_at")
OVER = "over_"  # what the attribute of a key's item begins with that says at which destination it overflows
OVERFLOW_BY_DESTINATION = "by_destination"
OVERFLOW_TURNS = "overflow"  # sort key of the item in `gates` by which a destination's overflow is looked after
OVERFLOW = Table(
    "overflow", "owner", "sk", ttl="expires_at", index=Index(OVERFLOW_BY_DESTINATION, "of", "owner", ("expires_at",))
)
BURIAL = "burial"  # sort key of the note in `gates` that a deleted destination is to be buried, and its `attention`
PLACES = Table("places", "owner", "sk", feeds="schema_changes")
SCHEMAS_BY_SOURCE = "by_source"
SCHEMAS = Table(
    "schemas",
    "owner",
    "sk",
    index=Index(
        SCHEMAS_BY_SOURCE, "source", "listed", ("call", "event", "events", "first_seen", "last_seen", "violations")
    ),
)
CHANGES = Table("changes", "owner", "sk", feeds="schema_changes")

ALL = (CONFIG, AUDIT, RECEIPTS, PROGRESS, LETTERS, DEDUP, GATES, QUOTAS, OVERFLOW, PLACES, SCHEMAS, CHANGES)


def owner(workspace_id: str, destination_id: str) -> str:
    """Partition key of a destination's own rows."""
    return f"{workspace_id}#{destination_id}"


def key_owner(workspace_id: str, source_id: str, group: str) -> str:
    """Partition key of what belongs to an ordering key of a source."""
    return f"{workspace_id}#{source_id}#{group}"
