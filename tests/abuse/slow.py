"""A thousand connections that take their time (slowhttptest), and clients that are served all the while."""

import contextlib
import csv
import json
import select
import subprocess
import threading
import time

from service import CHAT, KEY, LONG, GoodClient, wait_until

CONNECTIONS = 1000
SECONDS = 25
DEAF = 200
DEAF_SECONDS = 5
# What one of them may take: what is on its way from the upstream, and no more.
DEAF_KIB = 512
# So many sockets are left of an attack that is over: listeners, the good client and what is kept to the upstream.
LEFT = 60

# slowhttptest has no option for a header of one's own, but writes what it is given for these as it is.
KEY_LINE = f"application/json\r\napi-key: {KEY}"

KINDS = {
    "slow headers": ["-H", "-i", "2"],
    "slow body": ["-B", "-i", "2", "-s", "100000", "-f", KEY_LINE],
    "slow read": ["-X", "-n", "2", "-w", "1", "-y", "8", "-z", "1", "-k", "3", "-m", KEY_LINE],
}


def attack(kind, service, directory, over):
    """Gives the rows of its statistics, connections by state, a second each; and how long it took.

    Sets `over` just before its time is up, when the tool closes what is left."""
    report = directory / kind.replace(" ", "-")
    path = "/openai/v1/models" if kind == "slow read" else CHAT
    command = ["slowhttptest", *KINDS[kind], "-c", str(CONNECTIONS), "-r", "500", "-l", str(SECONDS)]
    command += ["-g", "-o", str(report), "-p", "30", "-u", f"http://{service.plain}{path}"]
    # The tool ends its connections when its time is up.
    timer = threading.Timer(SECONDS - 1, over.set)
    timer.start()
    started = time.monotonic()
    subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=SECONDS + 30, check=False)
    with report.with_suffix(".csv").open() as file:
        rows = list(csv.DictReader(file))
    timer.cancel()
    return rows, time.monotonic() - started


class Held:
    """How many sockets Firstlight holds, looked at until the end of `with`: the most, and the last count."""

    def __init__(self, service):
        self.service, self.stopped = service, threading.Event()
        self.most = self.last = 0
        self.thread = threading.Thread(target=self._run)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stopped.set()
        self.thread.join()

    def _run(self):
        while not self.stopped.wait(0.5):
            # Counted while the attack lasts: what ended with it would say nothing.
            count = self.service.sockets()
            if not self.stopped.is_set():
                self.last = count
                self.most = max(self.most, count)


def run(service, directory, failures):
    with GoodClient(service) as quiet:
        started = time.monotonic()
        while time.monotonic() < started + 2:
            time.sleep(0.05)
    print(f"  before: {quiet.summary()}", flush=True)
    for kind in KINDS:
        with GoodClient(service) as client, Held(service) as held:
            rows, seconds = attack(kind, service, directory, held.stopped)
        print(
            f"  {kind}: {client.summary()}; {told(rows)}, {held.most} sockets, over after {seconds:.0f} s", flush=True
        )
        failures.check(client.milliseconds, f"{kind}: the good client did not ask at all")
        failures.check(not client.failed, f"{kind}: {len(client.failed)} good requests failed: {client.failed[:3]}")
        most = max(int(row["Connected"]) + int(row["Closed"]) for row in rows)
        failures.check(most >= 0.95 * CONNECTIONS, f"{kind}: only {most} connections came to be: no attack")
        if kind != "slow read":
            # The tool ends early when all its connections were closed. A slow reader may go on as long as it reads.
            over = seconds < SECONDS - 1 or held.last <= LEFT
            failures.check(over, f"{kind}: {held.last} sockets still held after {SECONDS} s")
        failures.check(service.alive(), f"{kind}: the process has died")
    deaf(service, failures)


def deaf(service, failures):
    """Clients that ask for long streams and read nothing of them: what waits for them must not fill the memory."""
    body = json.dumps({"model": LONG, "stream": True, "messages": [{"role": "user", "content": "hello"}]}).encode()
    request = (
        f"POST /openai/v1/chat/completions HTTP/1.1\r\nHost: localhost\r\napi-key: {KEY}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode() + body
    before = service.rss()
    with GoodClient(service) as client, contextlib.ExitStack() as open_ones:
        streams = [open_ones.enter_context(service.connect(receive_buffer=4096)) for _ in range(DEAF)]
        for stream in streams:
            stream.sendall(request)
        wait_until(lambda: begun(streams) == DEAF)
        began = begun(streams)
        most = service.rss()
        started = time.monotonic()
        while time.monotonic() < started + DEAF_SECONDS:
            most = max(most, service.rss())
            time.sleep(0.1)
    per_stream = (most - before) / DEAF
    print(f"  {began} deaf readers: {client.summary()}; at most {per_stream:.0f} KiB each", flush=True)
    failures.check(began == DEAF, f"deaf readers: only {began} streams began: no attack")
    failures.check(not client.failed, f"deaf readers: {len(client.failed)} good requests failed: {client.failed[:3]}")
    failures.check(per_stream < DEAF_KIB, f"deaf readers: {per_stream:.0f} KiB of memory for each")
    gone = wait_until(lambda: service.sockets() <= LEFT)
    failures.check(gone, f"deaf readers: {service.sockets()} sockets are left of them")


def begun(streams):
    """How many of them have something to read."""
    return len(select.select(streams, [], [], 0)[0])


def told(rows):
    most = max(int(row["Connected"]) for row in rows)
    return f"at most {most} connections open"
