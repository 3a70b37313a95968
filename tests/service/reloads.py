"""Reloads again and again while load runs: nothing may fail, grow or become slower. See tests/service/reloads."""

import argparse
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

import ledger
from checks import Broken, Checks
from installation import API_KEY, API_KEY_HASH

START_SECONDS = 20
STOP_SECONDS = 30
RELOAD_SECONDS = 30
# Until then memory may grow: buffers and pools fill.
WARM_RELOADS = 200
GROWTH_MAX = 0.10
# Generous: the machine may have other work, and a reload takes some of it.
P99_FACTOR, P99_EXTRA_MS = 3, 20
# How long the load runs without reloads, to compare with.
QUIET_SECONDS = 20

REGIONS = ["eastus2", "westus3"]
BEHAVIOUR = "ttft_median_ms=20,header_ms=5,gap_ms=20,tokens=1000"
# Short streams: with a reload every few milliseconds each of them lives through dozens.
LOAD = {"streams": 8, "stream_tokens": 100, "stream_seconds": 2.0, "key": API_KEY, "patience_seconds": 20}


class Process:
    """A child with the lines that it says on one stream. `with` ends it."""

    def __init__(self, command: list[str], told_on: str, log: Path) -> None:
        self.name = " ".join(command[:2])
        self.other: IO[bytes] = log.open("wb")
        streams: dict[str, Any] = {"stdout": self.other, "stderr": self.other, told_on: subprocess.PIPE}
        self.child = subprocess.Popen(command, stdin=subprocess.PIPE, **streams)
        self.lines: queue.Queue[bytes] = queue.Queue()
        self.reader = threading.Thread(target=self._read, args=(getattr(self.child, told_on),), daemon=True)
        self.reader.start()

    def _read(self, pipe: IO[bytes]) -> None:
        for line in pipe:
            self.lines.put(line)
        self.lines.put(b"")

    def line(self) -> dict[str, Any]:
        """The next line, of JSON."""
        try:
            line = self.lines.get(timeout=START_SECONDS)
        except queue.Empty:
            line = b""
        if not line:
            raise Broken(f"{self.name} says nothing, see {self.other.name}")
        return json.loads(line)

    def tell(self, line: str) -> dict[str, Any]:
        """Gives a command to the load generator and returns its answer."""
        assert self.child.stdin is not None
        self.child.stdin.write(line.encode() + b"\n")
        self.child.stdin.flush()
        return self.line()

    def resident_kib(self) -> int:
        """Memory that the process holds, of its own: pages of files come and go."""
        for line in Path(f"/proc/{self.child.pid}/status").read_text().splitlines():
            if line.startswith("RssAnon:"):
                return int(line.split()[1])
        raise Broken(f"{self.name} has no memory")

    def __enter__(self) -> "Process":
        return self

    def __exit__(self, *_: object) -> None:
        self.child.send_signal(signal.SIGTERM)
        try:
            self.child.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()
        self.other.close()


def configuration(backends: dict[str, str], socket: Path, weight: int) -> str:
    endpoints = {name: {"endpoint": f"http://{address}", "auth": "none"} for name, address in backends.items()}
    endpoints[REGIONS[0]]["weight"] = weight
    fields = {
        "listen": [{"address": "127.0.0.1:0"}],
        "admin": {"address": "127.0.0.1:0", "socket": str(socket)},
        "backends": endpoints,
        "models": {"gpt-4o": {}},
        "apps": {"load": {"api_keys": [{"sha256": API_KEY_HASH, "name": "load"}]}},
        "drain_seconds": 10,
    }
    return json.dumps(fields)


def replace(path: Path, text: str) -> None:
    new = path.with_suffix(".new")
    new.write_text(text)
    new.rename(path)


def port_of(firstlight: Process) -> int:
    while (line := firstlight.line())["message"] != "listening":
        pass
    return int(line["address"].rpartition(":")[2])


def reload(options: argparse.Namespace, socket: Path) -> str:
    """Why it failed; empty if it did not."""
    command = [options.binary, "reload", "--wait", "--socket", str(socket)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=RELOAD_SECONDS)
    return "" if ended.returncode == 0 else f"{ended.returncode}: {ended.stderr.strip()[:300]}"


def judge(options: argparse.Namespace, work: Path, checks: Checks) -> None:
    socket, file = work / "admin.sock", work / "firstlight.yaml"
    with ExitStack() as started:
        specs = [word for name in REGIONS for word in ["--backend", f"{name}=127.0.0.1:0,{BEHAVIOUR}"]]
        mock = started.enter_context(Process([options.binary, "mock", "--json", *specs], "stdout", work / "mock.log"))
        backends = mock.line()["backends"]
        replace(file, configuration(backends, socket, 1))
        run = [options.binary, "run", "--config", str(file)]
        firstlight = started.enter_context(Process(run, "stderr", work / "access.log"))
        settings = json.dumps({**LOAD, "plain": port_of(firstlight)})
        generator = [sys.executable, "-B", str(Path(__file__).with_name("load.py")), settings]
        load = started.enter_context(Process(generator, "stdout", work / "load.log"))

        load.tell("streams 4")
        load.tell("phase quiet")
        time.sleep(QUIET_SECONDS)
        quiet = load.tell("phase reloads")
        problems, resident, start = [], [], time.monotonic()
        for number in range(1, options.reloads + 1):
            replace(file, configuration(backends, socket, 1 + number % 2))
            if problem := reload(options, socket):
                problems.append(f"reload {number}: {problem}")
            if number % 10 == 0:
                resident.append((number, firstlight.resident_kib()))
        took = time.monotonic() - start
        busy = load.tell("phase after")
        checks.check(not problems, "every reload succeeds", problems[:3] or f"{options.reloads} in {took:.0f} s")
        checks.check(firstlight.child.poll() is None, "the process lives", firstlight.child.pid)
        compare(checks, quiet, busy)
        memory(checks, resident)


def compare(checks: Checks, quiet: dict[str, Any], busy: dict[str, Any]) -> None:
    for summary in (quiet, busy):
        made = sum(figures["count"] for figures in summary["requests"].values())
        fact = f"{made} requests, failed {summary['failed']}"
        checks.check(made > 0 and not summary["failed"], f"{summary['phase']}: no failed request", fact)
    for kind in sorted(quiet["requests"].keys() & busy["requests"].keys()):
        before, after = (summary["requests"][kind]["p99_ms"] for summary in (quiet, busy))
        bound = P99_FACTOR * before + P99_EXTRA_MS
        checks.check(after <= bound, f"p99 of {kind}", f"{before} ms without reloads, {after} ms with, at most {bound:.0f}")


def memory(checks: Checks, resident: list[tuple[int, int]]) -> None:
    """Compares medians: single readings jump with what is in flight."""
    tenth = max(1, len(resident) // 10)
    warm = [kib for number, kib in resident if number > WARM_RELOADS] or [kib for _, kib in resident]
    first, last = (ledger.percentile(sorted(part), 0.5) for part in (warm[:tenth], warm[-tenth:]))
    growth = (last - first) / first
    fact = f"{first / 1024:.1f} -> {last / 1024:.1f} MiB, {growth:+.1%}"
    checks.check(growth < GROWTH_MAX, f"memory after the first {WARM_RELOADS} reloads", fact)


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests/service/reloads")
    default = Path(os.environ["CARGO_TARGET_DIR"]) / "debug/firstlight"
    parser.add_argument("--binary", default=default, help="instead of target/debug/firstlight")
    parser.add_argument("--reloads", type=int, default=1000)
    options = parser.parse_args()
    options.binary = str(options.binary)
    checks = Checks()
    checks.scenario = "reloads"
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with tempfile.TemporaryDirectory(prefix="firstlight-reloads-") as directory:
        try:
            judge(options, Path(directory), checks)
        except Broken as broken:
            checks.check(False, "can go on", broken)
    print(checks.last_line())
    return 1 if checks.failed else 0


if __name__ == "__main__":
    sys.exit(main())
