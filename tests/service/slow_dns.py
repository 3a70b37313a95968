"""A DNS server that takes its time, as real ones do: every name is 127.0.0.1. A process that takes requests before
it knows where its backends are fails them for as long as an answer takes here.
"""

import asyncio
from typing import Any

ANSWER_SECONDS = 0.3
TYPE_A = b"\0\1"
# A pointer to the name in the question, type A, class IN, ten seconds, four bytes: 127.0.0.1.
ADDRESS = b"\xc0\x0c\0\1\0\1\0\0\0\x0a\0\4\x7f\0\0\1"


class SlowDns(asyncio.DatagramProtocol):
    def connection_made(self, transport: Any) -> None:
        # A datagram transport, though Python 3.11 does not derive it from that class.
        self.transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        loop = asyncio.get_running_loop()
        loop.call_later(ANSWER_SECONDS, self.transport.sendto, answer(data), addr)


def answer(query: bytes) -> bytes:
    """To one question of type A; to one of another type that there is nothing."""
    end = query.index(b"\0", 12) + 5
    found = ADDRESS if query[end - 4 : end - 2] == TYPE_A else b""
    counts = b"\0\1" + (b"\0\1" if found else b"\0\0") + b"\0\0\0\0"
    # A response without an error, with recursion.
    return query[:2] + b"\x81\x80" + counts + query[12:end] + found


async def serve() -> None:
    await asyncio.get_running_loop().create_datagram_endpoint(SlowDns, local_addr=("127.0.0.1", 53))
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve())
