"""Keep destinations: each with its own queue and the event source mapping that empties it.

What AWS holds for a destination is made before the destination is seen and taken down after it is gone. Meanwhile an
`Unfinished` item stands for it, so that nothing is forgotten: what a crash leaves of one that was never seen is taken
down by the next change of a destination in that workspace. One that is deleted the gatekeeper buries (`keep_burials`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import msgspec
from msgspec import UNSET

from penstock.domain import audit, destinations, signature, webhook_settings
from penstock.domain.config import Change, Create, Remove, Require, Step
from penstock.domain.destinations import Destination, DestinationChange, NewDestination, Unfinished
from penstock.domain.paging import Window
from penstock.domain.sources import Source
from penstock.domain.tokens import Caller
from penstock.domain.webhook_settings import NewSecret, Plain, Rotation, Secrets
from penstock.errors import Invalid, NotFound, QueueUnavailable, Unavailable
from penstock.steps import take_down
from penstock.steps.keep_alerts import forget_alerts
from penstock.steps.record import Ledger, settled
from penstock.steps.watch_gate import Chore, Chores

ABANDONED_AFTER_S = 120.0  # longer than any request can take
SWEPT_AT_ONCE = 3
LOOKED_AT = 100  # that are unfinished; most of them are being buried


class Cipher(Protocol):
    """Encrypts secrets; what was encrypted for one context opens in no other. Raises `StoreUnavailable`."""

    def encrypt(self, data: bytes, context: Mapping[str, str]) -> bytes: ...

    def decrypt(self, data: bytes, context: Mapping[str, str]) -> bytes: ...


class Queues(take_down.Queues, Protocol):
    """What is there already is no error."""

    def create(self, workspace_id: str, destination_id: str) -> str:
        """The queue's URL."""


class Mappings(take_down.Mappings, Protocol):
    """What is there already is no error."""

    def create(self, workspace_id: str, destination_id: str) -> str:
        """The mapping's id."""


class Burials(Protocol):
    def begin(self, workspace_id: str, destination_id: str) -> None:
        """From now on the gatekeeper looks whether the destination is gone. Raises `StoreUnavailable`."""


@dataclass(frozen=True)
class Works:
    """All that making a destination takes."""

    ledger: Ledger
    cipher: Cipher
    queues: Queues
    mappings: Mappings
    gates: take_down.Gates
    burials: Burials
    chores: Chores
    allow_loopback: bool


def create_destination(works: Works, caller: Caller, wanted: NewDestination) -> Destination:
    """Raises `Invalid`, or `Unavailable` with nothing made that anybody sees."""
    webhook_settings.check(wanted.settings, works.allow_loopback)
    destinations.checked_subscription(wanted.subscription)
    sweep(works, caller.workspace_id)
    destination_id, at = works.ledger.new_id("dst_"), works.ledger.now()
    item = Destination(
        workspace_id=caller.workspace_id,
        id=destination_id,
        name=wanted.name,
        type=wanted.type,
        source_ids=destinations.unique(wanted.source_ids),
        enabled=wanted.enabled,
        subscription=wanted.subscription,
        schema_changes=wanted.schema_changes,
        delivery=wanted.delivery,
        **_kept(works, caller.workspace_id, destination_id, *webhook_settings.split(wanted.settings))._asdict(),
        queue_url="",
        mapping_id="",
        created_at=at,
        updated_at=at,
    )
    return _made(works, caller, item)


def _made(works: Works, caller: Caller, item: Destination) -> Destination:
    """The destination with its queue and mapping. What a commit of unknown outcome leaves, the sweep sees."""
    begun = _unfinished(works, item)
    required = _required(item, item.source_ids)
    _refuse_unknown(item.source_ids, works.ledger.store.commit([Create(begun), *required], None))
    made = _equipped(works, item, begun)
    if works.ledger.commit(caller, "destination.created", made, [Create(made), Remove(begun)]):
        raise QueueUnavailable("the destination took too long to make")
    return made


def _equipped(works: Works, item: Destination, begun: Unfinished) -> Destination:
    try:
        return msgspec.structs.replace(
            item,
            queue_url=works.queues.create(item.workspace_id, item.id),
            mapping_id=works.mappings.create(item.workspace_id, item.id),
        )
    except Unavailable:
        with contextlib.suppress(Unavailable):
            take_down.take_down(begun, works)
        raise


def change_destination(works: Works, caller: Caller, destination_id: str, change: DestinationChange) -> Destination:
    def attempt() -> Destination | None:
        before = works.ledger.get(Destination, caller.workspace_id, destination_id)
        after = destinations.changed(before, change, works.ledger.now())
        if change.settings is not UNSET:
            known = _opened(works, before)
            settings = webhook_settings.changed(webhook_settings.joined(before.settings, known), change.settings)
            webhook_settings.check(settings, works.allow_loopback)
            plain, secrets = webhook_settings.split(settings)
            after = _holding(works, after, plain, webhook_settings.followed(secrets, known))
        added = [source_id for source_id in after.source_ids if source_id not in before.source_ids]
        steps = [Change(before, after), *_required(after, added)]
        clashes = works.ledger.commit(caller, "destination.changed", before, steps, destinations.fields_of(change))
        _refuse_unknown(after.source_ids, clashes)
        return None if clashes else after

    return settled(attempt)


def rotate_signing_secret(works: Works, caller: Caller, destination_id: str, rotation: Rotation) -> NewSecret:
    """A new signing secret, its first or one beside which the one before it is valid for a while."""

    def attempt() -> Secrets | None:
        before, now = works.ledger.get(Destination, caller.workspace_id, destination_id), works.ledger.clock()
        new = signature.made_of(works.ledger.chance(signature.NEW_KEY_LENGTH))
        secrets = webhook_settings.rotated(_opened(works, before), new, now, rotation.overlap_s)
        after = msgspec.structs.replace(before, updated_at=audit.iso(now))
        steps = [Change(before, _holding(works, after, before.settings, secrets))]
        fields = ("settings.signing_secret",)
        clashes = works.ledger.commit(caller, "destination.secret_rotated", before, steps, fields)
        return None if clashes else secrets

    return webhook_settings.shown_once(settled(attempt))


def delete_destination(works: Works, caller: Caller, destination_id: str) -> None:
    """It is gone for everybody at once; what waits for it the gatekeeper buries, and only then takes its queue down.

    Raises `Unavailable` where it may be there still: delete it again.
    """

    def attempt() -> Unfinished | None:
        store = works.ledger.store
        item = store.find(Destination, caller.workspace_id, destination_id)
        if item is None:
            return store.find(Unfinished, caller.workspace_id, destination_id) or _absent()
        works.burials.begin(caller.workspace_id, destination_id)
        ending = msgspec.structs.replace(_unfinished(works, item), is_deleted=True)
        clashes = works.ledger.commit(caller, "destination.deleted", item, [Remove(item), Create(ending)])
        return None if clashes else ending

    ending = settled(attempt)
    if ending.is_deleted:
        _hand_over(works, ending)
    else:
        take_down.take_down(ending, works)
    sweep(works, caller.workspace_id)


def _hand_over(works: Works, ending: Unfinished) -> None:
    """Whatever of it does not work now the gatekeeper does; deliver gives back what it gets until then."""
    with contextlib.suppress(Unavailable):
        works.chores.send([Chore(ending.workspace_id, ending.id)])
    with contextlib.suppress(Unavailable):
        take_down.unmap(ending, works.mappings)
    with contextlib.suppress(Unavailable):
        forget_alerts(works.ledger, ending.workspace_id, ending.id)


def sweep(works: Works, workspace_id: str) -> None:
    """Take down what crashes have left in a workspace, a few at a time; what does not work now will later.

    Nothing waits for what was never seen. What was deleted is the gatekeeper's.
    """
    before = works.ledger.clock() - ABANDONED_AFTER_S
    with contextlib.suppress(Unavailable):
        found = works.ledger.store.page(Unfinished, workspace_id, Window(LOOKED_AT))
        for item in [each for each in found if not each.is_deleted and each.started_at < before][:SWEPT_AT_ONCE]:
            take_down.take_down(item, works)


def _absent() -> Unfinished:
    raise NotFound("destination_not_found", "this workspace has no such destination")


def _unfinished(works: Works, item: Destination) -> Unfinished:
    return Unfinished(
        workspace_id=item.workspace_id,
        id=item.id,
        mapping_id=item.mapping_id or None,
        started_at=int(works.ledger.clock()),
    )


def _required(item: Destination, source_ids: Iterable[str]) -> list[Step]:
    return [Require(Source, item.workspace_id, source_id) for source_id in source_ids]


def _refuse_unknown(source_ids: Sequence[str], clashes: Sequence[Step]) -> None:
    for clash in clashes:
        if isinstance(clash, Require):
            field = f"source_ids.{source_ids.index(clash.id)}"
            raise Invalid("unknown_source", f"this workspace has no source {clash.id}", field)


def _context(workspace_id: str, destination_id: str) -> dict[str, str]:
    return {"workspace": workspace_id, "destination": destination_id}


class _Kept(NamedTuple):
    """The settings as they are stored: what is plain, which secrets there are, and these encrypted."""

    settings: Plain
    secret_names: tuple[str, ...]
    secrets: bytes | None


def _holding(works: Works, item: Destination, plain: Plain, secrets: Secrets) -> Destination:
    return msgspec.structs.replace(item, **_kept(works, item.workspace_id, item.id, plain, secrets)._asdict())


def _kept(works: Works, workspace_id: str, destination_id: str, plain: Plain, secrets: Secrets) -> _Kept:
    context = _context(workspace_id, destination_id)
    sealed = works.cipher.encrypt(webhook_settings.packed(secrets), context) if secrets else None
    return _Kept(plain, webhook_settings.names(secrets), sealed)


def _opened(works: Works, item: Destination) -> Secrets:
    if item.secrets is None:
        return Secrets()
    return webhook_settings.unpacked(works.cipher.decrypt(item.secrets, _context(item.workspace_id, item.id)))
