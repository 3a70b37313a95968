"""Floods and tricks with HTTP/2's frames: the process lives, others are served, and memory is given back."""

import concurrent.futures
import random
import socket
import struct

from h2_wire import Connection, Cut, raw
from hyperframe.frame import ContinuationFrame, DataFrame, PingFrame, RstStreamFrame, SettingsFrame, WindowUpdateFrame

from service import QUESTION, GoodClient, good, wait_until

SEED = 20261
CONNECTIONS = 4
# How much more memory there may be after a storm than before it.
SHARE = 0.10
# With the same load, memory differs by some per cent from one storm to the next: the most of so many is compared.
WARM_UPS = 2
# How many requests there are before memory is looked at: some seconds of them.
GOOD_REQUESTS = 500
# No attack may take more than this at its worst, in KiB.
PEAK_KIB = 256 * 1024


def rapid_reset(connection):
    for stream in range(1, 20_000, 2):
        connection.send(connection.request(stream) + RstStreamFrame(stream, error_code=8).serialize())
    return "absorbed"


def continuation_flood(connection):
    connection.send(connection.request(1, flags_end_headers=False))
    for _ in range(4000):
        # A literal header that is not indexed, 16 KiB of it, again and again.
        connection.send(ContinuationFrame(1, b"\x00\x01a\x7f\x80\x7e" + b"b" * 16_255).serialize())
    # It may all have been on its way when the other side gave up.
    return connection.wait_for(1) or "NOT CUT"


def settings_flood(connection):
    for _ in range(100):
        connection.send(SettingsFrame(0, settings={3: 100}).serialize() * 300)
    return "absorbed"


def ping_flood(connection):
    for _ in range(100):
        connection.send(PingFrame(0, opaque_data=b"12345678").serialize() * 300)
    return "absorbed"


def priority_flood(connection):
    for _ in range(100):
        connection.send(raw(2, 0, 1, struct.pack(">IB", 3, 16)) * 300)
    return "absorbed"


def unread_pings(connection):
    """Whoever does not read what it asked for must not fill the other's memory."""
    connection.socket.settimeout(1)
    for _ in range(2000):
        connection.send(PingFrame(0, opaque_data=b"12345678").serialize() * 300)
    return "absorbed"


def closed_window(connection):
    """A hundred answers that nobody lets through, then a byte each."""
    connection.send(SettingsFrame(0, settings={4: 0}).serialize())
    for stream in range(1, 201, 2):
        connection.send(connection.request(stream, end=False))
        connection.send(data(stream, QUESTION))
    for stream in range(1, 201, 2):
        connection.send(WindowUpdateFrame(stream, window_increment=1).serialize())
    return "absorbed"


def window_of_nothing(connection):
    connection.send(connection.request(1, end=False))
    connection.send(raw(8, 0, 1, struct.pack(">I", 0)))
    return connection.wait_for(1) or "NOT CUT"


def window_overflow(connection):
    for _ in range(3):
        connection.send(raw(8, 0, 0, struct.pack(">I", 0x7FFFFFFF)))
    return "cut" if connection.closed.wait(10) else "NOT CUT"


def header_bomb(connection):
    """One header in the table of both sides, and then a byte for each time that it comes again: 16 MiB in 4 KiB."""
    value = "x" * 4000
    connection.send(connection.request(1, headers=[("bomb", value)]))
    bomb = connection.encoder.encode([("bomb", value)])
    head = connection.request(3, flags_end_headers=False)
    connection.send(head + ContinuationFrame(3, bomb * 4000, flags=["END_HEADERS"]).serialize())
    ended = connection.wait_for(3)
    refused = ended is not None and connection.status.get(3) != "200"
    return f"{ended}, status {connection.status.get(3)}" if refused else "NOT CUT"


def empty_data_flood(connection):
    connection.send(connection.request(1, end=False))
    for _ in range(200):
        connection.send(DataFrame(1).serialize() * 300)
    return "absorbed"


def reset_in_body(connection):
    for stream in range(1, 1001, 2):
        connection.send(connection.request(stream, end=False))
        connection.send(data(stream, QUESTION[:10], end=False))
        connection.send(RstStreamFrame(stream, error_code=8).serialize())
    return "absorbed"


def gone_in_body(connection):
    connection.send(connection.request(1, end=False))
    connection.send(data(1, QUESTION[:10], end=False))
    return "absorbed"


def data_too_much(connection):
    """More than the windows allow, without waiting for more."""
    connection.send(connection.request(1, end=False))
    for _ in range(4000):
        connection.send(data(1, b"x" * 16_384, end=False))
    # It may all have been on its way when the other side gave up.
    return connection.wait_for(1) or "NOT CUT"


def noise(connection):
    """Frames of any kind, with any flags and any content."""
    chance = random.Random(SEED + connection.socket.getsockname()[1] % 7)
    for _ in range(2000):
        body = chance.randbytes(chance.choice([0, 1, 4, 5, 8, 100]))
        connection.send(
            raw(chance.randrange(12), chance.randrange(256), chance.choice([0, 1, 3, 2, 2**31 - 1]), body)
        )
    return "absorbed"


def data(stream, body, end=True):
    return DataFrame(stream, body, flags=["END_STREAM"] if end else []).serialize()


# What they do, and whether the connection must be cut or the request refused for it.
ATTACKS = [
    rapid_reset,
    continuation_flood,
    settings_flood,
    ping_flood,
    priority_flood,
    unread_pings,
    closed_window,
    window_of_nothing,
    window_overflow,
    header_bomb,
    empty_data_flood,
    reset_in_body,
    gone_in_body,
    data_too_much,
    noise,
]


def strike(attack, service):
    """One connection's worth of an attack. Gives what came of it."""
    connection = Connection(service, reading=attack is not unread_pings)
    try:
        return attack(connection)
    except Cut:
        return "cut" if connection.goaway is None else f"cut, GOAWAY {connection.goaway}"
    finally:
        connection.close()


def storm(service, failures, telling):
    """Every attack, on several connections at a time. Gives the most memory that there was, in KiB."""
    most = 0
    with concurrent.futures.ThreadPoolExecutor(CONNECTIONS) as pool:
        for attack in ATTACKS:
            outcomes = sorted(set(pool.map(strike, [attack] * CONNECTIONS, [service] * CONNECTIONS)))
            most = max(most, service.rss())
            if telling:
                print(f"  {attack.__name__}: {'; '.join(outcomes)}; {service.rss()} KiB", flush=True)
            failures.check("NOT CUT" not in outcomes, f"frames: {attack.__name__} was neither cut nor refused")
            failures.check(service.alive(), f"frames: the process died of {attack.__name__}")
            served = good(service)
            failures.check(served is True, f"frames: a good client after {attack.__name__}: {served}")
    return most


def check_settings(service, failures):
    connection = Connection(service)
    connection.send(connection.request(1, end=False) + data(1, QUESTION))
    ended = connection.wait_for(1)
    connection.close()
    said = connection.settings
    status = connection.status.get(1)
    failures.check((ended, status) == ("complete", "200"), f"frames: a good request: {ended}, status {status}")
    print(f"  SETTINGS: {said.get(3)} streams, header list of {said.get(6)} bytes", flush=True)
    failures.check(said.get(3, 2**32) <= 100, f"frames: SETTINGS allow {said.get(3)} streams at a time")
    failures.check(said.get(6, 2**32) <= 65_536, f"frames: SETTINGS allow a header list of {said.get(6)} bytes")


def run(service, _directory, failures):
    check_settings(service, failures)
    # The first storms fill pools and allocator caches, which nobody gives back. One more must leave nothing more.
    before = max(warm_up(service, failures) for _ in range(WARM_UPS))
    with GoodClient(service) as client:
        most = storm(service, failures, telling=True)
    print(f"  good client in the storm: {client.summary()}", flush=True)
    failures.check(not client.failed, f"frames: {len(client.failed)} good requests failed: {client.failed[:3]}")
    after = memory_at_work(service)
    print(f"  memory: {before} KiB before, at most {most} KiB, {after} KiB after", flush=True)
    back = after <= before * (1 + SHARE)
    failures.check(back, f"frames: memory was {before} KiB before the storm and is {after} KiB after it")
    failures.check(most - before < PEAK_KIB, f"frames: the storm took {most - before} KiB of memory")


def warm_up(service, failures):
    """A storm, and the memory after it, in KiB."""
    with GoodClient(service):
        storm(service, failures, telling=False)
    return memory_at_work(service)


def memory_at_work(service):
    """Resident memory, in KiB, among good requests, once all that a storm opened is closed. A thread gives memory
    back when it allocates again: a process that only rests holds what it held last, more or less of it by chance."""
    wait_until(lambda: settled(service))
    for _ in range(GOOD_REQUESTS):
        good(service)
    return service.rss()


def settled(service):
    """Whether all that the storm opened is closed: listeners and what is kept to the upstream are left."""
    host, port = service.host_port
    with socket.create_connection((host, port)):
        pass
    return service.sockets() < 40
