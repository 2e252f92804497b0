"""The swift way in: a request in which every event is whole enters the stream as the bytes that the client sent.

What a Segment library sends has its type, ids, messageId and timestamp, each of its right type. Then two passes over
the bytes do it: one that found where each event begins and ends, one that checks the headers. Where a single event is
not like that, all of the request goes the careful way (`event.admit`), which comes to the same for the others.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from penstock.domain import scan
from penstock.domain.event import LARGEST_EVENT, LONGEST_MESSAGE_ID, Headers

Gathered = dict[str, list[Raw]]


class _Whole(Headers, rename="camel", gc=False, kw_only=True):
    """The headers of an event to which nothing has to be added and from which nothing has to be taken."""

    type: Literal["identify", "track", "page", "screen", "group", "alias"]
    message_id: Annotated[str, Meta(min_length=1, max_length=LONGEST_MESSAGE_ID)]
    timestamp: datetime
    write_key: UnsetType = UNSET


class _Batch(Struct):
    batch: list[_Whole]


_decode_batch = msgspec.json.Decoder(_Batch).decode
_decode_one = msgspec.json.Decoder(_Whole).decode
_view: Callable[[Raw], memoryview] = memoryview
SURELY_FLAT = 2 * scan.DEEPEST + 1  # bytes; each level takes two
_SELF_CONTAINED = frozenset({"identify", "page", "screen"})


def gather(body: bytes, events: Sequence[Raw], type_: str | None, room: int) -> Gathered | None:
    """The events by ordering key, in order of first appearance; None where one of them needs a closer look.

    `body` is a batch that holds `events`, or one event of the type `type_`; each may have `room` bytes.
    """
    if not events or scan.is_perhaps_endless(body) or not _are_small_and_flat(events, min(room, LARGEST_EVENT)):
        return None
    try:
        heads = _decode_batch(body).batch if type_ is None else [_decode_one(body)]
    except (msgspec.MsgspecError, RecursionError):
        return None
    if type_ is not None and heads[0].type != type_:
        return None
    return _by_key(heads, events)


def _are_small_and_flat(events: Sequence[Raw], room: int) -> bool:
    """Whether each fits, and none has brackets enough to nest too deep."""
    sizes = list(map(len, map(_view, events)))
    longest = max(sizes)
    if longest > room:
        return False
    if longest <= SURELY_FLAT:
        return True
    large = [event for event, size in zip(events, sizes, strict=True) if size > SURELY_FLAT]
    return not any(map(scan.is_perhaps_deep, map(bytes, large)))


def _by_key(heads: Sequence[_Whole], events: Sequence[Raw]) -> Gathered | None:
    found: Gathered = defaultdict(list)
    for head, event in zip(heads, events, strict=True):
        key = head.anonymous_id or head.user_id
        named = head.type == "track" and head.event
        if not key or not (named or head.type in _SELF_CONTAINED or _has_what_it_needs(head)):
            return None
        found[key].append(event)
    return found


def _has_what_it_needs(head: _Whole) -> bool:
    needed = {"track": head.event, "group": head.group_id, "alias": head.previous_id}
    return bool(needed[head.type])
