"""The control API from the outside: its real handler and wiring, on moto."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from functions.control.handler import handler
from tests.control_api import OPERATOR_TOKEN, Context, Tenant, call, control_cloud, event, make_deliver, tenant, webhook


@pytest.fixture(scope="module")
def cloud() -> Iterator[Callable[[str], Any]]:
    with control_cloud() as client:
        yield client


@pytest.fixture
def acme(cloud: Callable[[str], Any]) -> Tenant:
    return tenant()


def item(cloud: Callable[[str], Any], workspace_id: str, sk: str) -> dict[str, Any] | None:
    key = {"workspace_id": {"S": workspace_id}, "sk": {"S": sk}}
    return cloud("dynamodb").get_item(TableName="penstock-test-config", Key=key).get("Item")


def test_a_second_customer_is_one_call(cloud: Callable[[str], Any]) -> None:
    one, two = tenant("One"), tenant("Two")
    assert one.source()["id"] != two.source()["id"]
    listed = call("GET", "/control/workspaces", token=OPERATOR_TOKEN, limit=100).body["workspaces"]
    assert {one.id, two.id} <= {workspace["id"] for workspace in listed}
    assert call("GET", f"/control/workspaces/{one.id}", token=OPERATOR_TOKEN).body["name"] == "One"
    assert call("GET", "/control/workspaces/ws_000000000000", token=OPERATOR_TOKEN).status == 404


def test_a_workspace_that_lost_its_tokens_gets_one_from_the_operator(acme: Tenant) -> None:
    own = acme.call("GET", "/control/tokens").body["tokens"][0]["id"]
    assert acme.call("DELETE", f"/control/tokens/{own}").status == 204
    assert acme.call("GET", "/control/sources").status == 401
    path = f"/control/workspaces/{acme.id}/tokens"
    issued = call("POST", path, {"name": "New", "scopes": ["*"]}, OPERATOR_TOKEN)
    assert issued.status == 201
    assert Tenant(acme.id, issued.body["token"]).call("GET", "/control/sources").status == 200
    unknown = call("POST", "/control/workspaces/ws_000000000000/tokens", {"name": "x", "scopes": ["*"]}, OPERATOR_TOKEN)
    assert unknown.status == 404


def test_the_operator_sees_no_tenants_data_and_no_tenant_the_operators(acme: Tenant) -> None:
    assert call("GET", "/control/sources", token=OPERATOR_TOKEN).status == 403
    assert acme.call("POST", "/control/workspaces", {"name": "Mine"}).status == 403
    assert acme.call("GET", "/control/workspaces").status == 403


def test_a_source_needs_only_a_name_and_comes_with_a_write_key(acme: Tenant) -> None:
    made = acme.source("Web")
    (key,) = made["write_keys"]
    assert set(key) == {"key", "enabled", "created_at"} and key["enabled"] is True
    assert key["key"].startswith(acme.id.removeprefix("ws_"))
    assert acme.call("GET", f"/control/sources/{made['id']}").body == made


def test_what_collect_reads_follows_the_source_at_once(acme: Tenant, cloud: Callable[[str], Any]) -> None:
    made = acme.source()
    key = made["write_keys"][0]["key"]
    path = f"/control/sources/{made['id']}"
    assert acme.call("PATCH", path, {"enabled": False}).body["enabled"] is False
    assert item(cloud, acme.id, f"write_key#{key}")["source_enabled"] == {"BOOL": False}
    added = acme.made(f"{path}/write-keys")["key"]
    assert item(cloud, acme.id, f"write_key#{added}")["source_enabled"] == {"BOOL": False}
    assert acme.call("PATCH", f"{path}/write-keys/{key}", {"enabled": False}).body["enabled"] is False
    assert item(cloud, acme.id, f"write_key#{key}")["enabled"] == {"BOOL": False}
    assert acme.call("DELETE", path).status == 204
    assert item(cloud, acme.id, f"write_key#{key}") is None and item(cloud, acme.id, f"write_key#{added}") is None


def test_a_rotated_write_key_works_on_until_it_is_deleted(acme: Tenant) -> None:
    made = acme.source()
    path, old = f"/control/sources/{made['id']}", made["write_keys"][0]["key"]
    new = acme.made(f"{path}/write-keys/{old}/rotate")["key"]
    keys = {key["key"]: key["enabled"] for key in acme.call("GET", path).body["write_keys"]}
    assert keys == {old: True, new: True}
    assert acme.call("DELETE", f"{path}/write-keys/{old}").status == 204
    assert [key["key"] for key in acme.call("GET", path).body["write_keys"]] == [new]
    assert acme.call("POST", f"{path}/write-keys/{old}/rotate").status == 404


def test_write_keys_are_bounded(acme: Tenant) -> None:
    path = f"/control/sources/{acme.source()['id']}/write-keys"
    assert [acme.call("POST", path).status for _ in range(10)] == [201] * 9 + [409]


def test_a_destination_has_its_queue_and_its_mapping_and_keeps_the_queue_for_a_while_when_it_is_deleted(
    acme: Tenant, cloud: Callable[[str], Any]
) -> None:
    made = acme.destination(source_ids=[acme.source()["id"]], subscription='type = "track"')
    queue = f"penstock-test-d-{made['id']}.fifo"
    stored = item(cloud, acme.id, f"destination#{made['id']}")
    assert stored["queue_url"]["S"] == cloud("sqs").get_queue_url(QueueName=queue)["QueueUrl"]
    mapping = cloud("lambda").get_event_source_mapping(UUID=stored["mapping_id"]["S"])
    assert mapping["EventSourceArn"].endswith(queue)
    assert acme.call("DELETE", f"/control/destinations/{made['id']}").status == 204
    arns = [found["EventSourceArn"] for found in cloud("lambda").list_event_source_mappings()["EventSourceMappings"]]
    assert not [arn for arn in arns if arn.endswith(queue)]
    assert len(cloud("sqs").list_queues(QueueNamePrefix=queue)["QueueUrls"]) == 1
    assert acme.call("GET", f"/control/destinations/{made['id']}").status == 404
    assert acme.call("PATCH", f"/control/destinations/{made['id']}", {"name": "x"}).status == 404
    assert acme.call("DELETE", f"/control/destinations/{made['id']}").status == 204
    assert item(cloud, acme.id, f"unfinished#{made['id']}")["is_deleted"]["BOOL"]


def test_secrets_are_written_and_never_read(acme: Tenant, cloud: Callable[[str], Any]) -> None:
    settings = {"url": "https://example.com", "secret": "hush-hush", "headers": {"Authorization": "Bearer abc"}}
    made = acme.destination(settings=settings)
    path = f"/control/destinations/{made['id']}"
    answers = [made, acme.call("GET", path).body, acme.call("PATCH", path, {"name": "New"}).body]
    answers.append(acme.call("GET", "/control/destinations").body)
    answers.append(acme.call("GET", "/control/audit").body)
    stored = cloud("dynamodb").scan(TableName="penstock-test-config")["Items"]
    assert not [text for text in ("hush-hush", "Bearer abc") if text in json.dumps(answers) + repr(stored)]
    assert made["settings"]["secret"] == "********" == made["settings"]["headers"]["Authorization"]
    sealed = item(cloud, acme.id, f"destination#{made['id']}")["secrets"]["B"]
    context = {"workspace": acme.id, "destination": made["id"]}
    opened = cloud("kms").decrypt(CiphertextBlob=sealed, EncryptionContext=context)["Plaintext"]
    assert json.loads(opened) == {"secret": "hush-hush", "headers": {"Authorization": "Bearer abc"}}


def test_settings_merge_at_their_top_level(acme: Tenant) -> None:
    settings = {"url": "https://example.com", "secret": "hush", "headers": {"X-A": "1", "Cookie": "c"}}
    path = f"/control/destinations/{acme.destination(settings=settings)['id']}"
    kept = acme.call("PATCH", path, {"settings": {"url": "https://other.example.com"}}).body["settings"]
    assert kept["headers"] == {"X-A": "1", "Cookie": "********"} and kept["secret"] == "********"
    masked = acme.call("PATCH", path, {"settings": {"headers": {"Cookie": "********"}}}).body["settings"]
    assert masked["headers"] == {"Cookie": "********"}
    bare = acme.call("PATCH", path, {"settings": {"headers": {}, "secret": None}}).body["settings"]
    assert bare == {"url": "https://other.example.com", "headers": {}, "secret": None, "signing_secret": None}


def test_a_signing_secret_is_shown_when_it_is_made_and_never_again(acme: Tenant) -> None:
    path = f"/control/destinations/{acme.destination()['id']}"
    first, second = acme.made(f"{path}/rotate-secret"), acme.made(f"{path}/rotate-secret", {"overlap_s": 60})
    assert first["signing_secret"].startswith("whsec_") and first["previous_until"] is None
    assert second["signing_secret"] != first["signing_secret"] and second["previous_until"]
    assert acme.call("GET", path).body["settings"]["signing_secret"] == "********"
    assert acme.call("POST", f"{path}/rotate-secret", {"overlap_s": 2_592_001}).status == 400


def test_a_subscription_is_parsed_when_it_is_saved_and_null_takes_it_away(acme: Tenant) -> None:
    refused = acme.call("POST", "/control/destinations", webhook(subscription="type ="))
    assert (refused.status, refused.error["code"], refused.error["field"]) == (
        400,
        "invalid_subscription",
        "subscription",
    )
    tracks = 'type = "track"'
    path = f"/control/destinations/{acme.destination(subscription=tracks)['id']}"
    assert acme.call("PATCH", path, {"subscription": "type ="}).status == 400
    assert acme.call("GET", path).body["subscription"] == tracks
    assert acme.call("PATCH", path, {"subscription": None}).body["subscription"] is None


def test_a_token_is_shown_once_and_only_its_hash_is_kept(acme: Tenant, cloud: Callable[[str], Any]) -> None:
    issued = acme.made("/control/tokens", {"name": "ci", "scopes": ["sources:read"]})
    assert Tenant(acme.id, issued["token"]).call("GET", "/control/sources").status == 200
    shown = acme.call("GET", f"/control/tokens/{issued['id']}")
    assert "token" not in shown.body and issued["token"] not in shown.text
    stored = item(cloud, acme.id, f"token#{issued['id']}")
    assert issued["token"] not in repr(stored) and issued["token"].rsplit(".", 1)[1] not in repr(stored)


def test_a_deleted_token_and_a_narrowed_one_are_refused_from_the_next_request_on(acme: Tenant) -> None:
    issued = acme.made("/control/tokens", {"name": "ci", "scopes": ["sources:read", "audit:read"]})
    path, holder = f"/control/tokens/{issued['id']}", Tenant(acme.id, issued["token"])
    assert acme.call("PATCH", path, {"scopes": ["audit:read"]}).body["scopes"] == ["audit:read"]
    assert (holder.call("GET", "/control/sources").status, holder.call("GET", "/control/audit").status) == (403, 200)
    assert acme.call("DELETE", path).status == 204
    assert holder.call("GET", "/control/audit").status == 401


def test_a_token_hands_out_and_touches_nothing_stronger_than_itself(acme: Tenant) -> None:
    weak = acme.made("/control/tokens", {"name": "weak", "scopes": ["tokens:write", "tokens:read"]})
    holder = Tenant(acme.id, weak["token"])
    strong = acme.made("/control/tokens", {"name": "strong", "scopes": ["*"]})["id"]
    assert holder.call("POST", "/control/tokens", {"name": "x", "scopes": ["tokens:read"]}).status == 201
    for scopes in (["*"], ["tokens:read", "sources:write"]):
        refused = holder.call("POST", "/control/tokens", {"name": "x", "scopes": scopes})
        assert (refused.status, refused.error["field"]) == (403, "scopes")
    assert holder.call("PATCH", f"/control/tokens/{weak['id']}", {"scopes": ["*"]}).status == 403
    assert holder.call("PATCH", f"/control/tokens/{strong}", {"scopes": ["tokens:read"]}).status == 403
    assert holder.call("DELETE", f"/control/tokens/{strong}").status == 403


def test_every_change_stands_in_the_audit_log_with_who_and_which(acme: Tenant) -> None:
    source = acme.source()
    destination = acme.destination()
    acme.call("PATCH", f"/control/sources/{source['id']}", {"name": "Site"})
    acme.call("DELETE", f"/control/destinations/{destination['id']}")
    log = acme.call("GET", "/control/audit").body["audit"]
    own = acme.call("GET", "/control/tokens").body["tokens"][0]["id"]
    assert [(entry["actor"], entry["action"], entry["target"]) for entry in log] == [
        (own, "destination.deleted", destination["id"]),
        (own, "source.changed", source["id"]),
        (own, "destination.created", destination["id"]),
        (own, "source.created", source["id"]),
        ("operator", "workspace.created", acme.id),
    ]
    assert log[1]["fields"] == ["name"]


def test_lists_are_paged_to_their_end_without_a_gap_or_a_repeat(acme: Tenant) -> None:
    made = {acme.source(f"Source {number}")["id"] for number in range(5)}
    for path, name, least in (("/control/sources", "sources", 5), ("/control/audit", "audit", 6)):
        seen: list[str] = []
        page = acme.call("GET", path, limit=2).body
        while True:
            seen += [thing["id"] for thing in page[name]]
            if page["next"] is None:
                break
            page = acme.call("GET", path, limit=2, next=page["next"]).body
        assert len(seen) == len(set(seen)) == least
        assert name != "sources" or set(seen) == made


def test_a_cursor_reads_no_other_workspace(acme: Tenant) -> None:
    other = tenant("Other")
    for each in (acme, other):
        each.source()
        each.source()
    cursor = other.call("GET", "/control/sources", limit=1).body["next"]
    refused = acme.call("GET", "/control/sources", next=cursor)
    assert (refused.status, refused.error["field"]) == (400, "next")


@pytest.mark.parametrize(
    ("raw", "media", "status"),
    [
        ("{", "application/json", 400),
        ('{"name": "\ud800"}', "application/json", 400),
        (b'{"name": "\xff"}', "application/json", 400),
        ("[" * 200_000, "application/json", 400),
        ('{"name": ' * 20_000, "application/json", 400),
        ('{"name": "' + "x" * 300_000 + '"}', "application/json", 413),
        ('{"name": "x"}', "text/plain", 415),
        ('{"name": "x"}', "application/json; charset=utf-8", 201),
        (None, "application/json", 400),
    ],
)
def test_a_body_that_is_none_gets_its_documented_answer(
    acme: Tenant, raw: str | bytes | None, media: str, status: int
) -> None:
    headers = {"content-type": media, "authorization": f"Bearer {acme.token}"}
    answer = handler(event("POST", "/control/sources", raw, headers), Context())
    assert answer["statusCode"] == status
    if status >= 400:
        assert set(json.loads(answer["body"])["error"]) == {"code", "message", "field"}


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nowhere", 404),
        ("GET", "/control/sources/", 404),
        ("PUT", "/control/sources", 405),
        ("GET", "/control/sources/no-id-at-all", 404),
        ("GET", "/control/sources/src_000000000000", 404),
        ("GET", "/control/sources/%2e%2e", 404),
    ],
)
def test_every_refusal_has_one_shape(acme: Tenant, method: str, path: str, status: int) -> None:
    answer = acme.call(method, path)
    assert answer.status == status and set(answer.error) == {"code", "message", "field"}
    assert answer.headers["Content-Type"] == "application/json"
    assert status != 405 or answer.headers["Allow"] == "GET, POST"


def test_no_token_and_a_wrong_one_are_told_how_to_come_in(cloud: Callable[[str], Any]) -> None:
    for token in (None, "wrong", "pt.ws_000000000000.tok_000000000000." + "0" * 40):
        answer = call("GET", "/control/sources", token=token)
        assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, "Bearer")


def test_what_cannot_be_reached_is_503_and_leaves_nothing(acme: Tenant, cloud: Callable[[str], Any]) -> None:
    queues = cloud("sqs").list_queues().get("QueueUrls", [])
    cloud("lambda").delete_function(FunctionName="penstock-test-deliver")
    try:
        answer = acme.call("POST", "/control/destinations", webhook())
    finally:
        cloud("iam").delete_role(RoleName="deliver")
        make_deliver()
    assert (answer.status, answer.error["code"], answer.headers["Retry-After"]) == (503, "unavailable", "1")
    assert acme.call("GET", "/control/destinations").body["destinations"] == []
    assert cloud("sqs").list_queues().get("QueueUrls", []) == queues
    assert acme.call("POST", "/control/destinations", webhook()).status == 201


def test_one_line_is_logged_for_a_request_without_what_was_sent(acme: Tenant, caplog: pytest.LogCaptureFixture) -> None:
    caplog.clear()
    acme.call("POST", "/control/sources", {"name": "a name that nobody logs"})
    (line,) = [record for record in caplog.records if record.name == "control"]
    assert (line.route, line.status, line.workspace) == ("POST /control/sources", 201, acme.id)
    assert "nobody logs" not in repr(line.__dict__) and acme.token not in repr(line.__dict__)
