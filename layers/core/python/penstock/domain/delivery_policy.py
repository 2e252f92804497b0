"""How a destination wants to be delivered to: its own verdicts, how long an event is tried, how fast it takes them."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from penstock.domain.names import END

LONGEST_S = 13 * 86_400  # a day before SQS would forget a job
THROTTLED_S = (
    86_400  # unless a destination says otherwise: what answers 429 is alive, and takes its backlog at its pace
)

Answered = Annotated[str, Meta(pattern=r"^([1-5][0-9][0-9]|[1-5]xx|timeout|connection|tls|dns)" + END)]
OwnVerdict = Literal["done", "retry", "discard", "credentials"]
Verdicts = Annotated[
    dict[Answered, OwnVerdict],
    Meta(
        max_length=50,
        description="Verdicts of its own by status (404), class of them (5xx) or trouble (timeout); the status first",
        examples=[{"404": "retry", "409": "done"}],
    ),
]
MaxAge = Annotated[
    int,
    Meta(ge=60, le=LONGEST_S, description="Seconds for which a failing event is tried before it becomes a dead letter"),
]
ThrottledMaxAge = Annotated[
    int,
    Meta(
        ge=60,
        le=LONGEST_S,
        description="The same for an event that is answered 429; null is a day, or max_age_s where that is longer",
    ),
]
PerSecond = Annotated[float, Meta(ge=0.01, le=10_000, description="Requests a second at most, over all of the hub")]
AtOnce = Annotated[int, Meta(ge=1, le=100, description="Requests at the same time at most, over all of the hub")]


class DeliveryPolicy(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What differs from the hub's own way; null is no limit of requests."""

    verdicts: Verdicts = {}
    max_age_s: MaxAge = 14_400
    throttled_max_age_s: ThrottledMaxAge | None = None
    requests_per_s: PerSecond | None = None
    concurrency: AtOnce | None = None

    def age_s(self, is_throttled: bool) -> int:
        """Seconds for which a failing event is tried, by whether its last answer was a 429."""
        if not is_throttled:
            return self.max_age_s
        return self.throttled_max_age_s or max(self.max_age_s, THROTTLED_S)


class DeliveryPolicyChange(Struct, frozen=True, forbid_unknown_fields=True):
    """What of a policy changes; what is absent stays. `verdicts` are replaced as a whole."""

    verdicts: Verdicts | UnsetType = UNSET
    max_age_s: MaxAge | UnsetType = UNSET
    throttled_max_age_s: ThrottledMaxAge | UnsetType | None = UNSET
    requests_per_s: PerSecond | UnsetType | None = UNSET
    concurrency: AtOnce | UnsetType | None = UNSET


STANDARD = DeliveryPolicy()


class DeliveryPolicyView(Struct, frozen=True):
    """A policy with every field, those that were left to the hub included."""

    verdicts: dict[str, str]
    max_age_s: int
    throttled_max_age_s: int
    requests_per_s: float | None
    concurrency: int | None


def changed(policy: DeliveryPolicy, change: DeliveryPolicyChange) -> DeliveryPolicy:
    given = {name: value for name, value in msgspec.structs.asdict(change).items() if value is not UNSET}
    return msgspec.structs.replace(policy, **given)


def view(policy: DeliveryPolicy) -> DeliveryPolicyView:
    ages = (policy.age_s(is_throttled=False), policy.age_s(is_throttled=True))
    return DeliveryPolicyView(dict(policy.verdicts), *ages, policy.requests_per_s, policy.concurrency)
