"""What the scenarios share: the service, its load, and the checks that they make again and again."""

import contextlib
import json
from collections.abc import Iterator
from typing import Any

from checks import Broken, Checks, wait_until
from installation import FAKE_AZURE_CONTROL, load_settings
from service import Journal, Service
from steady import SteadyLoad, describe

READY_SECONDS = 20


class World:
    def __init__(self, service: Service, checks: Checks) -> None:
        self.service = service
        self.checks = checks
        self.container = service.container
        self.load: SteadyLoad | None = None
        # Where requests may fail: whoever kills the process cannot ask for more.
        self.allowed: set[str] = set()

    def start_load(self) -> None:
        self.load = SteadyLoad(self.container, self.checks, load_settings())

    def need_load(self) -> SteadyLoad:
        if self.load is None:
            raise Broken("no load runs: the installation has failed")
        return self.load

    def quiet_load(self) -> SteadyLoad:
        """The load with nothing under way."""
        load = self.need_load()
        load.pause()
        load.drained()
        return load

    @contextlib.contextmanager
    def under_load(self, streams: int, allowed: bool = False) -> Iterator[SteadyLoad]:
        """A phase of the load, with at least so many streams running when it begins; judged at its end."""
        load, name = self.need_load(), self.checks.scenario
        if allowed:
            name += " (failures allowed)"
            self.allowed.add(name)
        load.resume()
        load.streams(streams)
        load.begin(name)
        try:
            yield load
        finally:
            load.judge(allowed)

    def check_said(self, journal: Journal, message: str, times: int = 1) -> None:
        """The journal tells what happened in one line each time; it may take a moment to be there."""
        wait_until(lambda: len(journal.said(message)) >= times, 5)
        self.checks.equal(len(journal.said(message)), times, f'the journal says "{message}"')

    def need_ready(self, name: str, seconds: float = READY_SECONDS) -> None:
        took = wait_until(self.service.ready, seconds)
        self.checks.need(took is not None, name, f"ready after {took} s" if took is not None else f"not in {seconds} s")

    def fake_azure(self) -> dict[str, Any]:
        """The fake backends as they see themselves, by name."""
        told = self.container.must("curl", "--silent", "--max-time", "5", f"{FAKE_AZURE_CONTROL}/backends")
        return {backend["name"]: backend for backend in json.loads(told)}

    def load_report(self) -> str:
        return json.dumps(self.need_load().tell("report"), indent=1)

    def report(self) -> None:
        """The load as a whole: nothing may have failed outside of the scenarios that allow it."""
        if self.load is None:
            return
        self.checks.scenario = "load"
        self.load.pause()
        report = json.loads(self.load_report())
        failures = [failure for failure in report["failures"] if failure["phase"] not in self.allowed]
        for failure in failures[:20]:
            begun = f", begun in {failure['begun_in']}" if failure["begun_in"] != failure["phase"] else ""
            print(f"     {failure['phase']}: {failure['kind']} ({failure['request']}{begun}): {failure['detail']}")
        for phase in report["phases"]:
            if phase["requests"]:
                print(f"     {phase['phase']}: {describe(phase)}")
        kept_back = self.container.output("journalctl", "--quiet", "--identifier=systemd-journald", "--grep=Suppressed.*firstlight")
        self.checks.equal(kept_back, "", "journald has kept every line")
        failed = sum(
            sum(phase["failed"].values()) for phase in report["phases"] if phase["phase"] not in self.allowed
        )
        self.checks.equal(failed, 0, "failed requests and cut streams where none are allowed")

    def close(self) -> None:
        if self.load is not None:
            self.load.__exit__()
            self.load = None
