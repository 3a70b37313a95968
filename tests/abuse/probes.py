"""The framing probes: what is sent, and which answers are right."""

from dataclasses import dataclass

from raw import INNER, chunked, head, length
from service import CHAT, QUESTION

BAD = frozenset({400})
# Whoever finds fault with the target, or does not know it.
NOWHERE = frozenset({400, 404, 405})
LARGE = frozenset({400, 431})


@dataclass(frozen=True)
class Probe:
    name: str
    request: bytes
    # The statuses of which the answer must have one.
    right: frozenset
    # Whether the connection must be closed then.
    closes: bool = True
    # How many requests the upstream gets.
    upstream: int = 0


def refused(name, *fields, right=BAD, body=QUESTION + INNER, **line):
    return Probe(name, head(*fields, **line) + body, frozenset(right))


def served(name, *fields, body=QUESTION, **line):
    return Probe(name, head(*fields, **line) + body, frozenset({200}), closes=False, upstream=1)


TE = "Transfer-Encoding: chunked"
SMUGGLING = chunked(b"") + INNER


def two_lengths():
    yield refused("CL, then TE", length(), TE, body=SMUGGLING)
    yield refused("TE, then CL", TE, length(), body=SMUGGLING)
    yield refused("two equal lengths", length(), length())
    yield refused("a list of equal lengths", f"{length()}, {len(QUESTION)}")
    yield refused("two lengths, shorter first", "Content-Length: 2", length())
    yield refused("two lengths, longer first", length(), "Content-Length: 2")
    yield refused("TE in HTTP/1.0", TE, version="HTTP/1.0", body=SMUGGLING)


def odd_lengths():
    for value in [
        "+2",
        "-2",
        "0x2",
        "2 ",
        "2,",
        "",
        " ",
        "2;2",
        "2 2",
        "2.0",
        "1e1",
        "\x0b2",
        "2\x00",
        "9" * 30,
        "\xb2",
    ]:
        # White space around a value is no part of it.
        yield (
            refused(f"length {value!r}", f"Content-Length: {value}")
            if value != "2 "
            else served("length with a space behind it", f"{length()} ")
        )
    yield refused("a space before the colon of a length", f"Content-Length : {len(QUESTION)}")


def odd_codings():
    known = {400, 501}
    for value in ["gzip, chunked", "deflate, chunked"]:
        yield refused(f"coding {value}", f"Transfer-Encoding: {value}", right={501}, body=SMUGGLING)
    for value in [
        "identity",
        "xchunked",
        "chunkedx",
        "\x0bchunked",
        "chunked, identity",
        "chunked;q=1",
        '"chunked"',
        "gzip",
    ]:
        yield refused(f"coding {value!r}", f"Transfer-Encoding: {value}", right=known, body=SMUGGLING)
    yield refused("chunked, chunked", "Transfer-Encoding: chunked, chunked", body=SMUGGLING)
    yield refused("two codings, both chunked", TE, TE, body=SMUGGLING)
    yield refused("two codings, identity first", "Transfer-Encoding: identity", TE, right=known, body=SMUGGLING)
    yield refused("a space before the colon of a coding", "Transfer-Encoding : chunked", body=SMUGGLING)
    yield refused("a tab before the colon of a coding", "Transfer-Encoding\t: chunked", body=SMUGGLING)
    yield refused("a coding with an underscore", "Transfer_Encoding: chunked", length(), body=QUESTION)


def lines():
    yield refused("bare line feeds", length(), end="\n")
    yield refused("one bare line feed", f"X-A: 1\n{length()}")
    yield refused("a bare carriage return", f"X-A: 1\rX-B: 2\r\n{length()}")
    yield refused("NUL", "X-A: a\x00b", length())
    yield refused("a control character", "X-A: a\x01b", length())
    yield refused("a folded line", "X-A: 1\r\n b", length())
    yield refused("a folded first header", f" X-A: 1\r\n{length()}")
    yield refused("a field without a colon", "X-A", length())
    yield refused("a field without a name", ": a", length())
    yield refused("a name with a space", "X A: 1", length())
    yield refused("an underscore in a name", "X_Request_Id: 1", length())
    yield refused("an underscore in a known name", "api_key: other", length())


def hosts():
    yield refused("no host", length(), host=None)
    yield refused("two hosts", "Host: other", length())
    yield refused("two equal hosts", "Host: localhost", length())
    yield refused("an empty host", length(), host="Host:")
    yield refused("a host with a path", length(), host="Host: x/#")
    yield refused("a host with a user", length(), host="Host: a@b")


def targets():
    for target in [
        "/openai/../admin",
        "/openai/%2e%2e/admin",
        "/openai/.%2E/admin",
        "/openai/./v1/chat/completions",
        "/openai%2fv1/chat/completions",
        "/openai%5cv1/chat/completions",
        "/openai\\v1/chat/completions",
        "//openai/v1/chat/completions",
        "/openai//v1/chat/completions",
        "/openai/v1/chat/completions#fragment",
        "/openai/deployments/../v1/chat/completions",
        "/openai/deployments/gpt-4o%2f..%2fother/chat/completions?api-version=2024-10-21",
        "/openai/v1/%00chat/completions",
    ]:
        yield refused(f"target {target}", length(), target=target, right={400, 404}, body=QUESTION)
    yield refused("a space in the target", length(), target="/openai/v1/chat /completions")
    yield refused("a target of 8 bits", length(), target="/openai/v1/chat/\xe9", right={400, 404})
    yield refused("a whole URL", length(), target=f"http://localhost{CHAT}", right={400, 404, 405})
    yield refused("CONNECT", method="CONNECT", target="localhost:80", right=NOWHERE, body=INNER)
    # Nothing is wrong with its framing: the connection may stay.
    yield Probe("OPTIONS *", head(method="OPTIONS", target="*"), NOWHERE, closes=False)
    yield refused("HTTP/1.2", length(), version="HTTP/1.2", right={400, 505})
    yield refused("HTTP/2.0 without its preface", length(), version="HTTP/2.0", right={400, 505})
    yield refused("two spaces in the request line", length(), target=f" {CHAT}")
    yield refused("a lower-case version", length(), version="http/1.1")


def sizes():
    yield refused("a header of 64 KiB", f"X-A: {'a' * 65_536}", length(), right={431}, body=b"")
    yield refused("300 headers", *(f"X-{n}: 1" for n in range(300)), length(), right=LARGE, body=b"")
    yield refused("a target of 64 KiB", length(), target="/" + "a" * 65_536, right=LARGE | {414}, body=b"")


def chunks():
    for size in ["0x5", "+5", "-5", "5 5", "G", "", "FFFFFFFFFFFFFFFFF", "5_0", "\x0b5"]:
        yield refused(f"a chunk of size {size!r}", TE, body=f"{size}\r\nhello\r\n0\r\n\r\n".encode() + INNER)
    yield refused("chunks with line feeds only", TE, body=b"5\nhello\n0\n\n" + INNER)
    yield refused("a chunk longer than its size", TE, body=b"5\r\nhelloworld\r\n0\r\n\r\n" + INNER)
    yield refused("a chunk with an end that is none", TE, body=b"5\r\nhelloXX0\r\n\r\n" + INNER)


def good_ones():
    yield served("a length", length())
    yield served("chunks", TE, body=chunked())
    yield served("a coding in capitals", "Transfer-Encoding: CHUNKED", body=chunked())
    yield served("chunk extensions", TE, body=chunked(extension=";a=b"))
    yield served("trailers", TE, body=chunked(trailer="X-Trailer: 1\r\n"))
    yield served("a trailer that is a length", TE, body=chunked(trailer="Content-Length: 5\r\n"))
    yield served("Expect", length(), "Expect: 100-continue")
    yield served(
        "what the proxy adds, named by Connection",
        length(),
        "Connection: authorization, api-key, host, content-length",
    )
    # The upgrade is not taken, so what follows is a request of its own, without a key.
    yield Probe(
        "an upgrade that nobody knows",
        head(length(), "Connection: Upgrade", "Upgrade: foo") + QUESTION + INNER.replace(b"api-key: ", b"x-none: "),
        frozenset({200, 400}),
        closes=False,
        upstream=1,
    )


def table():
    for rows in (two_lengths, odd_lengths, odd_codings, lines, hosts, targets, sizes, chunks, good_ones):
        yield from rows()


def obfuscated():
    """Lengths and codings in many disguises, each with a request inside. Only what may never happen is checked."""
    around = ["", " ", "\t", "\x0b", "\x0c", "\x00", "\x7f", "\xa0", "\x85", "\r", "\n", ",", ";", '"', "\\", "_"]
    for extra in around:
        for line in (
            f"Transfer-Encoding{extra}: chunked",
            f"{extra}Transfer-Encoding: chunked",
            f"Transfer-Encoding:{extra}chunked",
            f"Transfer-Encoding: chunked{extra}",
            f"Transfer{extra}-Encoding: chunked",
            f"X: y{extra}\r\nTransfer-Encoding: chunked",
            f"X: y{extra}Transfer-Encoding: chunked",
        ):
            size = len(chunked(b"") + INNER)
            yield line, head(line, f"Content-Length: {size}") + chunked(b"") + INNER
            yield line, head(f"Content-Length: {size}", line) + chunked(b"") + INNER
            yield line, head(line) + chunked(b"") + INNER
