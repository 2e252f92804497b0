"""Peers of the schema tracker: what infers a schema from JSON elsewhere, given the same bytes, parsing included."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("RUNTIME__DLTHUB_TELEMETRY", "false")
os.environ.setdefault("RUNTIME__LOG_LEVEL", "CRITICAL")

import dlt
from dlt.common.destination import DestinationCapabilitiesContext
from dlt.common.schema import Schema
from dlt.normalize.configuration import NormalizeConfiguration
from dlt.normalize.items_normalizers import JsonLItemsNormalizer
from genson import SchemaBuilder

from penstock.domain.schema_tree import Node
from penstock.domain.schema_walk import decoded, walk

Item = tuple[str, bytes, str, str]
"""Of one event: whose schema it adds to, its properties or traits as JSON, receivedAt and messageId."""


def with_walk(items: Sequence[Item]) -> dict[str, Node]:
    found: dict[str, Node] = {}
    for name, raw, at, message_id in items:
        node = found.get(name)
        if node is None:
            node = found[name] = Node()
        walk(node, decoded(raw), at, message_id)
    return found


def with_genson(items: Sequence[Item]) -> None:
    found: dict[str, SchemaBuilder] = {}
    for name, raw, _, _ in items:
        builder = found.get(name)
        if builder is None:
            builder = found[name] = SchemaBuilder()
        builder.add_object(json.loads(raw))


def with_dlt(items: Sequence[Item]) -> None:
    """dlt's own inference without its pipeline and its files, a hundred items of one table at a time."""
    schema, config = Schema("events"), NormalizeConfiguration()
    config.destination_capabilities = DestinationCapabilitiesContext.generic_capabilities()
    normalizer = JsonLItemsNormalizer(None, None, None, schema, "load", config)  # type: ignore[arg-type]
    tables: dict[str, list[Any]] = {}
    for name, raw, _, _ in items:
        tables.setdefault(schema.naming.normalize_table_identifier(name), []).append(json.loads(raw))
    for table, values in tables.items():
        for first in range(0, len(values), 100):
            normalizer._normalize_chunk(table, values[first : first + 100], False, True)


def with_dlt_pipeline(items: Sequence[Item]) -> None:
    """dlt as it is used: extract and normalize, into files, with nowhere to load to."""
    values = [(name, json.loads(raw)) for name, raw, _, _ in items]
    with tempfile.TemporaryDirectory() as folder:
        pipeline = dlt.pipeline(
            "bench",
            destination=dlt.destinations.filesystem(bucket_url=Path(folder, "files").as_uri()),
            dataset_name="events",
            pipelines_dir=folder,
        )
        names = sorted({name for name, _ in values})
        resources = [
            dlt.resource([value for each, value in values if each == name], name=name, primary_key=()) for name in names
        ]
        pipeline.extract(resources)
        pipeline.normalize()
