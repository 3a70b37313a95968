"""One request over a connection of its own, and what the client saw of its response."""

import asyncio
import contextlib
import json
import re
import time
from dataclasses import dataclass
from typing import Any

import http1
from traffic import Planned

# A word of content in an event or a body, of any operation.
CONTENT = re.compile(rb'"(?:content|text|delta)": ?"[^"]')
IDENTITY = re.compile(rb'"id": ?"((?:resp_|file-)[^"]+)"')
FAILED = re.compile(rb'"error": ?\{|"type": ?"(?:error|response\.failed)"')
# What a whole body of each form has.
FORMS = {
    "chat": b'"choices"',
    "chat_stored": b'"choices"',
    "completion": b'"choices"',
    "embeddings": b'"embedding"',
}


@dataclass
class Outcome:
    """What became of a request. `result` is `ok`, or one word for what went wrong."""

    request: Planned
    sent_at: float
    result: str = "timeout"
    status: int = 0
    ended_at: float = 0.0
    first_content_at: float | None = None
    backend: str = ""
    attempts: int = 0
    identity: str | None = None
    retry_after: str | None = None
    text: str = ""

    @property
    def ok(self) -> bool:
        return self.result == "ok"

    @property
    def nothing_seen(self) -> bool:
        """Whether it failed before the client had any content. Nothing of a body that is not streamed is content
        before the body is whole."""
        return not self.ok and not (self.request.streamed and self.first_content_at is not None)

    @property
    def seconds(self) -> float:
        return self.ended_at - self.sent_at

    def row(self) -> dict[str, Any]:
        """What a reader of a failure wants to know."""
        return {
            "number": self.request.number,
            "kind": self.request.kind,
            "app": self.request.app,
            "at": round(self.request.at, 2),
            "seconds": round(self.seconds, 2),
            "result": self.result,
            "status": self.status,
            "backend": self.backend,
            "attempts": self.attempts,
            "text": self.text[:160],
        }


async def send(port: int, key: str, request: Planned, patience: float) -> Outcome:
    """Sends a request to 127.0.0.1:`port` and reads its response for at most `patience` seconds."""
    outcome = Outcome(request, time.monotonic())
    writer: asyncio.StreamWriter | None = None
    try:
        async with asyncio.timeout(patience):
            reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=http1.LINE_BYTES)
            writer.write(request.raw(key))
            head = await http1.read_head(reader)
            outcome.result = "no_response" if head is None else await judge(reader, head, outcome)
    except TimeoutError:
        outcome.result = "timeout"
    except http1.Cut:
        outcome.result = "cut"
    except (OSError, ValueError) as error:
        outcome.result, outcome.text = "broken_connection", repr(error)
    finally:
        outcome.ended_at = time.monotonic()
        if writer is not None:
            with contextlib.suppress(OSError):
                writer.transport.abort()
    return outcome


async def judge(reader: asyncio.StreamReader, head: http1.Head, outcome: Outcome) -> str:
    """Reads a response to its end. Returns `ok` or what is wrong with it."""
    outcome.status = head.status
    outcome.backend = head.headers.get("x-firstlight-backend", "")
    outcome.attempts = int(head.headers.get("x-firstlight-attempts", 0))
    outcome.retry_after = head.headers.get("retry-after")
    body = bytearray()
    async for piece in http1.read_pieces(reader, head):
        body += piece
        if outcome.first_content_at is None and head.status == 200 and CONTENT.search(piece):
            outcome.first_content_at = time.monotonic()
    outcome.text = bytes(body[-400:]).decode(errors="replace")
    if head.status != 200:
        return f"status_{head.status}"
    if found := IDENTITY.search(body):
        outcome.identity = found[1].decode()
    if outcome.request.streamed:
        return judge_stream(bytes(body), outcome)
    return judge_body(bytes(body), outcome.request.kind)


def judge_stream(body: bytes, outcome: Outcome) -> str:
    if FAILED.search(body):
        return "error_event"
    whole = body.rstrip().endswith(b"data: [DONE]") or b'"type": "response.completed"' in body
    if b'"finish_reason": "content_filter"' in body and whole:
        return "ok"
    if outcome.first_content_at is None:
        return "empty"
    return "ok" if whole else "incomplete"


def judge_body(body: bytes, kind: str) -> str:
    if not body.strip():
        return "empty"
    try:
        fields = json.loads(body)
    except ValueError:
        return "html" if b"<html" in body else "no_json"
    if fields.get("error"):
        return "error_body"
    return "ok" if FORMS.get(kind, b'"id"') in body else "wrong_form"
