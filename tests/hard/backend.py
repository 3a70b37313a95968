"""A raw backend: an Azure OpenAI resource on a loopback port that does exactly what a case says, byte by byte.

It serves chats, completions, embeddings, responses and files, streamed or not, in times drawn from its own random
source. `fault` is what is wrong with all of it; `decide` may choose for each request. `arrivals` is what came.
"""

import asyncio
import contextlib
import random
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import bodies
import faults
import http1
import received
import replies
from faults import Fault
from received import Request

# Ends a connection with RST instead of FIN.
LINGER_NONE = struct.pack("ii", 1, 0)


@dataclass(frozen=True)
class Pace:
    """How long things take, in seconds. Times to first token and totals are log-normal."""

    header: float = 0.01
    first_token: float = 0.12
    gap: float = 0.01
    whole: float = 0.3
    sigma: float = 0.35


@dataclass
class Arrival:
    """When a request came, whose number it has, and what it met: the name of a fault, or `ok`."""

    at: float
    number: int | None
    probe: bool
    met: str


@dataclass
class Backend:
    """One region. `start` before use, `stop` at the end."""

    name: str
    seed: int
    pace: Pace = field(default_factory=Pace)
    fault: Fault | None = None
    # What a request meets; None for `fault`.
    decide: Callable[[Request], Fault | None] | None = None
    # Headers that good responses carry, such as what is left of a limit.
    extra_headers: Callable[[], dict[str, str]] = dict
    arrivals: list[Arrival] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.random = random.Random(f"{self.seed} {self.name}")
        self.made = 0
        self.server: asyncio.Server | None = None
        self.writers: set[asyncio.StreamWriter] = set()
        # Bound and not listening: nobody else takes the port while connections are refused.
        self.holder = listener()
        self.port: int = self.holder.getsockname()[1]

    async def start(self) -> None:
        await self._listen()

    async def stop(self) -> None:
        self._close()
        self.holder.close()
        await asyncio.sleep(0)

    async def set_fault(self, fault: Fault | None) -> None:
        """Begins or ends (None) an incident."""
        self.fault = fault
        if fault is faults.REFUSE:
            self._close()
        elif self.server is None:
            await self._listen()

    def of_clients(self, since: float = 0.0, until: float = float("inf")) -> list[Arrival]:
        """What clients sent here in a time. Probes are none of it."""
        return [a for a in self.arrivals if since <= a.at < until and not a.probe]

    async def _listen(self) -> None:
        taken = listener(self.port)
        self.server = await asyncio.start_server(self._serve, sock=taken, backlog=1024, limit=http1.LINE_BYTES)

    def _close(self) -> None:
        if self.server is not None:
            self.server.close()
            self.server = None
        for writer in list(self.writers):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.add(writer)
        try:
            while (head := await http1.read_head(reader)) is not None:
                request = received.parse(head, await http1.read_body(reader, head))
                fault = self.decide(request) if self.decide else None
                fault = fault or self.fault
                met = fault.name if fault else "ok"
                self.arrivals.append(Arrival(time.monotonic(), request.number, request.probe, met))
                if not await self._respond(request, fault, reader, writer):
                    break
        except (OSError, http1.Cut, ValueError):
            # The client left, which is its right, or Firstlight gave the attempt up.
            pass
        finally:
            self.writers.discard(writer)
            with contextlib.suppress(OSError):
                writer.close()

    async def _respond(
        self, request: Request, fault: Fault | None, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """Serves a request. Returns whether the connection may be used again."""
        if fault is None or fault.factor != 1.0:
            return await self._good(request, fault.factor if fault else 1.0, writer)
        if fault is faults.RESET:
            connection: socket.socket = writer.get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_NONE)
            writer.transport.abort()
            return False
        if fault is faults.CLOSE:
            return False
        if fault is faults.SILENT:
            await reader.read(1)
            return False
        if fault is faults.SILENT_AFTER_HEADERS:
            form = "text/event-stream" if request.streamed else "application/json"
            writer.write(replies.ok_head({"content-type": form, "transfer-encoding": "chunked"}))
            await reader.read(1)
            return False
        if fault.status:
            await asyncio.sleep(fault.after)
            return await replies.whole(writer, fault.status, *replies.failure(fault))
        if fault in (faults.CUT, faults.ERROR_EVENT):
            return await self._broken(request, fault, writer)
        if fault is faults.ERROR_FIRST:
            return await replies.error_first(request, writer)
        return await replies.looks_good(request, fault, writer)

    async def _good(self, request: Request, factor: float, writer: asyncio.StreamWriter) -> bool:
        pace = self.pace
        extra = self.extra_headers()
        if not request.streamed:
            await asyncio.sleep(self._draw(pace.whole) * factor)
            return await replies.whole(writer, 200, self._whole_body(request), extra)
        opening, words, end = self._events(request)
        first_token = self._draw(pace.first_token) * factor
        header = min(pace.header, first_token)
        await asyncio.sleep(header)
        writer.write(replies.ok_head({"content-type": "text/event-stream", "transfer-encoding": "chunked", **extra}))
        writer.write(http1.chunk(opening))
        await asyncio.sleep(first_token - header)
        for word in words:
            writer.write(http1.chunk(word))
            await writer.drain()
            await asyncio.sleep(pace.gap)
        writer.write(http1.chunk(end) + http1.LAST_CHUNK)
        await writer.drain()
        return True

    async def _broken(self, request: Request, fault: Fault, writer: asyncio.StreamWriter) -> bool:
        """Ends in the middle: with an error event where that is the fault and there are events, else with nothing."""
        if not request.streamed:
            await asyncio.sleep(self._draw(self.pace.whole))
            body = self._whole_body(request)
            writer.write(replies.ok_head({"content-type": "application/json", "content-length": str(len(body))}))
            writer.write(body[: len(body) // 2])
            await writer.drain()
            return False
        opening, words, _ = self._events(request)
        await asyncio.sleep(self._draw(self.pace.first_token))
        writer.write(replies.ok_head({"content-type": "text/event-stream", "transfer-encoding": "chunked"}))
        writer.write(http1.chunk(opening) + http1.chunk(words[0]))
        await writer.drain()
        await asyncio.sleep(self.pace.gap)
        if fault is faults.ERROR_EVENT:
            writer.write(http1.chunk(bodies.event(replies.PROBLEM)) + http1.LAST_CHUNK)
            await writer.drain()
            return True
        return False

    def _draw(self, median: float) -> float:
        return median * self.random.lognormvariate(0.0, self.pace.sigma)

    def _new_id(self, prefix: str) -> str:
        self.made += 1
        return f"{prefix}{self.name}{self.seed}x{self.made:08}"

    def _events(self, request: Request) -> tuple[bytes, list[bytes], bytes]:
        if request.path.endswith("/responses"):
            previous = request.fields.get("previous_response_id")
            return bodies.response_events(request.model, self._new_id("resp_"), previous)
        return bodies.chat_events(request.model, bodies.WORDS)

    def _whole_body(self, request: Request) -> bytes:
        path = request.path
        if path.endswith("/chat/completions"):
            return bodies.chat(request.model)
        if path.endswith("/completions"):
            return bodies.completion(request.model)
        if path.endswith("/embeddings"):
            return bodies.embedding(request.model)
        if path.endswith("/responses"):
            previous = request.fields.get("previous_response_id")
            return bodies.dump(bodies.response(request.model, self._new_id("resp_"), previous))
        if "/responses/" in path:
            return bodies.dump(bodies.response(request.model, path.rsplit("/", 1)[1], None))
        if path.endswith("/files"):
            return bodies.file(self._new_id("file-"))
        return bodies.file(path.rsplit("/", 1)[1])


def listener(port: int = 0) -> socket.socket:
    """A socket on a loopback port, which others of ours may share."""
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    made.bind(("127.0.0.1", port))
    return made
