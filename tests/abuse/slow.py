"""A thousand connections that take their time (slowhttptest), and clients that are served all the while."""

import csv
import subprocess
import time

from service import CHAT, KEY, GoodClient

CONNECTIONS = 1000
SECONDS = 20

# slowhttptest has no option for a header of one's own, but writes what it is given for these as it is.
KEY_LINE = f"application/json\r\napi-key: {KEY}"

KINDS = {
    "slow headers": ["-H", "-i", "2"],
    "slow body": ["-B", "-i", "2", "-s", "100000", "-f", KEY_LINE],
    "slow read": ["-X", "-n", "2", "-w", "1", "-y", "8", "-z", "1", "-k", "3", "-m", KEY_LINE],
}


def attack(kind, service, directory):
    """Gives the rows of its statistics: connections by state, a second each."""
    report = directory / kind.replace(" ", "-")
    path = "/openai/v1/models" if kind == "slow read" else CHAT
    command = ["slowhttptest", *KINDS[kind], "-c", str(CONNECTIONS), "-r", "500", "-l", str(SECONDS)]
    command += ["-g", "-o", str(report), "-p", "30", "-u", f"http://{service.plain}{path}"]
    subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=SECONDS + 30, check=False)
    with report.with_suffix(".csv").open() as file:
        return list(csv.DictReader(file))


def run(service, directory, failures):
    with GoodClient(service) as quiet:
        started = time.monotonic()
        while time.monotonic() < started + 2:
            time.sleep(0.05)
    print(f"  before: {quiet.summary()}", flush=True)
    for kind in KINDS:
        with GoodClient(service) as client:
            rows = attack(kind, service, directory)
        print(f"  {kind}: {client.summary()}; {told(rows)}", flush=True)
        failures.check(client.milliseconds, f"{kind}: the good client did not ask at all")
        failures.check(not client.failed, f"{kind}: {len(client.failed)} good requests failed: {client.failed[:3]}")
        most = max(int(row["Connected"]) + int(row["Closed"]) for row in rows)
        failures.check(most >= 0.95 * CONNECTIONS, f"{kind}: only {most} connections came to be: no attack")
        if kind != "slow read":
            # A slow reader may have its answer for as long as it goes on reading.
            held = int(rows[-1]["Connected"])
            failures.check(held <= 0.05 * CONNECTIONS, f"{kind}: {held} connections still held after {SECONDS} s")
        failures.check(service.alive(), f"{kind}: the process has died")


def told(rows):
    last = rows[-1]
    most = max(int(row["Connected"]) for row in rows)
    return f"attack: at most {most} open, at the end {last['Connected']} open and {last['Closed']} closed"
