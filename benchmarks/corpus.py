"""Events as an online shop sends them, the same for the same seed: about 1 KB each.

Forty kinds of track call, identify and page calls. Users have one to three devices (an anonymousId each) and come in
sessions of about eight events, fifty sessions at a time, interleaved; one key, "import-worker", sends 2 % of all
events. About 1 % of the events hold a value of another type than their like.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

NAMES = [
    *("Order Completed", "Product Viewed", "Product Added", "Product Removed", "Cart Viewed", "Checkout Started"),
    *("Checkout Step Viewed", "Checkout Step Completed", "Payment Info Entered", "Order Updated", "Order Refunded"),
    *("Order Cancelled", "Coupon Entered", "Coupon Applied", "Coupon Denied", "Coupon Removed"),
    *("Product Added to Wishlist", "Product Removed from Wishlist", "Product Shared", "Cart Shared"),
    *("Product Reviewed", "Products Searched", "Product List Viewed", "Product List Filtered", "Promotion Viewed"),
    *("Promotion Clicked", "Signed Up", "Signed In", "Signed Out", "Account Created", "Account Deleted"),
    *("Trial Started", "Trial Ended", "Invite Sent", "Video Playback Started", "Video Playback Paused"),
    *("Video Playback Completed", "Application Opened", "Application Installed", "Application Backgrounded"),
]
WORDS = (
    *("alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa"),
    *("lambda", "mu", "nu", "xi", "omicron", "pi", "rho", "sigma", "tau", "upsilon"),
)
KINDS = ("str", "str", "str", "int", "float", "bool", "date", "nullable")
AGENTS = (
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/124.0.0.0 Safari/537.36",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_4 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    "Version/17.4 Mobile/15E148 Safari/604.1",
)
ODD_VALUES: tuple[Any, ...] = ("N/A", 12, 3.5, True, ["x"], {"v": 1})
BEGAN = 1_718_000_000
Schema = list[tuple[str, str, float]]


def events(count: int, seed: int = 42) -> Iterator[dict[str, Any]]:
    """`count` whole events, in the order in which they happened."""
    shop = _Shop(random.Random(seed))
    return (shop.event(BEGAN + number * 0.5) for number in range(count))


def _schema(number: int) -> Schema:
    """The properties of one kind of track call: name, kind, and how often it is there."""
    chance = random.Random(1000 + number)
    found: Schema = []
    for place in range(chance.randint(6, 12)):
        kind = chance.choice(KINDS)
        name = f"{chance.choice(WORDS)}_{place}"
        found.append((name, kind, 1.0 if chance.random() < 0.8 else chance.choice([0.5, 0.9])))
    extra = chance.random()
    if extra < 0.35:
        found.append(("products", "products", 1.0))
    if extra > 0.5:
        found.append(("shipping", "address", 0.95))
    if chance.random() < 0.4:
        found.append(("tags", "list", 1.0))
    if chance.random() < 0.5:
        found += [("revenue", "float", 1.0), ("currency", "currency", 1.0)]
    return found


def _iso(moment: float) -> str:
    return f"{datetime.fromtimestamp(moment, UTC):%Y-%m-%dT%H:%M:%S}.{int(moment * 1000) % 1000:03d}Z"


class _Shop:
    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._schemas = {name: _schema(number) for number, name in enumerate(NAMES)}
        self._weights = [(number + 1) ** -0.7 for number in range(len(NAMES))]
        self._sessions: list[tuple[str, str, list[int]]] = []
        self._makers: dict[str, Callable[[], Any]] = {
            "str": lambda: " ".join(chance.choices(WORDS, k=chance.randint(1, 4))),
            "int": lambda: chance.randint(0, 100_000),
            "float": lambda: round(chance.random() * 1000, 2) + 0.001,
            "bool": lambda: chance.random() < 0.5,
            "date": lambda: _iso(BEGAN + chance.random() * 1e6),
            "nullable": lambda: None if chance.random() < 0.2 else chance.choice(WORDS),
            "currency": lambda: chance.choice(["USD", "EUR", "GBP"]),
            "list": lambda: chance.choices(WORDS, k=chance.randint(1, 5)),
            "address": self._address,
            "products": lambda: [self._product() for _ in range(chance.randint(1, 3))],
        }

    def event(self, moment: float) -> dict[str, Any]:
        user_id, device = self._visitor()
        kind = self._chance.random()
        context = self._context()
        event: dict[str, Any] = {
            "anonymousId": device,
            "context": context,
            "integrations": {},
            "messageId": "ajs-next-" + self._hex(32),
            "originalTimestamp": _iso(moment),
            "sentAt": _iso(moment + 0.3),
            "timestamp": _iso(moment + 0.1),
            "userId": user_id,
        }
        if kind < 0.75:
            return event | self._track()
        if kind < 0.93:
            name, category = self._chance.choice(["Home", "Product", "Cart", "Search"]), self._chance.choice(WORDS)
            return event | {"type": "page", "name": name, "properties": context["page"] | {"category": category}}
        return event | {"type": "identify", "traits": self._traits(user_id, moment)}

    def _visitor(self) -> tuple[str, str]:
        chance = self._chance
        if chance.random() < 0.02:
            return "import-worker", "import-worker"
        if len(self._sessions) < 50 or chance.random() < 0.02:
            user_id = f"user_{int(chance.paretovariate(1.1) * 10 % 50_000):06d}"
            device = random.Random(f"{user_id}/{chance.randint(0, 2)}")
            name = f"{device.getrandbits(32):08x}-0000-4000-a000-{device.getrandbits(48):012x}"
            self._sessions.append((user_id, name, [int(chance.expovariate(1 / 8)) + 1]))
        place = chance.randrange(len(self._sessions))
        user_id, name, left = self._sessions[place]
        left[0] -= 1
        if not left[0]:
            self._sessions.pop(place)
        return user_id, name

    def _track(self) -> dict[str, Any]:
        chance = self._chance
        [name] = chance.choices(NAMES, self._weights)
        properties = {
            key: self._makers[kind]()
            for key, kind, share in self._schemas[name]
            if share == 1.0 or chance.random() < share
        }
        if chance.random() < 0.0133 and properties:
            key = chance.choice(list(properties))
            properties[key] = chance.choice([odd for odd in ODD_VALUES if type(odd) is not type(properties[key])])
        return {"type": "track", "event": name, "properties": properties}

    def _traits(self, user_id: str, moment: float) -> dict[str, Any]:
        chance = self._chance
        traits: dict[str, Any] = {
            "email": f"{user_id}@example.com",
            "firstName": chance.choice(WORDS),
            "plan": chance.choice(["free", "pro", "enterprise"]),
            "logins": chance.randint(1, 500),
            "createdAt": _iso(moment - 1e6),
            "company": {"id": self._hex(8), "employees": chance.randint(1, 5000)},
        }
        if chance.random() < 0.01:
            traits["logins"] = str(traits["logins"])
        return traits

    def _context(self) -> dict[str, Any]:
        chance = self._chance
        return {
            "ip": f"10.{chance.randint(0, 255)}.{chance.randint(0, 255)}.{chance.randint(0, 255)}",
            "library": {"name": "analytics.js", "version": "2.11.1"},
            "locale": chance.choice(["en-US", "de-DE", "fr-FR"]),
            "userAgent": chance.choice(AGENTS),
            "page": {
                "path": "/" + chance.choice(WORDS),
                "referrer": "https://www.google.com/",
                "search": "",
                "title": self._makers["str"](),
                "url": "https://shop.example.com/" + chance.choice(WORDS),
            },
            "timezone": "Europe/Berlin",
        }

    def _address(self) -> dict[str, Any]:
        chance = self._chance
        return {
            "city": chance.choice(WORDS),
            "zip": str(chance.randint(10_000, 99_999)),
            "geo": {"lat": chance.random() * 90 + 0.001, "lon": chance.random() * 180 + 0.001},
        }

    def _product(self) -> dict[str, Any]:
        return {
            "product_id": self._hex(12),
            "sku": self._hex(8),
            "name": self._makers["str"](),
            "price": round(self._chance.random() * 100, 2) + 0.001,
            "quantity": self._chance.randint(1, 5),
        }

    def _hex(self, digits: int) -> str:
        return f"{self._chance.getrandbits(4 * digits):0{digits}x}"
