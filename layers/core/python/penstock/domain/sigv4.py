"""AWS's Signature Version 4 for a POST with a JSON body, as a pure function of the request and the time."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from functools import lru_cache


@dataclass(frozen=True)
class Signer:
    """Whose signature it is; keys as Lambda puts them into the environment."""

    access_key: str
    secret_key: str
    session_token: str | None
    region: str
    service: str

    def headers(self, host: str, target: str, body: bytes, timestamp: str) -> dict[str, str]:
        """All headers of the signed request but Content-Length. `timestamp` is UTC as `20261123T160000Z`."""
        headers = {
            "content-type": "application/x-amz-json-1.1" if self.service == "kinesis" else "application/x-amz-json-1.0",
            "host": host,
            "x-amz-date": timestamp,
            "x-amz-target": target,
        }
        if self.session_token:
            headers["x-amz-security-token"] = self.session_token
        names = sorted(headers)
        signed = ";".join(names)
        lines = "".join(f"{name}:{headers[name]}\n" for name in names)
        request = f"POST\n/\n\n{lines}\n{signed}\n{hashlib.sha256(body).hexdigest()}"
        scope = f"{timestamp[:8]}/{self.region}/{self.service}/aws4_request"
        text = f"AWS4-HMAC-SHA256\n{timestamp}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
        key = _key(self.secret_key, timestamp[:8], self.region, self.service)
        signature = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
        headers["authorization"] = (
            f"AWS4-HMAC-SHA256 Credential={self.access_key}/{scope}, SignedHeaders={signed}, Signature={signature}"
        )
        return headers


@lru_cache(maxsize=8)
def _key(secret_key: str, day: str, region: str, service: str) -> bytes:
    """The signing key: good for a day, a region and a service."""
    key = f"AWS4{secret_key}".encode()
    for part in (day, region, service, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key
