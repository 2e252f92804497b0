"""The tracking API: a Chalice app behind an HTTP API, for every Segment library as it is."""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Callable
from typing import Any, cast

from chalice.app import Chalice, Request, Response

from penstock.domain.http_event import rest_event
from penstock.errors import Invalid, Refused, Unavailable
from penstock.steps.collect import Call, Outcome, collect, owner_of
from penstock.wiring.collect import ports

LONG_NAMES = {name: name for name in ("identify", "track", "page", "screen", "group", "alias")}
SHORT_NAMES = {name[0]: name for name in LONG_NAMES}
TYPES = LONG_NAMES | SHORT_NAMES
GIF = base64.b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")
JSON: dict[str, str | list[str]] = {"Content-Type": "application/json"}
RETRY_AFTER_S = "5"

app = Chalice(app_name="collect", configure_logs=False, env={})
app.api.binary_types = []


def _call(type_: str | None, bulk: bool = False) -> Callable[[], Response]:
    """The view of one POST route: one event of a type, or a batch where that is None."""

    def view() -> Response:
        call = Call(cast(bytes, _request().raw_body), type_, _write_key(), _ip(), bulk)
        return _answered(lambda: _collected(call))

    return view


for _name, _type in TYPES.items():
    app.route(f"/v1/{_name}", methods=["POST"], content_types=[], name=f"call_{_name}")(_call(_type))
for _name in ("batch", "b"):
    app.route(f"/v1/{_name}", methods=["POST"], content_types=[], name=f"call_{_name}")(_call(None))
app.route("/v1/import", methods=["POST"], content_types=[], name="call_import")(_call(None, bulk=True))


@app.route("/v1/m", methods=["POST"], content_types=[])
def metrics() -> Response:
    """What analytics.js measures of itself: taken and dropped."""
    return Response('{"success":true}', JSON, 200)


@app.route("/v1/pixel/{kind}", methods=["GET"])
def pixel(kind: str) -> Response:
    """One event as base64 JSON in `data`, for places where only an image can be asked for."""
    return _answered(lambda: _pictured(kind))


@app.route("/v1/projects/{write_key}/settings", methods=["GET"])
def settings(write_key: str) -> Response:
    """What analytics.js asks before it sends anything: where to send, and nothing else to load."""
    return _answered(lambda: _settings(write_key))


def handler(event: dict[str, Any], context: object) -> dict[str, Any]:
    """Answers one payload-2.0 event of the HTTP API, and logs one line about it."""
    request = rest_event(event)
    answer: dict[str, Any] = app(request, context)
    if isinstance(answer["body"], bytes):  # the pixel: Chalice would encode it only for who asks for an image by name
        answer |= {"body": base64.b64encode(answer["body"]).decode(), "isBase64Encoded": True}
    noted = request["requestContext"].get("noted", {})
    line = {"message": "request", "route": event["routeKey"], "status": answer["statusCode"], **noted}
    print(json.dumps(line), file=sys.stderr)  # noqa: T201 - one line of log, without the 75 ms of a logging library
    return answer


def _request() -> Request:
    return cast(Request, app.current_request)


def _collected(call: Call) -> Response:
    outcome = collect(call, ports())
    _note(outcome)
    return Response(outcome.body.decode(), JSON, outcome.status)


def _pictured(kind: str) -> Response:
    if kind not in TYPES:
        raise Invalid("unknown_type", f"there is no call {kind}", "type")
    outcome = collect(Call(_pixel_data(), TYPES[kind], _write_key(), _ip()), ports())
    _note(outcome)
    if outcome.status != 200:
        return Response(outcome.body.decode(), JSON, outcome.status)
    return Response(GIF, {"Content-Type": "image/gif", "Cache-Control": "no-store"}, 200)


def _settings(write_key: str) -> Response:
    owner_of(write_key, ports().write_keys)
    host, protocol = _address()
    segment = {"apiKey": write_key, "apiHost": f"{host}/v1", "protocol": protocol}
    plan = {"track": {"__default": {"enabled": True, "integrations": {}}}, "identify": {}, "group": {}}
    body = {"integrations": {"Segment.io": segment}, "plan": plan, "edgeFunction": {}}
    return Response(json.dumps(body), JSON | {"Cache-Control": "no-cache"}, 200)


def _answered(act: Callable[[], Response]) -> Response:
    try:
        return act()
    except Refused as refused:
        body = {"success": False, "code": refused.code, "message": refused.message, "field": refused.field}
        if refused.status in (400, 413):
            body["rejected"] = []
        _request().context["noted"] = {"code": refused.code}
        return Response(json.dumps(body), JSON, refused.status)
    except Unavailable as error:
        _request().context["noted"] = {"code": "unavailable", "reason": str(error)}
        body = {"success": False, "code": "unavailable", "message": "nothing is acknowledged: send it again"}
        return Response(json.dumps(body), JSON | {"Retry-After": RETRY_AFTER_S}, 503)


def _note(outcome: Outcome) -> None:
    codes = {code: outcome.rejected.count(code) for code in outcome.rejected}
    _request().context["noted"] = {
        "source": outcome.source,
        "accepted": outcome.accepted,
        "rejected": codes,
    }


def _write_key() -> str | None:
    """The key from HTTP Basic, else from the query; None leaves it to the body."""
    request = _request()
    kind, _, encoded = request.headers.get("authorization", "").partition(" ")
    if kind.lower() == "basic":
        try:
            user = base64.b64decode(encoded, validate=True).decode().partition(":")[0]
        except ValueError:  # no base64, no ASCII, or no UTF-8 in it
            user = ""
        if user:
            return user
    return request.query_params.get("writeKey") if request.query_params else None


def _pixel_data() -> bytes:
    request = _request()
    data = request.query_params.get("data") if request.query_params else None
    if not data:
        raise Invalid("empty_body", "the event is missing: base64 JSON in `data`", "data")
    text = data.replace(" ", "+").replace("-", "+").replace("_", "/").rstrip("=")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except ValueError:
        raise Invalid("invalid_encoding", "`data` is no base64", "data") from None


def _ip() -> str | None:
    address: str | None = _request().context["identity"]["sourceIp"]
    return address


def _address() -> tuple[str, str]:
    """(host, protocol) under which the client reached us."""
    headers = _request().headers
    host = headers.get("x-forwarded-host") or headers.get("host") or ""
    return host, headers.get("x-forwarded-proto", "https").partition(",")[0]
