"""The load in the container, as the scenarios steer it."""

import json
import os
import selectors
import subprocess
import time
from typing import Any

from checks import Broken, Checks
from container import Container

# Longer than the longest stream takes to end.
ANSWER_SECONDS = 150


class SteadyLoad:
    """One load generator from the first request to the last. `with` ends it."""

    def __init__(self, container: Container, checks: Checks, settings: dict[str, Any]) -> None:
        self.checks = checks
        command = ["python3", "-B", "/opt/judge/load.py", json.dumps(settings)]
        self.process: subprocess.Popen[str] = container.start(*command)
        assert self.process.stdout is not None
        os.set_blocking(self.process.stdout.fileno(), True)
        self.failures: dict[str, int] = {}

    def __enter__(self) -> "SteadyLoad":
        return self

    def __exit__(self, *_: object) -> None:
        assert self.process.stdin is not None
        try:
            # The end of its input ends it, and nsenter with it.
            self.process.stdin.close()
            self.process.wait(10)
        except (OSError, subprocess.TimeoutExpired):
            self.process.kill()
            self.process.wait()

    def tell(self, line: str) -> dict[str, Any]:
        """Gives a command (see load.py) and returns its answer."""
        assert self.process.stdin is not None and self.process.stdout is not None
        try:
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()
        except OSError as error:
            raise Broken(f"the load generator is gone: {error}") from error
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            if not selector.select(ANSWER_SECONDS):
                raise Broken(f"the load generator did not answer {line!r} within {ANSWER_SECONDS} s")
        answer = self.process.stdout.readline()
        if not answer:
            raise Broken(f"the load generator ended with {self.process.wait(5)}")
        return json.loads(answer)

    def begin(self, phase: str) -> None:
        self.tell(f"phase {phase}")

    def pause(self) -> None:
        self.tell("pause")

    def resume(self) -> None:
        self.tell("resume")

    def streams(self, count: int) -> None:
        """Waits until so many streams run."""
        self.tell(f"streams {count}")

    def one_more_stream(self, tokens: int) -> None:
        """Begins a stream, even in a pause."""
        self.tell(f"stream {tokens}")

    def drained(self) -> None:
        self.tell("drained")

    def watch(self, seconds: float) -> None:
        """Lets the load run: how a change shows in requests is only seen over some time."""
        time.sleep(seconds)

    def judge(self, allowed: bool = False) -> None:
        """Ends the phase: no request may have failed in it, unless that is `allowed`."""
        summary = self.tell("phase between scenarios")
        fact = describe(summary)
        if allowed:
            print(f"     {summary['phase']}: {fact}", flush=True)
            return
        total = sum(figures["count"] for figures in summary["requests"].values())
        self.checks.check(not summary["failed"], "no failed request, no cut stream", fact)
        self.checks.check(total > 0, "requests were made", total)


def describe(summary: dict[str, Any]) -> str:
    """A phase in one line."""
    parts = [f"failed {summary['failed']}" if summary["failed"] else "none failed"]
    for kind, figures in summary["requests"].items():
        if not kind.startswith("long_stream"):
            parts.append(f"{kind} {figures['count']} (p50 {figures['p50_ms']} p99 {figures['p99_ms']} ms)")
        else:
            parts.append(f"{figures['count']} minute-long streams ended")
    return f"{summary['seconds']} s, {', '.join(parts)}, {summary['closed_idle']} closed while idle"
