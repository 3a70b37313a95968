"""HTTP/1.1 by hand: heads, lengths and chunks over asyncio's streams. A library would hide where a message was cut."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

# The longest line and head that are read. Far above what is sent here.
LINE_BYTES = 1 << 18


class Cut(Exception):
    """The peer ended the connection in the middle of a message."""


@dataclass(frozen=True)
class Head:
    """A request line or status line, and its headers by lower-case name."""

    first: str
    headers: dict[str, str]

    @property
    def status(self) -> int:
        return int(self.first.split(" ", 2)[1])

    @property
    def method(self) -> str:
        return self.first.split(" ", 1)[0]

    @property
    def target(self) -> str:
        return self.first.split(" ", 2)[1]


async def read_head(reader: asyncio.StreamReader) -> Head | None:
    """The next head; None where the connection ended before its first byte."""
    try:
        raw = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        if not error.partial:
            return None
        raise Cut("in a head") from error
    first, *lines = raw.decode("latin-1").rstrip("\r\n").split("\r\n")
    pairs = (line.partition(":") for line in lines)
    return Head(first, {name.strip().lower(): value.strip() for name, _, value in pairs})


async def read_pieces(reader: asyncio.StreamReader, head: Head) -> AsyncIterator[bytes]:
    """The body in pieces, as it comes. Ends only where the framing says that the body is whole, else raises Cut."""
    try:
        if head.headers.get("transfer-encoding", "").lower() == "chunked":
            while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
                yield await reader.readexactly(size)
                await reader.readexactly(2)
            while await reader.readuntil(b"\r\n") != b"\r\n":
                pass
        elif length := int(head.headers.get("content-length", 0)):
            yield await reader.readexactly(length)
    except asyncio.IncompleteReadError as error:
        raise Cut("in a body") from error


async def read_body(reader: asyncio.StreamReader, head: Head) -> bytes:
    return b"".join([piece async for piece in read_pieces(reader, head)])


def head_bytes(first: str, headers: dict[str, str]) -> bytes:
    return "\r\n".join([first, *(f"{name}: {value}" for name, value in headers.items()), "", ""]).encode()


def chunk(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


LAST_CHUNK = b"0\r\n\r\n"
