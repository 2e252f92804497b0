"""Every error that Penstock raises on purpose, as one tree.

PenstockError
├── Refused                  what a caller sent cannot be taken; carries code, message and field
│   ├── Invalid              400  a field is missing, malformed or out of its bounds
│   ├── Unauthenticated      401  no token, or one that nobody was given
│   ├── Forbidden            403  a token outside its scopes, a disabled source or write key
│   ├── NotFound             404  no such thing in this workspace
│   ├── Conflict             409  the thing's present state does not allow it
│   └── TooLarge             413  the body is over the limit
└── Unavailable              something we depend on did not answer; trying again is right
    ├── StreamUnavailable    Kinesis did not acknowledge
    ├── QueueUnavailable     SQS did not acknowledge
    ├── QueueGone            the destination's queue no longer exists
    ├── BusUnavailable       EventBridge did not take what it was given
    └── StoreUnavailable     DynamoDB, KMS or Secrets Manager did not answer
        └── StoreChanged     what was read has been changed by somebody else since: read again
"""

from __future__ import annotations


class PenstockError(Exception):
    """Root of the tree: catch this, never `Exception`."""


class Refused(PenstockError):
    """What a caller sent cannot be taken. `status` is the HTTP status that says so."""

    status = 400

    def __init__(self, code: str, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.field = field


class Invalid(Refused):
    status = 400


class Unauthenticated(Refused):
    status = 401


class Forbidden(Refused):
    status = 403


class NotFound(Refused):
    status = 404


class Conflict(Refused):
    status = 409


class TooLarge(Refused):
    status = 413


class Unavailable(PenstockError):
    """Something we depend on did not answer in time, or answered that it cannot now."""


class StreamUnavailable(Unavailable):
    pass


class QueueUnavailable(Unavailable):
    pass


class QueueGone(Unavailable):
    pass


class BusUnavailable(Unavailable):
    pass


class StoreUnavailable(Unavailable):
    pass


class StoreChanged(StoreUnavailable):
    pass
