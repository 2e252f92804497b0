"""Stands for a hub's control API towards a client: keeps what it is given, answers in the API's shapes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aiohttp import web

TOKEN = "the-token"


def failure(status: int, code: str, message: str, field: str | None = None) -> web.Response:
    return web.json_response({"error": {"code": code, "message": message, "field": field}}, status=status)


@web.middleware
async def authenticate(request: web.Request, handler: Any) -> web.StreamResponse:
    if request.headers.get("Authorization") != f"Bearer {TOKEN}":
        return failure(401, "unknown_token", "the token is unknown")
    return await handler(request)


class FakeControl:
    """One workspace; pages hold two items, so that a list of three has two pages.

    `schemas` and `changes` are those of every source. Who waits for a change waits no longer than `meanwhile` takes.
    """

    def __init__(self) -> None:
        self.items: dict[str, dict[str, dict[str, Any]]] = {"sources": {}, "destinations": {}, "tokens": {}}
        self.schemas: list[dict[str, Any]] = []
        self.changes: list[dict[str, Any]] = []
        self.gates: dict[str, dict[str, Any]] = {}
        self.healths: list[dict[str, Any]] = []
        self.trace: dict[str, Any] = {"events": [], "unasked_sources": []}
        self.asked: list[dict[str, str]] = []
        self.meanwhile: Callable[[], None] = lambda: None
        self._made = 0

    def app(self) -> web.Application:
        app = web.Application(middlewares=[authenticate])
        keys = "/control/sources/{id}/write-keys"
        app.router.add_post(keys, self.add_key)
        app.router.add_post(keys + "/{key}/rotate", self.add_key)
        app.router.add_patch(keys + "/{key}", self.change_key)
        app.router.add_delete(keys + "/{key}", self.delete_key)
        schema = "/control/sources/{id}/schema"
        app.router.add_get(schema, self.events)
        app.router.add_get(schema + "/events", self.schema)
        app.router.add_get(schema + "/calls/{call}", self.schema)
        app.router.add_get(schema + "/changes", self.changed)
        app.router.add_post("/control/destinations/{id}/rotate-secret", self.rotate_secret)
        app.router.add_get("/control/trace", self.traced)
        app.router.add_get("/control/destinations/{id}/health", self.healthy)
        app.router.add_get("/control/destinations/{id}/gate", self.gate)
        app.router.add_post("/control/destinations/{id}/{act:pause|resume}", self.switch)
        app.router.add_get("/control/quotas", self.quotas)
        app.router.add_get("/control/{kind}", self.listed)
        app.router.add_post("/control/{kind}", self.create)
        app.router.add_get("/control/{kind}/{id}", self.read)
        app.router.add_patch("/control/{kind}/{id}", self.change)
        app.router.add_delete("/control/{kind}/{id}", self.delete)
        return app

    async def rotate_secret(self, request: web.Request) -> web.Response:
        return web.json_response({"signing_secret": "whsec_new", **await request.json()}, status=201)

    async def gate(self, request: web.Request) -> web.Response:
        return web.json_response(self.gates.get(request.match_info["id"], {"state": "open"}))

    async def switch(self, request: web.Request) -> web.Response:
        given = await request.json() if request.can_read_body else {}
        state = "paused" if request.match_info["act"] == "pause" else "open"
        self.gates[request.match_info["id"]] = {"state": state, **given}
        return web.json_response(self.gates[request.match_info["id"]])

    async def listed(self, request: web.Request) -> web.Response:
        kind = request.match_info["kind"]
        return self._page(request, kind, list(self.items[kind].values()))

    async def quotas(self, request: web.Request) -> web.Response:
        return self._page(request, "sources", [{"source_id": id_, "mode": "live"} for id_ in self.items["sources"]])

    def _page(self, request: web.Request, kind: str, every: list[dict[str, Any]]) -> web.Response:
        begin = int(request.query.get("next", "0"))
        more = str(begin + 2) if len(every) > begin + 2 else None
        return web.json_response({kind: every[begin : begin + 2], "next": more})

    async def create(self, request: web.Request) -> web.Response:
        kind = request.match_info["kind"]
        body = await request.json()
        if not body.get("name"):
            return failure(400, "invalid_name", "name must not be empty", "name")
        self._made += 1
        made = {"id": f"{kind[:3]}_{self._made}", "enabled": True, **body}
        if kind == "sources":
            made["write_keys"] = [self._key()]
        self.items[kind][made["id"]] = made
        return web.json_response(made, status=201)

    async def read(self, request: web.Request) -> web.Response:
        item = self._item(request)
        return failure(404, "not_found", "no such thing") if item is None else web.json_response(item)

    async def change(self, request: web.Request) -> web.Response:
        item = self._item(request)
        if item is None:
            return failure(404, "not_found", "no such thing")
        item.update(await request.json())
        return web.json_response(item)

    async def delete(self, request: web.Request) -> web.Response:
        self.items[request.match_info["kind"]].pop(request.match_info["id"])
        return web.Response(status=204)

    async def add_key(self, request: web.Request) -> web.Response:
        key = self._key()
        self.items["sources"][request.match_info["id"]]["write_keys"].append(key)
        return web.json_response(key, status=201)

    async def change_key(self, request: web.Request) -> web.Response:
        for key in self.items["sources"][request.match_info["id"]]["write_keys"]:
            if key["key"] == request.match_info["key"]:
                key.update(await request.json())
                return web.json_response(key)
        return failure(404, "not_found", "no such key")

    async def delete_key(self, request: web.Request) -> web.Response:
        source = self.items["sources"][request.match_info["id"]]
        source["write_keys"] = [key for key in source["write_keys"] if key["key"] != request.match_info["key"]]
        return web.Response(status=204)

    async def events(self, request: web.Request) -> web.Response:
        begin = int(request.query.get("next", "0"))
        fields = ("call", "event", "count", "first_seen", "last_seen")
        shown = [{field: each[field] for field in fields} for each in self.schemas[begin : begin + 2]]
        return web.json_response({"events": shown, "next": str(begin + 2) if len(self.schemas) > begin + 2 else None})

    async def schema(self, request: web.Request) -> web.Response:
        wanted = (request.match_info.get("call", "track"), request.query.get("event"))
        found = [each for each in self.schemas if (each["call"], each["event"]) == wanted]
        return web.json_response(found[0]) if found else failure(404, "event_not_found", "no such call has been seen")

    async def changed(self, request: web.Request) -> web.Response:
        after = int(request.query["after"])
        if int(request.query.get("wait", "0")) and not self.changes[after:]:
            self.meanwhile()
        found = self.changes[after : after + 2]
        return web.json_response({"changes": found, "next": str(after + len(found))})

    async def healthy(self, request: web.Request) -> web.Response:
        """Each answer but the last is incomplete."""
        is_last = len(self.healths) == 1
        found = self.healths[0] if is_last else self.healths.pop(0)
        window = found["window"] | {"minutes": int(request.query["minutes"])}
        return web.json_response(found | {"window": window, "is_complete": is_last})

    async def traced(self, request: web.Request) -> web.Response:
        self.asked.append(dict(request.query))
        return web.json_response(self.trace)

    def _item(self, request: web.Request) -> dict[str, Any] | None:
        return self.items[request.match_info["kind"]].get(request.match_info["id"])

    def _key(self) -> dict[str, Any]:
        self._made += 1
        return {"key": f"key{self._made}", "enabled": True, "created_at": "2026-01-01T00:00:00.000Z"}
