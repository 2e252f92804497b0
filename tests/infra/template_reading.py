"""What tests ask synthesized templates."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

Templates = Mapping[str, Mapping[str, Any]]


def resources(templates: Templates, kind: str, stack: str = "") -> dict[str, dict[str, Any]]:
    """The resources of a type by their logical id; of the one stack whose name ends so, where one is given."""
    return {
        logical: resource
        for name, template in templates.items()
        if name.endswith(stack)
        for logical, resource in template["Resources"].items()
        if resource["Type"] == kind
    }


def properties(templates: Templates, kind: str, stack: str = "") -> list[dict[str, Any]]:
    return [found.get("Properties", {}) for found in resources(templates, kind, stack).values()]


def functions(templates: Templates) -> dict[str, dict[str, Any]]:
    """The properties of each Lambda by its short name."""
    found = properties(templates, "AWS::Lambda::Function")
    return {each["FunctionName"].removeprefix("penstock-dev-"): each for each in found}


def texts(value: Any) -> Iterator[str]:
    """Every text in a template's value, at whatever depth."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from (key, *texts(inner))
    elif isinstance(value, list):
        for inner in value:
            yield from texts(inner)
