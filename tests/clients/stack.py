"""Runs a command against a Firstlight in front of three mock regions: stack.py BINARY -- COMMAND...

Both listen on free loopback ports and end with the command, however it ends. The command finds them through
its environment, and models called fresh-0 to fresh-63 for tests that switch faults:

    FIRSTLIGHT_URL             where clients connect
    FIRSTLIGHT_KEY             the key of an app that may use every model
    FIRSTLIGHT_RESTRICTED_KEY  the key of an app that may use gpt-4o only
    MOCK_CONTROL               where faults are switched and requests looked at
    MOCK_ENTRA, MOCK_IMDS      the fake Entra ID and the fake metadata service beside the regions
    MOCK_BACKEND               one of the regions, for what is asked of it directly
    MOCK_KEY                   what the regions take; no client knows it, only Firstlight
"""

import hashlib
import json
import os
import queue
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

REGIONS = ["eastus2", "westus3", "swedencentral"]

# What a fault teaches Firstlight about a model's targets must not be felt by other tests: each test that
# switches one takes a model of its own.
FRESH_MODELS = 64
HEDGED_MODELS = 12

# Quick answers of a dozen tokens, in the order and framing of Azure.
BEHAVIOUR = "ttft_median_ms=20,header_ms=5,gap_ms=2,tokens=12"

START_SECONDS = 30
STOP_SECONDS = 10


class Process:
    """A child with its output: `lines` as they come, and all of it in a file for a post-mortem."""

    def __init__(self, name, command, environment, told_on, directory):
        self.name = name
        self.log = directory / f"{name}.log"
        self.other = (directory / f"{name}.other.log").open("wb")
        streams = {"stdout": self.other, "stderr": self.other, told_on: subprocess.PIPE}
        self.child = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, **streams)
        self.lines = queue.Queue()
        self.reader = threading.Thread(target=self._read, args=(getattr(self.child, told_on),), daemon=True)
        self.reader.start()

    def _read(self, pipe):
        with self.log.open("wb", buffering=0) as log:
            for line in pipe:
                log.write(line)
                self.lines.put(line)
        self.lines.put(None)

    def next_line(self):
        try:
            line = self.lines.get(timeout=START_SECONDS)
        except queue.Empty:
            line = None
        if line is None:
            raise SystemExit(f"stack.py: {self.name} did not start within {START_SECONDS} s:\n{self.tail()}")
        return json.loads(line)

    def tail(self):
        """The end of what it said, for whoever looks into a failure."""
        return "".join(self.log.read_text(errors="replace").splitlines(keepends=True)[-20:])

    def stop(self):
        """Ends this very process. Returns its exit code."""
        self.child.terminate()
        try:
            self.child.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()
            print(f"stack.py: {self.name} did not stop within {STOP_SECONDS} s of SIGTERM", file=sys.stderr)
        self.reader.join(STOP_SECONDS)
        self.other.close()
        return self.child.returncode


def start_mock(binary, key, directory):
    command = [binary, "mock", "--json", "--entra", "127.0.0.1:0", "--imds", "127.0.0.1:0"]
    for region in REGIONS:
        command += ["--backend", f"{region}=127.0.0.1:0,api_key={key},bearer=true,{BEHAVIOUR}"]
    return Process("mock", command, dict(os.environ), "stdout", directory)


def start_firstlight(binary, backends, keys, directory):
    config = directory / "firstlight.yaml"
    # JSON is YAML.
    config.write_text(json.dumps(configuration(backends, keys), indent=2))
    environment = {**os.environ, "MOCK_KEY": keys["MOCK_KEY"]}
    return Process("firstlight", [binary, "run", "--config", str(config)], environment, "stderr", directory)


def configuration(backends, keys):
    auth = {"api_key": {"env": "MOCK_KEY"}}
    # Some faults make Firstlight probe at once, whatever the interval.
    fresh = {"backends": ["eastus2", "westus3"], "probe": "off"}
    # Late after 0.3 s, and then raced.
    hedged = {**fresh, "routing": {"policy": "lookout", "detect": {"trip_ms": 300, "clear_ms": 200}}}
    return {
        "listen": [{"address": "127.0.0.1:0"}],
        "admin": {"address": "127.0.0.1:0"},
        "backends": {
            name: {"endpoint": f"http://{address}", "auth": auth} for name, address in backends.items()
        },
        "models": {
            "gpt-4o": {},
            "gpt-4o-mini": {"backends": {"eastus2": "mini-prod"}},
            "gpt-35-turbo-instruct": {},
            "text-embedding-3-small": {},
            "impatient": {**fresh, "first_token_seconds": 1},
            **{f"hedged-{number}": hedged for number in range(HEDGED_MODELS)},
            **{f"fresh-{number}": fresh for number in range(FRESH_MODELS)},
        },
        "apps": {
            "everything": {"api_keys": [hashed(keys["FIRSTLIGHT_KEY"])]},
            "restricted": {"api_keys": [hashed(keys["FIRSTLIGHT_RESTRICTED_KEY"])], "models": ["gpt-4o"]},
        },
        # `ema`, since it says where the next request goes. Probes would be counted among the requests of the tests.
        "routing": {"policy": "ema", "probe": {"interval_seconds": 0}},
        "drain_seconds": 1,
    }


def hashed(key):
    return {"sha256": hashlib.sha256(key.encode()).hexdigest(), "name": "test"}


def listening(firstlight):
    """The address that clients connect to: the service log tells it once the port is open."""
    while True:
        line = firstlight.next_line()
        if line.get("message") == "listening":
            return line["address"]


def main(arguments):
    if len(arguments) < 3 or arguments[1] != "--":
        raise SystemExit(__doc__)
    binary, command = arguments[0], arguments[2:]
    # A terminated runner must not leave its children behind: leave through the `finally` below.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    # Fresh keys: one that is found where it should not be came from this run.
    keys = {
        name: secrets.token_hex(16) for name in ["FIRSTLIGHT_KEY", "FIRSTLIGHT_RESTRICTED_KEY", "MOCK_KEY"]
    }
    processes, code = [], 1
    with tempfile.TemporaryDirectory(prefix="firstlight-clients-") as directory:
        try:
            processes.append(mock := start_mock(binary, keys["MOCK_KEY"], Path(directory)))
            addresses = mock.next_line()
            processes.append(
                firstlight := start_firstlight(binary, addresses["backends"], keys, Path(directory))
            )
            environment = {
                **os.environ,
                **keys,
                "FIRSTLIGHT_URL": f"http://{listening(firstlight)}",
                "MOCK_BACKEND": f"http://{addresses['backends'][REGIONS[0]]}",
                "MOCK_CONTROL": f"http://{addresses['control']}",
                "MOCK_ENTRA": f"http://{addresses['entra']}",
                "MOCK_IMDS": f"http://{addresses['imds']}",
            }
            code = subprocess.run(command, env=environment).returncode
        finally:
            exits = {process.name: process.stop() for process in reversed(processes)}
            if code != 0:
                for process in processes:
                    print(f"---- {process.name}, the end of its log\n{process.tail()}", file=sys.stderr)
    # A server that dies or will not stop is a failure, whatever the SDK noticed of it.
    if any(exits.values()):
        print(f"stack.py: exit codes of the servers, 0 expected: {exits}", file=sys.stderr)
        code = code or 1
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
