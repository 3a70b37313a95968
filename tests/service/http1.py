"""HTTP/1.1 as a careful client speaks it: every byte of framing is checked, and the moment of a close is known.

A library would hide what is judged here: whether a kept connection was closed without a word, and how close
that came to the request that was just being sent. So it is spoken by hand, over asyncio's transports.
"""

import asyncio
import select
import ssl
import time
from dataclasses import dataclass, field
from typing import AsyncIterator


class Failure(Exception):
    """A request that a client would count as failed: `kind` is one word to sort by, `detail` is for reading."""

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(f"{kind}: {detail}")
        self.kind = kind
        self.detail = detail


class ClosedWhileIdle(Exception):
    """The server had closed the connection before anything was sent on it. No failure: take another one."""


@dataclass
class Answer:
    """The head of an answer."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def closes(self) -> bool:
        """Whether the server announced that it closes the connection after this answer."""
        tokens = self.headers.get("connection", "").lower().split(",")
        return "close" in {token.strip() for token in tokens}


def microseconds(seconds: float) -> int:
    return round(seconds * 1_000_000)


class Connection(asyncio.Protocol):
    """A connection to the server: one request at a time."""

    def __init__(self) -> None:
        self.buffer = bytearray()
        self.changed = asyncio.Event()
        self.closed_at: float | None = None
        self.closed_how = ""
        self.requests = 0
        self.opened_at = self.last_byte_at = time.monotonic()
        self.sent_at = 0.0
        self.transport: asyncio.Transport | None = None

    @classmethod
    async def open(cls, port: int, tls: ssl.SSLContext | None) -> "Connection":
        loop = asyncio.get_running_loop()
        name = "localhost" if tls else None
        try:
            _, connection = await loop.create_connection(cls, "127.0.0.1", port, ssl=tls, server_hostname=name)
        except OSError as error:
            # Also what TLS fails with.
            kind = "connect_refused" if isinstance(error, ConnectionRefusedError) else "connect_failed"
            raise Failure(kind, f"port {port}: {error!r}") from error
        return connection

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.last_byte_at = time.monotonic()
        self.buffer += data
        self.changed.set()

    def eof_received(self) -> None:
        self._closed("fin")

    def connection_lost(self, error: Exception | None) -> None:
        self._closed("reset" if error else "fin")

    def _closed(self, how: str) -> None:
        if self.closed_at is None:
            self.closed_at, self.closed_how = time.monotonic(), how
        self.changed.set()

    # What the client calls.

    def close(self) -> None:
        if self.transport is not None:
            self.transport.abort()

    async def ask(self, request: bytes) -> Answer:
        """Sends a request and reads the head of its answer."""
        if self._closed_by_peer():
            raise ClosedWhileIdle
        assert self.transport is not None
        idle = time.monotonic() - self.last_byte_at
        self.requests += 1
        self.sent_at = time.monotonic()
        self.transport.write(request)
        while (end := self.buffer.find(b"\r\n\r\n")) < 0:
            await self._more(self._unanswered(idle))
        head = bytes(self.buffer[:end]).decode("latin-1")
        del self.buffer[: end + 4]
        return parse_head(head)

    async def body(self, answer: Answer) -> AsyncIterator[bytes]:
        """The pieces of the body. It ends only when the framing says that the body is whole."""
        if answer.headers.get("transfer-encoding", "").lower() == "chunked":
            while size := int((await self._line()).split(b";")[0], 16):
                yield await self._exactly(size)
                await self._expect_line_end()
            # The last chunk is not the end: trailers and an empty line are.
            while await self._line():
                pass
        elif "content-length" in answer.headers:
            yield await self._exactly(int(answer.headers["content-length"]))
        else:
            raise Failure("bad_framing", f"neither chunked nor of a known length: {answer.headers}")
        if self.buffer:
            raise Failure("bad_framing", f"{len(self.buffer)} bytes after the end of the body")

    def _closed_by_peer(self) -> bool:
        """Whether the server's FIN or RST has come, even if asyncio has not looked yet."""
        if self.closed_at is not None:
            return True
        assert self.transport is not None
        poll = select.poll()
        poll.register(self.transport.get_extra_info("socket").fileno(), select.POLLRDHUP)
        return bool(poll.poll(0))

    def _unanswered(self, idle: float) -> str:
        place = "new" if self.requests == 1 else f"kept (request {self.requests}, idle {microseconds(idle)} us before)"
        return f"no answer on a {place} connection"

    async def _more(self, what: str) -> None:
        """Waits for more bytes. If there will be none, what was awaited has failed."""
        if self.closed_at is not None:
            after = microseconds(self.closed_at - self.sent_at)
            unanswered = what.startswith("no answer")
            kind = "closed_unannounced" if unanswered and self.requests > 1 else "cut"
            raise Failure(kind, f"{what}: {self.closed_how} {after} us after the request was sent")
        self.changed.clear()
        await self.changed.wait()

    async def _line(self) -> bytes:
        while (end := self.buffer.find(b"\r\n")) < 0:
            await self._more("in the framing of a body")
        line = bytes(self.buffer[:end])
        del self.buffer[: end + 2]
        return line

    async def _exactly(self, size: int) -> bytes:
        while len(self.buffer) < size:
            await self._more(f"in a body, {size - len(self.buffer)} bytes short")
        data = bytes(self.buffer[:size])
        del self.buffer[:size]
        return data

    async def _expect_line_end(self) -> None:
        if line := await self._line():
            raise Failure("bad_framing", f"{line!r} after a chunk")


def parse_head(head: str) -> Answer:
    status_line, *lines = head.split("\r\n")
    version, _, rest = status_line.partition(" ")
    if version != "HTTP/1.1":
        raise Failure("bad_framing", f"status line {status_line!r}")
    headers: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    return Answer(int(rest[:3]), headers)


def request(key: str, body: bytes) -> bytes:
    """A chat completion as a request on the wire."""
    head = (
        "POST /openai/v1/chat/completions HTTP/1.1\r\n"
        f"host: localhost\r\napi-key: {key}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body
