"""HTTP/2 with the hands: frames as an attacker writes them, in any order and with any content."""

import contextlib
import socket
import struct
import threading

from hpack import Decoder, Encoder
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    RstStreamFrame,
    SettingsFrame,
)

from service import CHAT, KEY

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


class Cut(Exception):
    """The other side has closed the connection, or says that it will."""


class Connection:
    """One connection. Frames that come are read by a thread of its own, so that sending never waits for it."""

    def __init__(self, service, reading=True):
        self.socket = service.connect()
        self.encoder = Encoder()
        # Its answer to SETTINGS, its GOAWAY, and what ended each stream.
        self.settings, self.goaway, self.ended, self.status = {}, None, {}, {}
        self.closed = threading.Event()
        self.answered = threading.Condition()
        self.send(PREFACE + SettingsFrame(0).serialize())
        if reading:
            threading.Thread(target=self._read, daemon=True).start()

    def close(self):
        # A reset: nothing lingers on this side.
        with contextlib.suppress(OSError):
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()

    def send(self, data):
        if self.closed.is_set():
            raise Cut
        try:
            self.socket.sendall(data)
        except OSError as error:
            self.closed.set()
            raise Cut from error

    def request(self, stream, headers=(), end=True, flags_end_headers=True):
        """The frame of a good chat request's head, with other or more headers at wish."""
        fields = {":method": "POST", ":scheme": "http", ":authority": "localhost", ":path": CHAT}
        listed = [*fields.items(), ("api-key", KEY), ("content-type", "application/json"), *headers]
        return self.head(stream, listed, end, flags_end_headers)

    def head(self, stream, fields, end=True, flags_end_headers=True):
        frame = HeadersFrame(stream, self.encoder.encode(fields, huffman=False))
        if end:
            frame.flags.add("END_STREAM")
        if flags_end_headers:
            frame.flags.add("END_HEADERS")
        return frame.serialize()

    def _read(self):
        decoder = Decoder(max_header_list_size=1 << 20)
        with contextlib.suppress(OSError, ValueError), self.socket.makefile("rb") as reader:
            while len(head := reader.read(9)) == 9:
                frame, length = Frame.parse_frame_header(memoryview(head))
                body = reader.read(length)
                if len(body) < length:
                    break
                frame.parse_body(memoryview(body))
                self._note(frame, decoder)
        self.closed.set()
        with self.answered:
            self.answered.notify_all()

    def _note(self, frame, decoder):
        if isinstance(frame, SettingsFrame) and "ACK" not in frame.flags:
            self.settings.update(frame.settings)
        elif isinstance(frame, GoAwayFrame):
            self.goaway = frame.error_code
        with self.answered:
            if isinstance(frame, HeadersFrame):
                self.status.setdefault(frame.stream_id, dict(decoder.decode(frame.data)).get(":status"))
            if isinstance(frame, RstStreamFrame):
                self.ended[frame.stream_id] = f"reset {frame.error_code}"
            elif isinstance(frame, HeadersFrame | DataFrame | ContinuationFrame) and "END_STREAM" in frame.flags:
                self.ended[frame.stream_id] = "complete"
            self.answered.notify_all()

    def wait_for(self, stream, seconds=10):
        """What ended a stream: `complete`, `reset CODE`, `closed` with the connection, None if nothing did in time."""
        with self.answered:
            self.answered.wait_for(lambda: stream in self.ended or self.closed.is_set(), seconds)
            return self.ended.get(stream) or ("closed" if self.closed.is_set() else None)


def raw(kind, flags, stream, body=b""):
    """A frame of any kind, as no library would write it."""
    return struct.pack(">I", len(body))[1:] + struct.pack(">BBI", kind, flags, stream) + body
