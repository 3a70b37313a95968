"""What is abused: a Firstlight with an upstream behind it, and a client that means no harm."""

import contextlib
import http.client
import json
import os
import re
import socket
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parent.parent / "clients"))
import stack

KEY = "a-key-of-the-abuse-tests"
UPSTREAM_KEY = "what-only-the-upstream-takes"
# A model, and its backend, whose streams are longer than what fits into sockets.
LONG, LONG_TOKENS = "long", 50_000
MODEL, DEPLOYMENT = "gpt-4o", "deployed-4o"
CHAT = f"/openai/deployments/{MODEL}/chat/completions?api-version=2024-10-21"
V1_CHAT = "/openai/v1/chat/completions"
QUESTION = json.dumps({"model": MODEL, "messages": [{"role": "user", "content": "hello"}]}).encode()

# Another address of this machine: what one address may do at most is not to bind the good client.
GOOD_ADDRESS = "127.0.0.2"

# How long anything is waited for. Far above what it takes, since only a failure waits so long.
WAIT_SECONDS = 30


class Failures:
    """What went wrong, told as it happens and counted at the end."""

    def __init__(self):
        self.told = []

    def check(self, holds, problem):
        if not holds:
            self.told.append(problem)
            print(f"  FAILED {problem}", flush=True)


class Service:
    """A running Firstlight: where it listens, in clear and with TLS, and its process."""

    def __init__(self, process, plain, tls):
        self.process, self.plain, self.tls = process, plain, tls

    @property
    def host_port(self):
        host, _, port = self.plain.rpartition(":")
        return host, int(port)

    def alive(self):
        return self.process.child.poll() is None

    def rss(self):
        """Resident memory, in KiB."""
        status = Path(f"/proc/{self.process.child.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1])

    def sockets(self):
        folder = Path(f"/proc/{self.process.child.pid}/fd")
        count = 0
        for descriptor in folder.iterdir():
            with contextlib.suppress(OSError):
                count += os.readlink(descriptor).startswith("socket:")
        return count

    def connect(self, receive_buffer=None):
        """A connection to the plain listener. `receive_buffer` in bytes, if it is not to be the usual one."""
        connection = socket.socket()
        if receive_buffer is not None:
            # Only before it connects does this bind the window.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        connection.settimeout(WAIT_SECONDS)
        connection.connect(self.host_port)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection


def certificate(directory):
    """A self-signed one for this run."""
    files = directory / "tls.crt", directory / "tls.key"
    subprocess.run(
        [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "1",
        ]
        + ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
        + ["-out", str(files[0]), "-keyout", str(files[1])],
        check=True,
        capture_output=True,
    )
    return files


@contextlib.contextmanager
def mock(binary, directory):
    """A `firstlight mock` with quick answers, and a backend with long ones. Gives their addresses."""
    command = [binary, "mock", "--json"]
    for name, behaviour in {"upstream": "gap_ms=1,tokens=5", LONG: f"gap_ms=0,tokens={LONG_TOKENS}"}.items():
        common = f"api_key={UPSTREAM_KEY},ttft_median_ms=5,header_ms=2"
        command += ["--backend", f"{name}=127.0.0.1:0,{common},{behaviour}"]
    process = stack.Process("mock", command, dict(os.environ), "stdout", directory)
    try:
        yield process.next_line()["backends"]
    finally:
        process.stop()


@contextlib.contextmanager
def firstlight(binary, upstreams, directory):
    """A Firstlight with these upstreams, under the settings that everybody has. Gives a Service."""
    crt, key = certificate(directory)
    config = directory / "firstlight.yaml"
    config.write_text(json.dumps(configuration(upstreams, crt, key), indent=2))
    environment = {**os.environ, "UPSTREAM_KEY": UPSTREAM_KEY}
    process = stack.Process("firstlight", [binary, "run", "--config", str(config)], environment, "stderr", directory)
    try:
        yield Service(process, stack.listening(process), stack.listening(process))
    except BaseException:
        print(f"---- Firstlight, the end of its log\n{process.tail()}", file=sys.stderr)
        raise
    finally:
        code = process.stop()
        if code:
            print(f"---- Firstlight ended with {code}\n{process.tail()}", file=sys.stderr)


def configuration(upstreams, crt, key):
    auth = {"api_key": {"env": "UPSTREAM_KEY"}}
    deployments = {"upstream": (MODEL, DEPLOYMENT), LONG: (LONG, LONG)}
    models = {
        model: {"backends": {name: deployment}, "probe": "off"}
        for name, (model, deployment) in deployments.items()
        if name in upstreams
    }
    return {
        "listen": [
            {"address": "127.0.0.1:0"},
            {"address": "127.0.0.1:0", "tls": {"certificate": str(crt), "key": str(key)}},
        ],
        "admin": {"address": "none", "socket": "none"},
        "state_directory": "none",
        "backends": {name: {"endpoint": f"http://{address}", "auth": auth} for name, address in upstreams.items()},
        "models": models,
        "apps": {"abuse": {"api_keys": [stack.hashed(KEY)]}},
        # One upstream that is always well: what it answers is not to be learned from.
        "routing": {"policy": "ema", "probe": {"interval_seconds": 0}},
        "log": {"access": False},
        "drain_seconds": 1,
    }


def ask(connection, path=CHAT, body=QUESTION, content_type="application/json"):
    """A request as it should be. Gives the status and the answer's body."""
    connection.request("POST", path, body, {"api-key": KEY, "Content-Type": content_type})
    answer = connection.getresponse()
    return answer.status, answer.read()


def good(service):
    """Whether a well-behaved client gets its answer now; else what it got."""
    host, port = service.host_port
    try:
        with contextlib.closing(
            http.client.HTTPConnection(host, port, timeout=WAIT_SECONDS, source_address=(GOOD_ADDRESS, 0))
        ) as connection:
            status, _ = ask(connection)
    except (OSError, http.client.HTTPException) as error:
        return repr(error)
    return True if status == 200 else f"status {status}"


class GoodClient:
    """Asks without a pause, half of it on new connections, until the end of `with`."""

    def __init__(self, service):
        self.service = service
        self.stopped = threading.Event()
        self.milliseconds, self.failed = [], []
        self.thread = threading.Thread(target=self._run)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stopped.set()
        self.thread.join()

    def _run(self):
        host, port = self.service.host_port
        kept = http.client.HTTPConnection(host, port, timeout=WAIT_SECONDS, source_address=(GOOD_ADDRESS, 0))
        while not self.stopped.wait(0.01):
            started = time.monotonic()
            try:
                status, _ = ask(kept)
                served = True if status == 200 else f"status {status}"
            except (OSError, http.client.HTTPException) as error:
                served = repr(error)
                kept.close()
            self._note(started, served)
            started = time.monotonic()
            self._note(started, good(self.service))
        kept.close()

    def _note(self, started, served):
        self.milliseconds.append((time.monotonic() - started) * 1000)
        if served is not True:
            self.failed.append(served)

    def summary(self):
        if not self.milliseconds:
            return "no request"
        asked = sorted(self.milliseconds)
        share = 100 * (1 - len(self.failed) / len(asked))
        return (
            f"{len(asked)} requests, {share:.2f} % served, median {statistics.median(asked):.1f} ms,"
            f" p99 {asked[int(len(asked) * 0.99)]:.1f} ms, longest {asked[-1]:.1f} ms"
        )


def wait_until(reached, seconds=WAIT_SECONDS):
    """Whether a state is reached in time."""
    deadline = time.monotonic() + seconds
    while not reached():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True
