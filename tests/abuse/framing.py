"""Request smuggling: from the bytes of one request the upstream never reads two, nor anything odd."""

import contextlib

from h2_wire import Connection, Cut
from probes import obfuscated, table
from raw import INNER, SMUGGLED, answers, exchange

from service import CHAT, KEY, QUESTION, UPSTREAM_KEY, wait_until

# Set by abuse.py: the upstream.
recorder = None


def run(service, _directory, failures):
    probes = list(table())
    for probe in probes:
        judge(probe, service, failures)
    disguises = list(obfuscated())
    for line, request in disguises:
        recorder.clear()
        found, _ = exchange(service, request, until=1)
        check_upstream(f"{line!r}", failures)
        failures.check(
            len(answers(found)) <= 1 or 200 not in answers(found)[1:], f"framing: {line!r}: two answers: {found}"
        )
    heads = list(downgrades())
    for name, fields, body in heads:
        downgrade(name, fields, body, service, failures)
    print(f"  {len(probes)} probes, {len(disguises)} disguises, {len(heads)} heads of HTTP/2", flush=True)


def judge(probe, service, failures):
    recorder.clear()
    found, closed = exchange(service, probe.request, until=1)
    found = answers(found)
    name = f"framing: {probe.name}"
    failures.check(
        found and found[0] in probe.right, f"{name}: answered {found}, one of {sorted(probe.right)} expected"
    )
    if probe.closes:
        failures.check(len(found) == 1, f"{name}: {len(found)} answers to one request: {found}")
        failures.check(closed, f"{name}: the connection was left open")
    if found and found[0] == 200:
        wait_until(lambda: len(recorder.seen()[0]) >= probe.upstream, seconds=5)
    requests = check_upstream(probe.name, failures)
    most = probe.upstream if found and found[0] == 200 else 0
    failures.check(len(requests) <= most, f"{name}: the upstream got {len(requests)} requests, {most} expected")
    for request in requests if probe.upstream else []:
        failures.check(request.body == QUESTION, f"{name}: the body came as {request.body[:100]!r}")
        failures.check(
            request.values("api-key") == [UPSTREAM_KEY], f"{name}: the upstream's key was {request.values('api-key')}"
        )
        unwanted = [key for key, _ in request.headers if key.lower() in ("expect", "upgrade", "x-trailer", "te")]
        failures.check(not unwanted, f"{name}: the upstream got {unwanted}")


def check_upstream(name, failures):
    """What may never happen, whatever was sent. Gives the requests."""
    requests, odd = recorder.seen()
    failures.check(not odd, f"framing: {name}: the upstream got {odd}")
    failures.check(len(requests) <= 1, f"framing: {name}: the upstream read {len(requests)} requests from one")
    smuggled = [request.target for request in requests if request.target.startswith(SMUGGLED)]
    failures.check(not smuggled, f"framing: {name}: the upstream got the request inside: {smuggled}")
    return requests


def downgrades():
    """Heads of HTTP/2 that would be another request, or two, as HTTP/1."""
    good = {":method": "POST", ":scheme": "http", ":authority": "localhost", ":path": CHAT}

    def fields(*more, **changed):
        line = [(key, changed.get(key.strip(":"), value)) for key, value in good.items()]
        return [*line, ("api-key", KEY), ("content-type", "application/json"), *more]

    inner = INNER.decode()
    yield "a length that is too short", fields(("content-length", "2")), QUESTION
    yield "a length that is too long", fields(("content-length", str(len(QUESTION) + 50))), QUESTION
    yield "two lengths", fields(("content-length", "2"), ("content-length", str(len(QUESTION)))), QUESTION
    yield "a list of lengths", fields(("content-length", f"{len(QUESTION)}, {len(QUESTION)}")), QUESTION
    yield "a coding", fields(("transfer-encoding", "chunked")), b"0\r\n\r\n" + INNER
    yield "a coding in another header", fields(("x-a", f"b\r\ntransfer-encoding: chunked\r\n\r\n{inner}")), QUESTION
    yield "a line feed in a header", fields(("x-a", "b\ntransfer-encoding: chunked")), QUESTION
    yield "a header's name with a line in it", fields(("x-a: b\r\ntransfer-encoding", "chunked")), QUESTION
    yield "a header's name with a colon", fields(("transfer-encoding:", "chunked")), QUESTION
    yield "a header's name in capitals", fields(("Transfer-Encoding", "chunked")), QUESTION
    yield "a line in the path", fields(path=f"{CHAT} HTTP/1.1\r\nHost: x\r\n\r\n{inner}"), QUESTION
    yield "a space in the path", fields(path="/openai/v1/chat /completions"), QUESTION
    yield "no slash in the path", fields(path="openai/v1/chat/completions"), QUESTION
    yield "a line in the method", fields(method=f"POST {CHAT} HTTP/1.1\r\nHost: x\r\n\r\nGET"), QUESTION
    yield "a space in the method", fields(method="GET /admin HTTP/1.1"), QUESTION
    yield "a line in the authority", fields(authority="localhost\r\nx: y"), QUESTION
    yield "another host", fields(("host", "other")), QUESTION
    yield "two hosts", fields(("host", "localhost"), ("host", "localhost")), QUESTION
    yield "Connection", fields(("connection", "api-key")), QUESTION
    yield "Upgrade", fields(("upgrade", "websocket")), QUESTION
    yield "two paths", [*fields(), (":path", "/admin")], QUESTION
    yield "an unknown pseudo header", [(":what", "x"), *fields()], QUESTION
    yield "an underscore", fields(("api_key", "other")), QUESTION


def downgrade(name, fields, body, service, failures):
    from frames import data

    recorder.clear()
    connection = Connection(service)
    try:
        with contextlib.suppress(Cut):
            connection.send(connection.head(1, fields, end=False) + data(1, body))
        ended = connection.wait_for(1)
        failures.check(ended, f"framing: HTTP/2, {name}: neither answered nor ended")
        status = connection.status.get(1)
        failures.check(status != "200", f"framing: HTTP/2, {name}: answered with {status}")
        requests = check_upstream(f"HTTP/2, {name}", failures)
        failures.check(not requests, f"framing: HTTP/2, {name}: it reached the upstream")
    finally:
        connection.close()
