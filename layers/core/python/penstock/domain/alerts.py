"""Alerts: rules of a destination, and what becomes of one when it is measured.

A rule tells once when what it watches goes wrong, and once when it is right again. Each notice has an id: told twice,
as a crash can have it, it is the same.
"""

from __future__ import annotations

import re
from typing import Annotated, ClassVar, Literal, NamedTuple, TypeAlias

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from penstock.domain import webhook_settings
from penstock.domain.audit import iso
from penstock.domain.config import Item
from penstock.domain.names import END, Name
from penstock.domain.webhook_settings import Url, WebhookSettings
from penstock.errors import Invalid

MOST_ALERTS = 10  # of one destination
TOLD_WITHIN_S = 3_600.0  # after which a notice that nobody takes is given up

Metric: TypeAlias = Literal["delivered_share", "oldest_age_s", "gate"]
Below = Annotated[
    float,
    Meta(ge=0, le=14 * 86_400, description="`delivered_share` alerts below it (0 to 1), `oldest_age_s` above it"),
]
Minutes = Annotated[int, Meta(ge=1, le=60, description="Of how many minutes `delivered_share` is taken")]
Topic = Annotated[
    str,
    Meta(
        max_length=256,
        pattern=r"^arn:aws[a-z-]*:sns:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_-]+" + END,
        description="An SNS topic of the hub's own account whose name begins with the workspace's prefix",
    ),
]


class Alert(Item, frozen=True, kw_only=True):
    """A rule; its id is `<destination>.<alert>`, so that those of one destination stand together."""

    kind: ClassVar[str] = "alert"

    name: str
    metric: Metric
    threshold: float | None = None
    window_minutes: int = 5
    webhook: str | None = None
    sns_topic: str | None = None
    enabled: bool = True
    created_at: str
    updated_at: str

    @property
    def destination_id(self) -> str:
        return self.id.partition(".")[0]

    @property
    def alert_id(self) -> str:
        return self.id.partition(".")[2]


class NewAlert(Struct, frozen=True, forbid_unknown_fields=True):
    """What a new alert needs: what it watches, and either a webhook or an SNS topic to tell."""

    name: Name
    metric: Metric
    threshold: Below | None = None
    window_minutes: Minutes = 5
    webhook: Url | None = None
    sns_topic: Topic | None = None
    enabled: bool = True


class AlertChange(Struct, frozen=True, forbid_unknown_fields=True):
    """What of an alert can be changed; what is absent stays."""

    name: Name | UnsetType = UNSET
    threshold: Below | UnsetType | None = UNSET
    window_minutes: Minutes | UnsetType = UNSET
    webhook: Url | UnsetType | None = UNSET
    sns_topic: Topic | UnsetType | None = UNSET
    enabled: bool | UnsetType = UNSET


class AlertView(Struct, frozen=True):
    """An alert; `is_raised` says whether it is wrong now, `since` when that changed last."""

    id: str
    name: str
    metric: Metric
    threshold: float | None
    window_minutes: int
    webhook: str | None
    sns_topic: str | None
    enabled: bool
    is_raised: bool
    since: str | None
    created_at: str
    updated_at: str


class AlertList(Struct, frozen=True):
    """A page of a destination's alerts."""

    alerts: list[AlertView]
    next: str | None


class AlertState(Struct, frozen=True):
    """What became of a rule: its present incident by number, and whether its last change was told, or given up."""

    is_raised: bool = False
    incident: int = 0
    since: float = 0.0
    is_told: bool = True
    value: float | None = None
    is_given_up: bool = False

    @property
    def is_to_be_told(self) -> bool:
        return not (self.is_told or self.is_given_up)


class Key(NamedTuple):
    workspace: str
    destination: str
    alert: str


class Turn(NamedTuple):
    """A rule whose turn it is to be looked at, and how it stood; `at` is when its turn came."""

    key: Key
    state: AlertState
    at: str


class Measured(NamedTuple):
    """What a destination's rules can watch; None is not known, as of a window in which nothing was tried."""

    delivered_share: float | None
    oldest_age_s: float
    is_gate_closed: bool


class Notice(Struct, frozen=True):
    """What is told; `id` is the same however often."""

    id: str
    type: Literal["alert.raised", "alert.recovered"]
    workspace: str
    destination: str
    destination_name: str
    alert: str
    name: str
    metric: Metric
    threshold: float | None
    value: float | None
    at: str


def item_id(destination_id: str, alert_id: str) -> str:
    return f"{destination_id}.{alert_id}"


def checked(alert: Alert, topics: str, allow_loopback: bool) -> Alert:
    """The rule, its threshold to a millionth. Raises `Invalid` for one that can measure or tell nothing.

    `topics` is what topics' ARNs begin with.
    """
    if (alert.metric == "gate") != (alert.threshold is None):
        says = "a gate is closed or not" if alert.metric == "gate" else f"{alert.metric} is measured against one"
        raise Invalid("invalid_threshold", f"threshold: {says}", "threshold")
    if alert.metric == "delivered_share" and (alert.threshold or 0.0) > 1.0:
        raise Invalid("invalid_threshold", "a share is from 0 to 1", "threshold")
    if (alert.webhook is None) == (alert.sns_topic is None):
        raise Invalid("invalid_receiver", "give either webhook or sns_topic", "webhook")
    if alert.webhook is not None:
        try:
            webhook_settings.check(WebhookSettings(alert.webhook), allow_loopback)
        except Invalid as error:
            raise Invalid(error.code, error.message, "webhook") from None
    own = f"{topics}{alert.workspace_id}"
    if alert.sns_topic is not None and not re.fullmatch(re.escape(own) + r"(-[A-Za-z0-9_-]{1,100})?", alert.sns_topic):
        raise Invalid(
            "invalid_topic", f"a topic of this workspace is {own}, or that with -anything behind", "sns_topic"
        )
    return alert if alert.threshold is None else msgspec.structs.replace(alert, threshold=round(alert.threshold, 6))


def made(workspace_id: str, destination_id: str, alert_id: str, wanted: NewAlert, at: str) -> Alert:
    return Alert(
        workspace_id=workspace_id,
        id=item_id(destination_id, alert_id),
        name=wanted.name,
        metric=wanted.metric,
        threshold=wanted.threshold,
        window_minutes=wanted.window_minutes,
        webhook=wanted.webhook,
        sns_topic=wanted.sns_topic,
        enabled=wanted.enabled,
        created_at=at,
        updated_at=at,
    )


def changed(alert: Alert, change: AlertChange, at: str) -> Alert:
    return msgspec.structs.replace(alert, updated_at=at, **{name: getattr(change, name) for name in fields_of(change)})


def fields_of(change: AlertChange) -> tuple[str, ...]:
    """The names of what a change gives."""
    return tuple(name for name in AlertChange.__struct_fields__ if getattr(change, name) is not UNSET)


def view(alert: Alert, state: AlertState) -> AlertView:
    return AlertView(
        id=alert.alert_id,
        name=alert.name,
        metric=alert.metric,
        threshold=alert.threshold,
        window_minutes=alert.window_minutes,
        webhook=alert.webhook,
        sns_topic=alert.sns_topic,
        enabled=alert.enabled,
        is_raised=state.is_raised,
        since=iso(state.since) if state.since else None,
        created_at=alert.created_at,
        updated_at=alert.updated_at,
    )


def judged(alert: Alert, state: AlertState, measured: Measured, now: float) -> AlertState:
    """The state after a measurement. What is not known changes nothing; a recovery that nobody was alarmed of is told
    to nobody.
    """
    value, is_wrong = _measured(alert, measured)
    if is_wrong is None or is_wrong == state.is_raised:
        late = state.is_to_be_told and now - state.since > TOLD_WITHIN_S
        return msgspec.structs.replace(state, is_given_up=True) if late else state
    if is_wrong:
        return AlertState(True, state.incident + 1, now, is_told=False, value=value)
    return AlertState(False, state.incident, now, is_told=not state.is_told, value=value)


def notice(alert: Alert, destination_name: str, state: AlertState) -> Notice:
    """What is to be told of the state's last change."""
    kind: Literal["alert.raised", "alert.recovered"] = "alert.raised" if state.is_raised else "alert.recovered"
    return Notice(
        id=f"{alert.alert_id}#{state.incident}#{kind.removeprefix('alert.')}",
        type=kind,
        workspace=alert.workspace_id,
        destination=alert.destination_id,
        destination_name=destination_name,
        alert=alert.alert_id,
        name=alert.name,
        metric=alert.metric,
        threshold=alert.threshold,
        value=state.value,
        at=iso(state.since),
    )


def _measured(alert: Alert, measured: Measured) -> tuple[float | None, bool | None]:
    """(what is told of it, whether it is wrong), None where that is not known."""
    limit = alert.threshold or 0.0
    if alert.metric == "gate":
        return None, measured.is_gate_closed
    if alert.metric == "oldest_age_s":
        return measured.oldest_age_s, measured.oldest_age_s > limit
    share = measured.delivered_share
    return share, None if share is None else share < limit
