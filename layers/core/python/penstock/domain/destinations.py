"""Destinations: configured connections to tools. Each owns a queue and the event source mapping that empties it."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from penstock.domain import delivery_policy, subscription, webhook_settings
from penstock.domain.config import Item
from penstock.domain.delivery_policy import STANDARD, DeliveryPolicy, DeliveryPolicyChange, DeliveryPolicyView
from penstock.domain.names import END, Name
from penstock.domain.webhook_settings import Plain, WebhookSettings, WebhookSettingsChange, WebhookSettingsView

SourceId = Annotated[str, Meta(pattern=r"^src_[a-z0-9]{12}" + END)]
SourceIds = Annotated[
    list[SourceId], Meta(max_length=50, description="The sources whose events it gets", examples=[[]])
]
Subscription = Annotated[
    str,
    Meta(
        max_length=4000,
        description="FQL: which events it gets; all of them where absent or null",
        examples=['type = "track" and event = "Order Completed"'],
    ),
]


IMPORTS = "-import"
SETTINGS = ("url", "headers", "secret", "signing_secret")


class Destination(Item, frozen=True, kw_only=True):
    kind: ClassVar[str] = "destination"

    name: str
    type: str
    source_ids: tuple[str, ...]
    enabled: bool
    subscription: str | None = None
    settings: Plain
    secret_names: tuple[str, ...]
    secrets: bytes | None = None
    queue_url: str
    mapping_id: str
    import_queue_url: str | None = None
    import_mapping_id: str | None = None
    schema_changes: bool = False
    delivery: DeliveryPolicy = STANDARD
    created_at: str
    updated_at: str


class Unfinished(Item, frozen=True, kw_only=True):
    """A destination that is being made or taken down: its queue and mapping may exist, nobody sees it.

    One that `is_deleted` was seen before, so there may be jobs that wait for it.
    """

    kind: ClassVar[str] = "unfinished"

    version: int | None = None
    mapping_id: str | None = None
    started_at: int
    is_deleted: bool = False


class NewDestination(Struct, frozen=True, forbid_unknown_fields=True):
    """What a new destination needs."""

    name: Name
    type: Literal["webhook"]
    settings: WebhookSettings
    source_ids: SourceIds = []
    enabled: bool = True
    subscription: Subscription | None = None
    schema_changes: bool = False
    delivery: DeliveryPolicy = STANDARD


class DestinationChange(Struct, frozen=True, forbid_unknown_fields=True):
    """What of a destination can be changed; what is absent stays. `settings` merge at their top level."""

    name: Name | UnsetType = UNSET
    source_ids: SourceIds | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET
    subscription: Subscription | UnsetType | None = UNSET
    settings: WebhookSettingsChange | UnsetType = UNSET
    schema_changes: bool | UnsetType = UNSET
    delivery: DeliveryPolicyChange | UnsetType = UNSET


class DestinationView(Struct, frozen=True):
    """A destination; secrets in its settings are masked."""

    id: str
    name: str
    type: str
    source_ids: tuple[str, ...]
    enabled: bool
    subscription: str | None
    settings: WebhookSettingsView
    schema_changes: bool
    delivery: DeliveryPolicyView
    created_at: str
    updated_at: str


class DestinationList(Struct, frozen=True):
    """A page of destinations."""

    destinations: list[DestinationView]
    next: str | None


def import_name(destination_id: str) -> str:
    """What its queue for imports is named by, as its other one is by its id."""
    return f"{destination_id}{IMPORTS}"


def checked_subscription(text: str | None) -> str | None:
    """Raises `Invalid` for an expression that does not parse whole."""
    if text is not None:
        subscription.parse(text)
    return text


def changed(destination: Destination, change: DestinationChange, at: str) -> Destination:
    """The destination after all of a change but its settings, which may need secrets."""
    given = {
        "name": change.name,
        "enabled": change.enabled,
        "schema_changes": change.schema_changes,
        "delivery": UNSET
        if change.delivery is UNSET
        else delivery_policy.changed(destination.delivery, change.delivery),
        "source_ids": change.source_ids if change.source_ids is UNSET else unique(change.source_ids),
        "subscription": UNSET if change.subscription is UNSET else checked_subscription(change.subscription),
    }
    kept = {name: value for name, value in given.items() if value is not UNSET}
    return msgspec.structs.replace(destination, updated_at=at, **kept)


def unique(ids: list[str]) -> tuple[str, ...]:
    """In the order given, each once."""
    return tuple(dict.fromkeys(ids))


def view(item: Destination) -> DestinationView:
    return DestinationView(
        id=item.id,
        name=item.name,
        type=item.type,
        source_ids=item.source_ids,
        enabled=item.enabled,
        subscription=item.subscription,
        settings=webhook_settings.view(item.settings, item.secret_names),
        schema_changes=item.schema_changes,
        delivery=delivery_policy.view(item.delivery),
        created_at=item.created_at,
        updated_at=item.updated_at,
    )


def fields_of(change: DestinationChange) -> tuple[str, ...]:
    """The names of what a change gives, for the audit log."""
    own = tuple(
        name
        for name in ("name", "source_ids", "enabled", "subscription", "schema_changes", "delivery")
        if getattr(change, name) is not UNSET
    )
    if change.settings is UNSET:
        return own
    inner = tuple(name for name in SETTINGS if getattr(change.settings, name) is not UNSET)
    return own + (tuple(f"settings.{name}" for name in inner) or ("settings",))
