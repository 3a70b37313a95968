"""Requests of clients: their bytes, and how freely each may be repeated by what its body says."""

import json
from dataclasses import dataclass, field
from typing import Any

import http1

MODEL, EMBEDDINGS = "gpt-4o", "text-embedding-3-small"
VERSION = "2024-10-21"
# What makes a prompt as long as usual ones are: hedges are paid by the token. About 250 tokens.
FILLER = "The quick brown fox jumps over the lazy dog, again and again. " * 16

# How freely a request may be sent elsewhere after a failure.
FREE = "free"  # it leaves nothing behind
DEFAULT_STORED = "default_stored"  # a response that is stored only because nothing is said
ONCE = "once"  # only where the first attempt surely did nothing
BOUND = "bound"  # only the backend that stores what it names can serve it


@dataclass(frozen=True)
class Planned:
    """A request and when it is sent, in seconds after the start of the load."""

    at: float
    number: int
    app: str
    kind: str
    freedom: str
    method: str
    path: str
    body: bytes = b""
    streamed: bool = False
    content_type: str = "application/json"
    marks: tuple[str, ...] = field(default=())

    def raw(self, key: str) -> bytes:
        headers = {"host": "firstlight.test", "api-key": key, "connection": "close"}
        if self.body:
            headers |= {"content-type": self.content_type, "content-length": str(len(self.body))}
        return http1.head_bytes(f"{self.method} {self.path} HTTP/1.1", headers) + self.body


@dataclass(frozen=True)
class Who:
    """Which request it is: what every kind begins with."""

    at: float
    number: int
    app: str

    @property
    def words(self) -> str:
        return f"This is request {self.number} of {self.app}; say something short."


def chat(who: Who, streamed: bool = True, filler: int = 1, **fields: Any) -> Planned:
    """A chat with `filler` times 250 tokens of prompt. `fields` are added to its body."""
    message = {"role": "user", "content": f"{who.words} {FILLER * filler}"}
    body = {"messages": [message], "max_tokens": 50, **({"stream": True} if streamed else {}), **fields}
    path = f"/openai/deployments/{MODEL}/chat/completions?api-version={VERSION}"
    kind = "chat_streamed" if streamed else "chat"
    if fields.get("store"):
        kind += "_stored"
    freedom = ONCE if fields.get("store") else FREE
    return post(who, kind, freedom, path, body)


def embed(who: Who) -> Planned:
    path = f"/openai/deployments/{EMBEDDINGS}/embeddings?api-version={VERSION}"
    return post(who, "embeddings", FREE, path, {"input": [who.words]})


def respond(who: Who, streamed: bool = True, previous: str | None = None, store: bool | None = None) -> Planned:
    """A request to the Responses API; with `previous` the next link of a chain."""
    body: dict[str, Any] = {"model": MODEL, "input": f"{who.words} {FILLER}", "max_output_tokens": 50}
    if streamed:
        body["stream"] = True
    if store is not None:
        body["store"] = store
    if previous is not None:
        body["previous_response_id"] = previous
        kind, freedom = "response_chained", BOUND
    elif store is None:
        kind, freedom = "response_first", DEFAULT_STORED
    else:
        kind, freedom = ("response_stored", ONCE) if store else ("response_unstored", FREE)
    return post(who, kind, freedom, "/openai/v1/responses", body)


def upload(who: Who) -> Planned:
    line = "firstlight-boundary"
    parts = [
        [f"--{line}", 'content-disposition: form-data; name="purpose"', "", "assistants"],
        [f"--{line}", 'content-disposition: form-data; name="file"; filename="notes.txt"', "", who.words],
        [f"--{line}--", ""],
    ]
    kind = f"multipart/form-data; boundary={line}"
    body = "\r\n".join(line for part in parts for line in part).encode()
    return Planned(
        who.at, who.number, who.app, "file_upload", ONCE, "POST", "/openai/v1/files", body, content_type=kind
    )


def read(who: Who, kind: str, path: str) -> Planned:
    """A look at something that one backend stores."""
    return Planned(who.at, who.number, who.app, kind, BOUND, "GET", path)


def post(who: Who, kind: str, freedom: str, path: str, fields: dict[str, Any]) -> Planned:
    body = json.dumps(fields).encode()
    streamed = fields.get("stream") is True
    return Planned(who.at, who.number, who.app, kind, freedom, "POST", path, body, streamed)
