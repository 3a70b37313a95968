"""A request as a backend gets it."""

import contextlib
import json
import re
from dataclasses import dataclass
from typing import Any

import http1

# How a client's request says who it is; what does not is a probe.
NUMBER = re.compile(rb"request (\d+) of ([a-z-]+)")
MODEL = re.compile(r"/deployments/([^/]+)/")


@dataclass(frozen=True)
class Request:
    """A request as it came."""

    method: str
    target: str
    body: bytes
    number: int | None
    app: str
    fields: dict[str, Any]

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def streamed(self) -> bool:
        return self.fields.get("stream") is True

    @property
    def probe(self) -> bool:
        """Whether it is a probe of Firstlight's own."""
        return self.method == "POST" and self.number is None and "multipart" not in self.app

    @property
    def model(self) -> str:
        found = MODEL.search(self.path)
        return found[1] if found else str(self.fields.get("model", "gpt-4o"))


def parse(head: http1.Head, body: bytes) -> Request:
    found = NUMBER.search(body)
    fields: dict[str, Any] = {}
    multipart = "multipart" in head.headers.get("content-type", "")
    if body and not multipart:
        with contextlib.suppress(ValueError):
            value = json.loads(body)
            fields = value if isinstance(value, dict) else {}
    number, app = (int(found[1]), found[2].decode()) if found else (None, "multipart" if multipart else "")
    return Request(head.method, head.target, body, number, app, fields)
