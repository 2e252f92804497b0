"""`python -m benchmarks.schema_import ENDPOINT`: an import that goes on until it is ended, on the store at ENDPOINT."""

from __future__ import annotations

import itertools
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

from benchmarks.schema_query import CHANGES, PLACES, SCHEMAS, client
from benchmarks.schema_stream import NoPlans, batches, records
from penstock.adapters.change_feed import FeedPublisher
from penstock.adapters.parked_records import ParkedRecords
from penstock.adapters.place_table import PlaceTable
from penstock.adapters.schema_table import SchemaTable
from penstock.domain.schema_event import EventKey
from penstock.steps.publish_schema import Ports as PublishPorts
from penstock.steps.publish_schema import publish_schema
from penstock.steps.track_schema import Memory, Ports, track_schema

SHARD = "shardId-000000000001"


class Variant:
    def get(self, of_source: str) -> Literal["variant"]:  # noqa: ARG002
        return "variant"


class Noting(PlaceTable):
    """Tells which events there is something to publish of."""

    owners: set[str]

    def note(self, key: EventKey, facts: object) -> None:
        super().note(key, facts)  # type: ignore[arg-type]
        self.owners.add(key.owner)


def main() -> None:
    dynamodb = client(sys.argv[1])
    with ThreadPoolExecutor(4) as events, ThreadPoolExecutor(8) as paths:
        places = Noting(dynamodb, PLACES, paths)
        places.owners = set()
        schemas = SchemaTable(dynamodb, SCHEMAS)
        ports = Ports(schemas, places, ParkedRecords(dynamodb, "none"), NoPlans(), Memory(), events)
        publishing = PublishPorts(places, FeedPublisher(dynamodb, CHANGES, PLACES), schemas, Variant(), lambda _: None)
        for turn in itertools.count():
            for batch in batches(records(20_000, source=f"src_import{turn:06d}")):
                track_schema(SHARD, batch, ports)
                for owner in sorted(places.owners):
                    publish_schema(owner, publishing)
                places.owners.clear()
                print("imported", len(batch), flush=True)


if __name__ == "__main__":
    main()
