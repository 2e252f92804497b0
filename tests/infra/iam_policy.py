"""The rights of every function, read from the synthesized templates with all references resolved."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.infra.iam_calls import ACCOUNT, REGION, Call, arn

Template = Mapping[str, Any]
PSEUDO = {
    "AWS::Region": REGION,
    "AWS::AccountId": ACCOUNT,
    "AWS::Partition": "aws",
    "AWS::URLSuffix": "amazonaws.com",
}
NAMED = {
    "AWS::DynamoDB::Table": ("TableName", "dynamodb", "table/{}"),
    "AWS::DynamoDB::GlobalTable": ("TableName", "dynamodb", "table/{}"),
    "AWS::Kinesis::Stream": ("Name", "kinesis", "stream/{}"),
    "AWS::Lambda::Function": ("FunctionName", "lambda", "function:{}"),
    "AWS::Logs::LogGroup": ("LogGroupName", "logs", "log-group:{}:*"),
    "AWS::SQS::Queue": ("QueueName", "sqs", "{}"),
    "AWS::IAM::Role": ("RoleName", "iam", "role/{}"),
    "AWS::KMS::Key": ("-", "kms", "key/{}"),
    "AWS::SecretsManager::Secret": ("Name", "secretsmanager", "secret:{}"),
}


@dataclass(frozen=True, order=True)
class Right:
    """One action on one resource pattern that a function's role allows."""

    function: str
    action: str
    resource: str

    def covers(self, call: Call) -> bool:
        return (
            self.function == call.function
            and self.action.lower() == call.action.lower()
            and (call.resource == "*" == self.resource or fnmatch.fnmatchcase(call.resource, self.resource))
        )


@dataclass
class Rights:
    """`physical` replaces an ARN by its resource type, where a test's cloud chose it (keys, secrets)."""

    templates: Mapping[str, Template]
    physical: Mapping[str, str] = field(default_factory=dict)

    def all(self) -> set[Right]:
        return {right for stack, template in self.templates.items() for right in self._of_stack(stack, template)}

    def environment_of(self, function: str) -> dict[str, str]:
        """The variables that the deploy gives a function, resolved."""
        for stack, template in self.templates.items():
            for resource in template["Resources"].values():
                properties = resource.get("Properties", {})
                if resource["Type"] == "AWS::Lambda::Function" and properties.get("FunctionName", "").endswith(
                    f"-{function}"
                ):
                    variables = properties.get("Environment", {}).get("Variables", {})
                    return {name: self._text(stack, value) for name, value in variables.items()}
        raise LookupError(f"no function {function} in the templates")

    def _of_stack(self, stack: str, template: Template) -> Iterator[Right]:
        functions = self._functions_by_role(stack, template)
        for logical, resource in template["Resources"].items():
            properties = resource.get("Properties", {})
            if resource["Type"] == "AWS::IAM::Role" and logical in functions:
                assert not properties.get("ManagedPolicyArns"), f"{logical} has rights that no test can read"
                for policy in properties.get("Policies", []):
                    yield from self._rights(stack, functions[logical], policy["PolicyDocument"])
            if resource["Type"] == "AWS::IAM::Policy":
                for role in properties["Roles"]:
                    if role.get("Ref") in functions:
                        yield from self._rights(stack, functions[role["Ref"]], properties["PolicyDocument"])

    def _functions_by_role(self, stack: str, template: Template) -> dict[str, str]:
        found = {}
        for resource in template["Resources"].values():
            if resource["Type"] == "AWS::Lambda::Function":
                role, _ = resource["Properties"]["Role"]["Fn::GetAtt"]
                assert role in template["Resources"], f"a role of {stack} lives in another stack"
                found[role] = resource["Properties"]["FunctionName"].rsplit("-", 1)[-1]
        return found

    def _rights(self, stack: str, function: str, document: Mapping[str, Any]) -> Iterator[Right]:
        for statement in document["Statement"]:
            assert statement["Effect"] == "Allow", "a Deny would need its own reading"
            for action in listed(statement["Action"]):
                for resource in listed(statement["Resource"]):
                    yield Right(function, action, self._text(stack, resource))

    def _text(self, stack: str, value: Any) -> str:
        """A template's value as text: literals, references, joins, substitutions and imports."""
        if isinstance(value, str):
            return value
        (intrinsic, argument), *_ = value.items()
        if intrinsic == "Ref":
            return PSEUDO.get(argument) or self._named(stack, argument, reference=True)
        if intrinsic == "Fn::GetAtt":
            return self._named(stack, argument[0], reference=False)
        if intrinsic == "Fn::Join":
            return argument[0].join(self._text(stack, part) for part in argument[1])
        if intrinsic == "Fn::ImportValue":
            return self._exported(self._text(stack, argument))
        raise AssertionError(f"{intrinsic} in a policy or environment is not read by this test")

    def _exported(self, name: str) -> str:
        for stack, template in self.templates.items():
            for output in template.get("Outputs", {}).values():
                if self._text(stack, output.get("Export", {}).get("Name", "")) == name:
                    return self._text(stack, output["Value"])
        raise LookupError(f"nothing exports {name}")

    def _named(self, stack: str, logical: str, *, reference: bool) -> str:
        resource = self.templates[stack]["Resources"][logical]
        kind, properties = resource["Type"], resource.get("Properties", {})
        if kind == "AWS::S3::Bucket":
            name = self.physical.get(kind, f"bucket-{logical.lower()}")
            return name if reference else f"arn:aws:s3:::{name}"
        key, service, shape = NAMED[kind]
        name = self._text(stack, properties.get(key, logical))
        if kind in self.physical:
            return self.physical[kind]
        return name if reference and service != "secretsmanager" else arn(service, shape.format(name))


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
