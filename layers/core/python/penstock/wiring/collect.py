"""What `collect` works with: its own small client for Kinesis and DynamoDB."""

from __future__ import annotations

import os
from binascii import hexlify
from functools import cache

from penstock import settings
from penstock.adapters.aws_wire import AwsWire, WireFailed, utc_now
from penstock.adapters.event_stream import KinesisStream
from penstock.adapters.write_keys import WriteKeyTable
from penstock.domain.sigv4 import Signer
from penstock.settings import Settings
from penstock.steps.collect import Ports
from penstock.steps.look_up import LookUp


@cache
def ports() -> Ports:
    given = settings.from_environment()
    failures = (WireFailed,)
    table = WriteKeyTable(_wire(given, "dynamodb"), given.config_table, failures)
    kinesis = _wire(given, "kinesis")
    return Ports(
        write_keys=LookUp(table.find, given.cache_fresh_s, given.cache_stale_s),
        stream=KinesisStream(kinesis, given.stream_arn, failures),
        bulk=KinesisStream(kinesis, given.bulk_stream_arn, failures),
        now=utc_now,
        new_id=new_id,
        settles_s=given.settles_s,
    )


def new_id() -> str:
    """A message id for an event that has none: 128 bits of chance, in the shape of a UUID."""
    digits = hexlify(os.urandom(16)).decode()
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"


def _wire(given: Settings, service: str) -> AwsWire:
    signer = Signer(given.access_key, given.secret_key, given.session_token, given.region, service)
    return AwsWire(given.endpoint_of(service), signer)
