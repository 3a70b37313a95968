"""HTTP/1 with the hands: bytes as they are written down, and what comes back."""

import re

from service import CHAT, KEY, QUESTION

# A request inside of a body, or behind a request. Nobody may ever read it as one.
SMUGGLED = "/openai/deployments/gpt-4o/embeddings"
INNER = (
    f"POST {SMUGGLED}?api-version=2024-10-21 HTTP/1.1\r\nHost: localhost\r\napi-key: {KEY}\r\n"
    'Content-Type: application/json\r\nContent-Length: 13\r\n\r\n{"input":"x"}'
).encode()

QUIET_SECONDS = 0.3
WAIT_SECONDS = 12


def head(*fields, method="POST", target=CHAT, version="HTTP/1.1", host="Host: localhost", end="\r\n"):
    """A head with a key and a content type, and the fields given, each as it stands."""
    first = [f"{method} {target} {version}", *([host] if host else [])]
    lines = [*first, f"api-key: {KEY}", "Content-Type: application/json", *fields]
    return (end.join(lines) + end + end).encode("latin-1")


def chunked(body=QUESTION, extension="", trailer=""):
    return f"{len(body):x}{extension}\r\n".encode() + body + f"\r\n0\r\n{trailer}\r\n".encode()


def length(body=QUESTION):
    return f"Content-Length: {len(body)}"


def exchange(service, request, until):
    """Sends it all and reads until the other side closes, or has been silent for a little after `until` answers.

    Gives the statuses of the answers and whether it closed."""
    with service.connect() as connection:
        connection.settimeout(WAIT_SECONDS)
        received = bytearray()
        closed = False
        try:
            connection.sendall(request)
        except OSError:
            # Refused while it was still being sent; the answer may be there all the same.
            closed = True
        try:
            while True:
                found = statuses(received)
                connection.settimeout(QUIET_SECONDS if len(found) >= until else WAIT_SECONDS)
                part = connection.recv(65536)
                if not part:
                    closed = True
                    break
                received += part
        except TimeoutError:
            pass
        except OSError:
            closed = True
        return statuses(received), closed


def statuses(received):
    """The statuses of all complete answers in these bytes."""
    found = []
    rest = bytes(received)
    while match := re.match(rb"HTTP/1\.[01] (\d{3})[^\r\n]*\r\n((?:[^\r\n]+\r\n)*)\r\n", rest):
        status, fields = int(match[1]), match[2].lower()
        rest = rest[match.end() :]
        if status >= 200 and status not in (204, 304):
            size = re.search(rb"content-length: *(\d+)", fields)
            body = rest[: int(size[1])] if size else re.match(rb"(?s).*?0\r\n\r\n|.*", rest)[0]
            if size and len(body) < int(size[1]):
                break
            rest = rest[len(body) :]
        found.append(status)
    return found


def answers(found):
    """Without the 1xx."""
    return [status for status in found if status >= 200]
