"""An upstream that reads requests strictly and keeps what it read: requests, their bytes, and all that was odd."""

import json
import re
import socket
import threading
from dataclasses import dataclass

ANSWER = json.dumps(
    {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "gpt-4o",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "hello"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
    }
).encode()

# Longer silence inside a request means that the rest never comes.
READ_SECONDS = 20


@dataclass(frozen=True)
class Request:
    method: str
    target: str
    headers: tuple
    body: bytes

    def values(self, name):
        return [value for key, value in self.headers if key.lower() == name]


class Odd(Exception):
    """What no proxy may send to its upstream."""


class Recorder:
    """Listens on a free loopback port until `stop`. `requests` and `odd` are what came, in order."""

    def __init__(self):
        self.lock = threading.Lock()
        self.requests = []
        self.odd = []
        self.server = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.address = "127.0.0.1:%d" % self.server.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def stop(self):
        self.server.close()

    def clear(self):
        with self.lock:
            self.requests.clear()
            self.odd.clear()

    def seen(self):
        with self.lock:
            return list(self.requests), list(self.odd)

    def _accept(self):
        while True:
            try:
                connection, _ = self.server.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with connection, connection.makefile("rb") as reader:
            try:
                while (request := read_request(reader)) is not None:
                    with self.lock:
                        self.requests.append(request)
                    connection.settimeout(None)
                    head = (
                        f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(ANSWER)}\r\n\r\n"
                    )
                    connection.sendall(head.encode() + ANSWER)
            except Odd as odd:
                with self.lock:
                    self.odd.append(str(odd))
            except OSError:
                # A request that was cut is none.
                return


def read_request(reader):
    """The next request, None at the end of the connection, also when that comes in the middle of a request."""
    head = []
    while True:
        line = reader.readline(1 << 20)
        if not line:
            return None
        if not line.endswith(b"\r\n"):
            raise Odd(f"a line that does not end with CRLF: {line[:80]!r}")
        if line == b"\r\n":
            break
        head.append(line[:-2])
    if not head:
        raise Odd("an empty line before the request line")
    request_line = re.fullmatch(rb"([A-Z]+) (/[\x21-\x22\x24-\x7e]*) HTTP/1\.1", head[0])
    if not request_line:
        raise Odd(f"a request line that is none: {head[0][:200]!r}")
    headers = tuple(read_header(line) for line in head[1:])
    method, target = (part.decode() for part in request_line.groups())
    body = read_body(reader, headers)
    return None if body is None else Request(method, target, headers, body)


def read_header(line):
    parts = re.fullmatch(rb"([!#$%&'*+.^`|~0-9A-Za-z-]+): ?([\t\x20-\x7e\x80-\xff]*)", line)
    if not parts:
        raise Odd(f"a header that is none: {line[:200]!r}")
    return tuple(part.decode("latin-1") for part in parts.groups())


def read_body(reader, headers):
    def values(name):
        return [value for key, value in headers if key.lower() == name]

    lengths, codings = values("content-length"), values("transfer-encoding")
    if len(values("host")) != 1:
        raise Odd(f"hosts: {values('host')}")
    if len(lengths) + len(codings) > 1:
        raise Odd(f"lengths {lengths} and codings {codings}")
    if codings:
        if codings != ["chunked"]:
            raise Odd(f"a coding that is not `chunked`: {codings}")
        return read_chunks(reader)
    if not lengths:
        return b""
    if not re.fullmatch("[0-9]{1,15}", lengths[0]):
        raise Odd(f"a length that is no number: {lengths}")
    body = reader.read(int(lengths[0]))
    return body if len(body) == int(lengths[0]) else None


def read_chunks(reader):
    body = bytearray()
    while True:
        line = reader.readline(64)
        if not line:
            return None
        if not re.fullmatch(rb"[0-9A-Fa-f]{1,8}\r\n", line):
            raise Odd(f"a chunk's size that is none: {line!r}")
        size = int(line, 16)
        chunk, end = reader.read(size), reader.readline(3)
        if end == b"" or len(chunk) < size:
            return None
        if end != b"\r\n":
            raise Odd(f"after a chunk: {end!r}")
        if size == 0:
            return bytes(body)
        body += chunk
